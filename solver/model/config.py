"""`ModelConfig` and the sizes that have a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the network's shape. `patch` canvas cells a side make one token."""

    width: int = 128
    heads: int = 4
    hidden: int = 256
    blocks: int = 2
    loops: int = 4
    patch: int = 1
    task_tokens: int = 4

    def __post_init__(self) -> None:
        if self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 4 x heads = {4 * self.heads}")
        if self.patch not in (1, 2):
            raise ValueError(f"patch {self.patch} is neither 1 nor 2")


MODELS = {
    "toy": ModelConfig(width=32, heads=2, hidden=48, blocks=1, loops=2, task_tokens=2),
    "nano": ModelConfig(patch=2),
    "base": ModelConfig(width=512, heads=8, hidden=1024, blocks=2, loops=6, patch=2, task_tokens=4),
}
"""Parameters without the task table: toy 11 thousand, nano 0.35 million, base 5.3 million."""
