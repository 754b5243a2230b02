"""Grids on square token canvases, and back.

A canvas cell holds a colour (0-9), BACKGROUND outside the grid, or BORDER: the column right of the grid
and the row below it, which tell where the grid ends. A grid sits at an offset and is enlarged by an integer
scale; it is turned and recoloured *before* it is placed, because the border is always right and below.
A canvas may be zoomed: every grid cell is then so many canvas cells a side at least, and lies where a patch of the
network does, so that a token sees one cell of the grid and not parts of several.
Everything is a gather on the device, for whole batches at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from solver.arc.expected import needed_side
from solver.arc.tasks import Task
from tta import Views, source_index, view_size

BACKGROUND, BORDER, TOKENS = 10, 11, 12
"""The first ten tokens are colours; a vocabulary may have signs from `TOKENS` on, which no view recolours."""

SIZES = (8, 12, 16, 20, 24, 28, 32)
"""Canvas sides, in cells. A 30x30 grid and its border need 31."""

ZOOM = 2
"""Canvas cells that a grid cell is a side where a task is zoomed: as many as a patch of the networks is, so that a
token sees one cell of the grid."""


def choose_size(side: int, sizes: Sequence[int] = SIZES) -> int:
    """The smallest canvas that holds a grid of `side`, its border and one cell of head-room (if any does)."""
    for size in sizes:
        if side + 2 <= size:
            return size
    if side + 1 > sizes[-1]:
        raise ValueError(f"a grid side of {side} does not fit the largest canvas, {sizes[-1]}")
    return sizes[-1]


def task_canvas(task: Task, only: int = 0) -> int:
    """The canvas for a task; `only` is the one size that the weights are made for (`ModelConfig.canvas`), 0 for any.
    ValueError, naming the task, if that is too small for it."""
    side = needed_side(task)
    if not only:
        return choose_size(side)
    if side + 1 > only:
        raise ValueError(
            f"{task.id}: has a grid side of {side}, and these weights (mixer 'mlp') are for canvases of {only} alone"
        )
    return only


def zoomed_canvas(task: Task) -> int | None:
    """The canvas for a task whose grid cells are `ZOOM` canvas cells a side; None where the largest is too small."""
    side = ZOOM * (needed_side(task) + 1) - 1
    return choose_size(side) if side < SIZES[-1] else None


@dataclass(frozen=True)
class Packed:
    """G grids in one flat array. `cells` uint8 (sum of H*W,), row by row; the rest int64 (G,)."""

    cells: torch.Tensor
    start: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor

    def to(self, device: torch.device | str) -> Packed:
        return Packed(*(t.to(device) for t in (self.cells, self.start, self.height, self.width)))


def pack(grids: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Packed:
    """Packs grids, uint8 (H, W), for `render`."""
    sizes = np.array([g.size for g in grids], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    cells = np.concatenate([np.ascontiguousarray(g, dtype=np.uint8).ravel() for g in grids])
    height, width = (np.array([g.shape[k] for g in grids], dtype=np.int64) for k in (0, 1))
    return Packed(*(torch.from_numpy(a).to(device) for a in (cells, start, height, width)))


@dataclass(frozen=True)
class Placement:
    """Where each of B grids sits: `top`, `left` in canvas cells and `scale`, all int64 (B,)."""

    top: torch.Tensor
    left: torch.Tensor
    scale: torch.Tensor

    def __getitem__(self, index: slice | torch.Tensor) -> Placement:
        """Some of the places, by a slice, their numbers or a mask."""
        return self.each(lambda tensor: tensor[index])

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Placement:
        """The places whose every tensor is `change` of these."""
        return Placement(change(self.top), change(self.left), change(self.scale))

    def to(self, device: torch.device | str) -> Placement:
        """The same places on another device."""
        return self.each(lambda tensor: tensor.to(device))


def random_placement(
    height: torch.Tensor,
    width: torch.Tensor,
    size: int,
    generator: torch.Generator,
    *,
    max_scale: int = 1,
    move: bool = True,
    zoom: torch.Tensor | int = 1,
) -> Placement:
    """Uniform offsets for which a view-frame grid (height, width), int64 (B,), and its border fit the canvas.

    With `max_scale` above 1, half of the grids that have room are enlarged, by a uniform feasible factor.
    Without `move` the offset is zero. With `zoom`, a number or int64 (B,), offset and scale are multiples of it, as on
    a smaller canvas whose cells are as large.
    """
    count, device = height.shape, height.device
    draw = torch.rand(4, *count, generator=generator, device=device)
    scale = torch.ones_like(height)
    side = torch.div(torch.full_like(height, size), zoom, rounding_mode="floor")
    if max_scale > 1:
        room = (side // (torch.maximum(height, width) + 1)).clamp(1, max_scale)
        enlarged = 1 + (draw[0] * room).long().clamp(max=max_scale - 1)
        scale = torch.where(draw[1] < 0.5, enlarged, scale)
    top = (draw[2] * (side - (height + 1) * scale + 1).clamp(min=1)).long()
    left = (draw[3] * (side - (width + 1) * scale + 1).clamp(min=1)).long()
    if not move:
        top, left = torch.zeros_like(top), torch.zeros_like(left)
    return Placement(top * zoom, left * zoom, scale * zoom)


def render(grids: Packed, which: torch.Tensor, views: Views, place: Placement, size: int) -> torch.Tensor:
    """Canvases, int64 (B, size, size), of grids `which` (int64 (B,)) seen under B views at B places.

    What falls off the canvas is cut; `decode` of `cell_log_probs` reads the grids back.
    """
    start, height, width = (t[which][:, None, None] for t in (grids.start, grids.height, grids.width))
    element = views.elements[:, None, None]
    view_height, view_width = view_size(element, height, width)
    line = torch.arange(size, device=start.device)
    scale = place.scale[:, None, None]
    y = torch.div(line[None, :, None] - place.top[:, None, None], scale, rounding_mode="floor")
    x = torch.div(line[None, None, :] - place.left[:, None, None], scale, rounding_mode="floor")
    inside = (y >= 0) & (y < view_height) & (x >= 0) & (x < view_width)
    border = ((y == view_height) & (x >= 0) & (x <= view_width)) | ((x == view_width) & (y >= 0) & (y <= view_height))
    row, column = source_index(element, y, x, height, width)
    index = torch.where(inside, start + row * width + column, 0)
    colors = grids.cells[index.reshape(-1)].reshape(index.shape).long()
    recolored = views.palettes.gather(1, colors.clamp(max=9).reshape(len(views), -1)).reshape(index.shape)
    seen = torch.where(colors < 10, recolored, colors)
    return torch.where(inside, seen, torch.where(border, BORDER, BACKGROUND))


def cell_log_probs(log_probs: torch.Tensor, place: Placement) -> torch.Tensor:
    """Canvas log-probabilities (B, size, size, vocabulary) with the placement undone: same shape, one entry per
    *grid* cell, grid cell (0, 0) first; an enlarged cell is the mean of its canvas cells.

    Entries whose cell lies off the canvas are a certain BACKGROUND (0 there, -inf elsewhere).
    """
    count, size = log_probs.shape[:2]
    line = torch.arange(size, device=log_probs.device)
    most = int(place.scale.max()) if count else 1
    batch = torch.arange(count, device=log_probs.device)[:, None, None]
    total = torch.zeros_like(log_probs)
    inside = torch.ones_like(log_probs[..., 0], dtype=torch.bool)
    for dy in range(most):
        for dx in range(most):
            y = place.top[:, None] + line * place.scale[:, None] + dy
            x = place.left[:, None] + line * place.scale[:, None] + dx
            part = (dy < place.scale) & (dx < place.scale)
            here = log_probs[batch, y.clamp(max=size - 1)[:, :, None], x.clamp(max=size - 1)[:, None, :]]
            total += here * part[:, None, None, None]
            fits = ((y < size)[:, :, None] & (x < size)[:, None, :]) | ~part[:, None, None]
            inside = inside & fits
    total = total / (place.scale**2)[:, None, None, None]
    nowhere = torch.full((log_probs.shape[-1],), float("-inf"), device=log_probs.device, dtype=log_probs.dtype)
    nowhere[BACKGROUND] = 0.0
    return torch.where(inside[..., None], total, nowhere)


@dataclass(frozen=True)
class Decoded:
    """What B canvases say. `valid` bool (B,); `height`, `width` int64 (B,), 0 where not valid; `tokens` int64
    (B, size, size) with the grid at the top left; `log_prob` (B,), mean nats per grid and border cell."""

    valid: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor
    tokens: torch.Tensor
    log_prob: torch.Tensor

    def cpu(self) -> Decoded:
        return Decoded(*(t.cpu() for t in (self.valid, self.height, self.width, self.tokens, self.log_prob)))

    def grid(self, index: int) -> np.ndarray:
        """Grid `index`, uint8 (H, W), in the view's frame."""
        h, w = int(self.height[index]), int(self.width[index])
        return self.tokens[index, :h, :w].to(torch.uint8).cpu().numpy()


def decode(cells: torch.Tensor) -> Decoded:
    """Reads grids from `cell_log_probs` (B, size, size, vocabulary).

    The grid ends where the first row and the first column meet the border; a canvas is valid only if that
    rectangle holds nothing but colours and its right and lower border are complete.
    """
    best, tokens = cells.max(dim=-1)
    size = tokens.shape[1]
    border = tokens == BORDER
    width = _first(border[:, 0, :])
    height = _first(border[:, :, 0])
    line = torch.arange(size, device=cells.device)
    y, x = line[None, :, None], line[None, None, :]
    h, w = height[:, None, None], width[:, None, None]
    inside = (y < h) & (x < w)
    edge = ((y == h) & (x <= w)) | ((x == w) & (y <= h))
    wrong = (inside & ((tokens == BACKGROUND) | (tokens == BORDER))) | (edge & ~border)
    valid = (height > 0) & (width > 0) & (height < size) & (width < size) & ~wrong.any(2).any(1)
    counted = inside | edge
    log_prob = torch.where(counted, best, 0.0).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1)
    return Decoded(valid, height * valid, width * valid, tokens, log_prob)


def _first(flags: torch.Tensor) -> torch.Tensor:
    """Index of the first true along the last axis, int64; its length where none is."""
    length = flags.shape[-1]
    index = torch.arange(length, device=flags.device)
    return torch.where(flags, index, length).amin(-1)
