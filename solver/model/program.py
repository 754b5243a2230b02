"""The encoder of example pairs: IERM's way to say which task it is, without a token of its own for every task.

Pairs of the task are read, under the same view as the query, into P latent tokens, the program; the looped blocks are
its executor, which sees the program among the prefix tokens of every loop step. Suffixes: N
task, B batch, L token, D width, E examples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solver.model.blocks import Block, attend, norm, rotary_table
from solver.model.config import ModelConfig
from solver.model.stacking import linear, lookup, shared


def embed_cells(table: Tensor, canvas: Tensor, patch: int) -> Tensor:
    """(N, B, size, size) -> (N, B, side², D): the sum of the embeddings of a patch's cells. `table`
    (patch² * vocabulary, D), or one for each of N tasks."""
    if patch == 1:
        return lookup(table, canvas.flatten(2))
    side = canvas.shape[-1] // patch
    cells = canvas.unflatten(3, (side, patch)).unflatten(2, (side, patch)).permute(0, 1, 2, 4, 3, 5)
    cells = cells.reshape(*canvas.shape[:2], side * side, patch * patch)
    place = torch.arange(patch * patch, device=canvas.device) * (table.shape[-2] // patch**2)
    return lookup(table, cells + place).sum(dim=3)


class ProgramEncoder(nn.Module):
    """Example pairs to P tokens: blocks over each pair, then latent queries attend to the cells of all pairs at once,
    so that neither the order nor the number of pairs matters."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch, self.heads, self.rotary = config.patch, config.heads, config.rotary
        width, places = config.width, config.patch**2
        self.output_cell = nn.Parameter(torch.randn(places * config.vocabulary, width) * (0.5 / places**0.5))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.encoder_blocks))
        self.latents = nn.Parameter(torch.randn(config.program_tokens, width) * 0.5)
        self.query = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.key_value = nn.Parameter(torch.randn(width, 2 * width) * width**-0.5)
        self.sharpness = nn.Parameter(torch.full((config.heads,), (width // config.heads) ** 0.5))
        self.out = nn.Parameter(torch.randn(width, width) * width**-0.5)

    def forward(self, examples: Tensor, cell: Tensor, dtype: torch.dtype) -> Tensor:
        """The program (N, B, P, D) of `examples` int64 (N, B, E, 2, size, size), inputs and outputs; `cell` is the
        table of the network's input cells, and `dtype` that of the activations."""
        tasks, batch, count = examples.shape[:3]
        inputs, outputs = examples.flatten(1, 2).unbind(2)
        pair = embed_cells(cell, inputs, self.patch) + embed_cells(self.output_cell, outputs, self.patch)
        pair = pair.to(dtype)
        side, head = examples.shape[-1] // self.patch, pair.shape[-1] // self.heads
        rotary = rotary_table(side, 0, head, dtype, pair.device, self.rotary)
        for block in self.blocks:
            pair = block(pair, side, rotary)
        pair = norm(pair).reshape(tasks, batch, count * side * side, -1)
        latents = shared(self.latents).to(dtype).expand(tasks, batch, -1, -1)
        query = norm(self._split(linear(norm(latents), self.query)))
        key, value = (self._split(part) for part in linear(pair, self.key_value).chunk(2, dim=-1))
        # rms norm leaves vectors of length head**0.5, so the scale makes unit vectors of them, times the sharpness.
        scale = (self.sharpness / head).to(dtype).reshape(-1, 1, self.heads, 1, 1)
        query, key, value = (part.flatten(0, 1) for part in (query * scale, norm(key), value))
        mixed = attend(query, key, value).transpose(1, 2).reshape(latents.shape)
        return latents + linear(mixed, self.out)

    def _split(self, x_NBLD: Tensor) -> Tensor:
        """(N, B, L, D) -> (N, B, heads, L, head)."""
        heads: Tensor = x_NBLD.unflatten(-1, (self.heads, -1))
        return heads.transpose(2, 3)
