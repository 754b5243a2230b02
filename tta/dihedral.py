"""The eight elements of D4, as index arithmetic that works on whole batches.

Element `e` has three bits: 1 transposes, then 2 flips the rows and 4 flips the columns of the result.
Every function takes plain integers or integer tensors that broadcast against each other.
"""

from __future__ import annotations

from typing import TypeVar

import torch

Whole = TypeVar("Whole", int, torch.Tensor)  # plain integers, or int64 tensors that broadcast

ELEMENTS = (
    "identity",
    "transpose",
    "flip_rows",
    "rotate_left",
    "flip_columns",
    "rotate_right",
    "rotate_180",
    "antitranspose",
)


def view_size(element: Whole, height: Whole, width: Whole) -> tuple[Whole, Whole]:
    """Height and width of the view of an (height, width) grid under `element`."""
    turned = element & 1
    return height + turned * (width - height), width + turned * (height - width)


def source_index(element: Whole, y: Whole, x: Whole, height: Whole, width: Whole) -> tuple[Whole, Whole]:
    """Row and column, in the (height, width) source grid, of cell (y, x) of its view under `element`."""
    view_height, view_width = view_size(element, height, width)
    turned, rows, columns = element & 1, (element >> 1) & 1, (element >> 2) & 1
    y = y + rows * (view_height - 1 - 2 * y)
    x = x + columns * (view_width - 1 - 2 * x)
    return y + turned * (x - y), x + turned * (y - x)


def inverse_element(element: Whole) -> Whole:
    """The element that undoes `element`: only the two quarter turns differ from their inverse."""
    turned, flips = element & 1, element >> 1
    swapped = (flips >> 1) | ((flips & 1) << 1)
    return turned | ((flips + turned * (swapped - flips)) << 1)


def transform(grid: torch.Tensor, element: int) -> torch.Tensor:
    """The view of a grid, or of grids of one size (..., H, W), any dtype, under `element`; `inverse_element` brings it
    back."""
    height, width = grid.shape[-2:]
    view_height, view_width = view_size(element, height, width)
    y = torch.arange(view_height, device=grid.device)[:, None]
    x = torch.arange(view_width, device=grid.device)[None, :]
    turn, h, w = torch.tensor((element, height, width), device=grid.device)
    rows, columns = source_index(turn, y, x, h, w)
    return grid[..., rows, columns]
