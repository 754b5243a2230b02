"""The whole network, read from top to bottom: canvases in, logits over tokens after every loop step out.

`Network` embeds the cells and reads the answer; `TaskConditioning` makes the prefix of tokens that says which task it
is and through which view; `LoopedBlocks` loops the blocks. Layers are in `blocks`; how one set of them serves a stack
of tasks is in `stacking`. Suffixes: N task, B batch, L token, D width; P prefix tokens, H and W the token grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from solver.model.blocks import Block, norm, rotary_table
from solver.model.config import TOKENS, ModelConfig
from solver.model.stacking import linear, lookup, spread


class Network(nn.Module):
    """A weight-looped network over a square canvas; plain, or a stack of N copies (see `stacking`)."""

    def __init__(self, config: ModelConfig, tasks: int = 1) -> None:
        super().__init__()
        self.config = config
        places = config.patch**2
        self.cell = nn.Parameter(torch.randn(places * TOKENS, config.width) * (0.5 / places**0.5))
        self.conditioning = TaskConditioning(config, tasks)
        self.recursion = LoopedBlocks(config)
        self.head = nn.Parameter(torch.randn(config.width, places * TOKENS) * 0.02)

    def forward(
        self,
        canvas: Tensor,
        task: Tensor,
        elements: Tensor,
        palettes: Tensor,
        *,
        loops: int | None = None,
        detach: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[Tensor]:
        """Yields logits float32 (N, B, size, size, 12) after every loop step.

        `canvas` int64 (N, B, size, size), tokens 0-11; `task` int64 (N, B), rows of the task table;
        `elements` int64 (N, B) and `palettes` int64 (N, B, 10): the view each canvas is seen under.
        `loops` defaults to the configuration's; `dtype` is that of the activations, weights stay as they are.
        With `detach` every step is a graph of its own, so that each may be differentiated as it comes.
        """
        config = self.config
        side = canvas.shape[-1] // config.patch

        def embed() -> Tensor:
            cells = self._embed_cells(canvas, side)
            prefix = self.conditioning(task, elements, palettes, self.cell[..., :10, :])
            return torch.cat([prefix, cells], dim=2).to(dtype)

        for state in self.recursion(embed, side, loops or config.loops, detach=detach):
            logits = linear(norm(state[:, :, config.prefix :]), self.head).float()
            yield self._unpatch(logits, side)

    def _embed_cells(self, canvas: Tensor, side: int) -> Tensor:
        """(N, B, size, size) -> (N, B, side², D): the sum of the embeddings of a patch's cells."""
        patch = self.config.patch
        if patch == 1:
            return lookup(self.cell, canvas.flatten(2))
        cells = canvas.unflatten(3, (side, patch)).unflatten(2, (side, patch)).permute(0, 1, 2, 4, 3, 5)
        cells = cells.reshape(*canvas.shape[:2], side * side, patch * patch)
        place = torch.arange(patch * patch, device=canvas.device) * TOKENS
        return lookup(self.cell, cells + place).sum(dim=3)

    def _unpatch(self, logits: Tensor, side: int) -> Tensor:
        """(N, B, side², patch² * 12) -> (N, B, size, size, 12)."""
        patch = self.config.patch
        logits = logits.unflatten(3, (patch, patch, TOKENS)).unflatten(2, (side, side))
        return logits.permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)


class TaskConditioning(nn.Module):
    """How the network knows which task it works on, and through which view: a prefix of tokens.

    Task tokens are learned, one set a task; the D4 element of the view is added to them. Ten palette tokens say
    which colour the view shows for each of the task's own colours, so that "3 becomes 5" is one rule under all
    recolourings: a cell finds its own colour's name by attending to them.
    """

    def __init__(self, config: ModelConfig, tasks: int) -> None:
        super().__init__()
        self.tokens, self.width = config.task_tokens, config.width
        self.tasks = nn.Parameter(torch.randn(tasks, config.task_tokens * config.width) * 0.02)
        self.position = nn.Parameter(torch.randn(config.task_tokens, config.width) * 0.02)
        self.element = nn.Parameter(torch.randn(8, config.width) * 0.02)
        self.name = nn.Parameter(torch.randn(10, config.width) * 0.02)

    def forward(self, task: Tensor, elements: Tensor, palettes: Tensor, colors: Tensor) -> Tensor:
        """Prefix (N, B, tokens + 10, D) for `task` int64 (N, B), rows of the task table; `elements` int64
        (N, B) and `palettes` int64 (N, B, 10) of the views; `colors` (10, D) or (N, 10, D), cell embeddings."""
        tokens = lookup(self.tasks, task).unflatten(-1, (self.tokens, self.width))
        tokens = tokens + self._shared(self.position) + lookup(self.element, elements)[:, :, None]
        palette = lookup(colors, palettes) + self._shared(self.name)
        return torch.cat([tokens, palette], dim=2)

    @staticmethod
    def _shared(table: Tensor) -> Tensor:
        """(T, D) or (N, T, D), broadcast over the batch: (N or 1, 1, T, D)."""
        return table.reshape(-1, 1, *table.shape[-2:])


class LoopedBlocks(nn.Module):
    """The same blocks, `loops` times: state <- blocks(norm(state) + input + step embedding)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head = config.width // config.heads
        self.step = nn.Parameter(torch.randn(config.loops, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def forward(self, embed: Callable[[], Tensor], side: int, loops: int, *, detach: bool = False) -> Iterator[Tensor]:
        """Yields the state (N, B, L, D) after each of `loops` steps; `embed()` gives the input, same shape.

        With `detach` no gradient flows from one step into the one before, and each has its own graph
        (Deep Improvement Supervision, 2025).
        """
        embedded = embed()
        prefix = embedded.shape[2] - side * side
        rotary = rotary_table(side, prefix, self.head, embedded.dtype, embedded.device)
        state = torch.zeros_like(embedded)
        for loop in range(loops):
            step = spread(self.step[..., loop, :], embedded.dim(), embedded.dtype)
            state = (norm(state) if loop else state) + embedded + step
            for block in self.blocks:
                state = block(state, side, rotary)
            yield state
            if detach and loop + 1 < loops:
                state, embedded = state.detach(), embed()
