"""`ModelConfig` and the sizes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

TOKENS = 12
"""What a canvas cell can hold: ten colours, background, border; see `solver.learn.canvas`."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the network's shape."""

    width: int = 128  # of a token's state
    heads: int = 4  # of attention; width is a multiple of 4 x heads
    hidden: int = 256  # width inside the gated MLP
    blocks: int = 2  # different blocks in one loop step
    loops: int = 4  # loop steps
    patch: int = 1  # canvas cells a side that make one token, 1 or 2
    task_tokens: int = 4  # learned tokens that say which task it is

    def __post_init__(self) -> None:
        if self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 4 x heads = {4 * self.heads}")
        if self.patch not in (1, 2):
            raise ValueError(f"patch {self.patch} is neither 1 nor 2")

    @property
    def prefix(self) -> int:
        """Tokens in front of the cells: the task's, and one for each colour."""
        return self.task_tokens + 10

    def tokens(self, size: int) -> int:
        """Tokens of a canvas of `size`, prefix included."""
        return self.prefix + (size // self.patch) ** 2


MODELS = {
    "toy": ModelConfig(width=32, heads=2, hidden=48, blocks=1, loops=2, task_tokens=2),
    "nano": ModelConfig(patch=2),
    "base": ModelConfig(width=512, heads=8, hidden=1024, blocks=2, loops=6, patch=2, task_tokens=4),
}
"""Parameters without the task table: toy 11 thousand, nano 0.35 million, base 5.3 million."""
