"""Colour permutations as look-up tables: `palette[c]` is the colour that the view shows for colour `c`."""

from __future__ import annotations

import torch

COLORS = 10


def random_palettes(
    count: int, generator: torch.Generator, *, fix_zero: bool = True, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Uniform random permutations of the ten colours, int64 (count, 10); 0 stays 0 with `fix_zero`."""
    keys = torch.rand(count, COLORS, generator=generator, device=device)
    if fix_zero:
        keys[:, 0] = -1.0
    return keys.argsort(dim=1)


def invert_palettes(palettes: torch.Tensor) -> torch.Tensor:
    """Inverse permutations of (..., 10): `inverse[palette[c]] == c`."""
    return palettes.argsort(dim=-1)
