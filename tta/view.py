"""`Views`: a batch of ways to look at a grid, each a D4 element and a palette, with a named inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tta.colors import COLORS, invert_palettes, random_palettes
from tta.dihedral import inverse_element, transform


@dataclass(frozen=True)
class Views:
    """V views. `elements` int64 (V,), 0-7 (see `tta.dihedral`); `palettes` int64 (V, 10), permutations."""

    elements: torch.Tensor
    palettes: torch.Tensor

    def __len__(self) -> int:
        return self.elements.shape[0]

    def __getitem__(self, index: slice | torch.Tensor) -> Views:
        """Some of the views, by a slice, their numbers or a mask."""
        return self.each(lambda tensor: tensor[index])

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Views:
        """The views whose elements and palettes are `change` of these."""
        return Views(change(self.elements), change(self.palettes))

    def to(self, device: torch.device | str) -> Views:
        """The same views on another device."""
        return self.each(lambda tensor: tensor.to(device))

    def restricted(self, *, turn: bool = True, recolor: bool = True) -> Views:
        """The views as they are; without `turn` their elements, without `recolor` their palettes are the identity."""
        plain = identity_views(len(self), self.elements.device)
        return Views(self.elements if turn else plain.elements, self.palettes if recolor else plain.palettes)

    def inverse(self) -> Views:
        """The views that undo these, one for one."""
        return Views(inverse_element(self.elements), invert_palettes(self.palettes))

    def apply(self, grid: torch.Tensor, index: int) -> torch.Tensor:
        """View `index` of one grid (H, W) of colours, in the grid's dtype."""
        return self.palettes[index].to(grid.dtype)[transform(grid, int(self.elements[index])).long()]

    def undo(self, grid: torch.Tensor, index: int) -> torch.Tensor:
        """The grid whose view `index` is `grid`: `undo(apply(g, i), i) == g`."""
        return self.inverse().apply(grid, index)


def identity_views(count: int, device: torch.device | str = "cpu") -> Views:
    """`count` times the grid as it is."""
    palettes = torch.arange(COLORS, device=device).expand(count, COLORS).contiguous()
    return Views(torch.zeros(count, dtype=torch.int64, device=device), palettes)


def random_views(
    count: int, generator: torch.Generator, *, fix_zero: bool = True, device: torch.device | str = "cpu"
) -> Views:
    """`count` independent uniform views."""
    elements = torch.randint(8, (count,), generator=generator, device=device)
    return Views(elements, random_palettes(count, generator, fix_zero=fix_zero, device=device))


def spread_views(
    count: int, generator: torch.Generator, *, fix_zero: bool = True, device: torch.device | str = "cpu"
) -> Views:
    """`count` views for voting: D4 elements in turn, so that all are seen equally often; random palettes.

    The first view is the grid as it is.
    """
    elements = torch.arange(count, device=device) % 8
    palettes = random_palettes(count, generator, fix_zero=fix_zero, device=device)
    palettes[:1] = torch.arange(COLORS, device=device)
    return Views(elements, palettes)
