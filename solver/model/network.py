"""The whole network: canvases in, logits over tokens after every loop step out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from solver.model.blocks import norm
from solver.model.conditioning import TaskConditioning
from solver.model.config import ModelConfig
from solver.model.recursion import LoopedBlocks
from solver.model.stacking import linear, lookup

TOKENS = 12
"""Ten colours, background, border: see `solver.learn.canvas`."""


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

        prefix = config.task_tokens + 10
        for state in self.recursion(embed, side, loops or config.loops, detach=detach):
            logits = linear(norm(state[:, :, prefix:]), self.head).float()
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
