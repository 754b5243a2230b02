"""How the network knows which task it works on, and through which view: a prefix of tokens.

Task tokens are learned, one set a task; the D4 element of the view is added to them. Ten palette tokens say
which colour the view shows for each of the task's own colours, so that "3 becomes 5" is one rule under all
recolourings: a cell finds its own colour's name by attending to them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solver.model.config import ModelConfig
from solver.model.stacking import lookup


class TaskConditioning(nn.Module):
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
