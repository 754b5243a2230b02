"""How the blocks are looped. A scheme yields the state after every loop step; heads and losses come later.

Other schemes (TRM's two states, say) are further classes with the same `forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from solver.model.blocks import Block, norm, rotary_table
from solver.model.config import ModelConfig
from solver.model.stacking import spread


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
