"""How the grids of each puzzle look: what a cell is filled with, and what is written in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from solver.results.show import PALETTE
from solver.training.puzzles.arithmetic import FIRST, SIGNS

Look = Callable[[int], tuple[str, str]]
"""The fill and the text of a cell that holds a token; "none" and "" for what is left empty."""

STICKERS = ("#ffffff", "#ff8c1a", "#22a447", "#d62728", "#2f5fd0", "#ffd500")
"""Of the cube's faces up, left, front, right, back, down."""

ODD = ("#f3d1f0", "?")
"""A token that has no place in a grid of the puzzle."""


def _digits(token: int) -> tuple[str, str]:
    return ("#ffffff", str(token) if token else "") if token < 10 else ODD


def _colors(token: int) -> tuple[str, str]:
    return (PALETTE[token], "") if token < 10 else ODD


def _stickers(token: int) -> tuple[str, str]:
    if token == 0:
        return "none", ""
    return (STICKERS[token - 1], "") if token <= 6 else ODD


def _signs(token: int) -> tuple[str, str]:
    if token < 10:
        return "#ffffff", str(token)
    return ("#ffffff", SIGNS[token - FIRST].strip()) if token >= FIRST else ODD


LOOKS: dict[str, Look] = {"digits": _digits, "colors": _colors, "stickers": _stickers, "signs": _signs}


def drawn_grid(
    grid: np.ndarray, kind: str, side: float, given: np.ndarray | None = None, wrong: np.ndarray | None = None
) -> str:
    """A grid (H, W) as SVG with cells of `side`, its corner at the origin. With `given` bool (H, W), text elsewhere is
    blue, and red where `wrong`. Rows of one fill are one rectangle."""
    look, width = LOOKS[kind], grid.shape[1]
    parts, letters = [], []
    for y, row in enumerate(grid.tolist()):
        cells = [look(token) for token in row]
        starts = [x for x in range(width) if x == 0 or cells[x][0] != cells[x - 1][0]]
        for x, end in zip(starts, [*starts[1:], width], strict=True):
            if (fill := cells[x][0]) != "none":
                box = f'x="{x * side:g}" y="{y * side:g}" width="{(end - x) * side:g}" height="{side:g}"'
                parts.append(f'<rect {box} fill="{fill}"/>')
        for x, (_, text) in enumerate(cells):
            if text:
                name = (
                    ""
                    if given is None or given[y, x]
                    else ' class="w"'
                    if wrong is not None and wrong[y, x]
                    else ' class="b"'
                )
                letters.append(f'<text x="{(x + 0.5) * side:g}" y="{(y + 0.7) * side:g}"{name}>{text}</text>')
    return "".join(parts + _lines(grid, kind, side) + letters)


def _lines(grid: np.ndarray, kind: str, side: float) -> list[str]:
    """The lines between cells, thick ones around the boxes of a Sudoku; around a text, not between its characters."""
    height, width = grid.shape
    if kind == "signs":
        return [f'<path d="M0 0h{width * side:g}v{height * side:g}h{-width * side:g}z" class="l"/>']
    if kind == "stickers":
        inside = [(y, x) for y, x in np.ndindex(height, width) if grid[y, x]]
        path = "".join(f"M{x * side:g} {y * side:g}h{side:g}v{side:g}h-{side:g}z" for y, x in inside)
        return [f'<path d="{path}" class="l"/>']
    every = _ruled(height, width, side, 1)
    if kind == "digits":
        return [
            f'<path d="{every}" class="l"/>',
            f'<path d="{_ruled(height, width, side, round(height**0.5))}" class="L"/>',
        ]
    return [f'<path d="{every}" class="l"/>']


def _ruled(height: int, width: int, side: float, step: int) -> str:
    path = "".join(f"M0 {y * side:g}h{width * side:g}" for y in range(0, height + 1, step))
    return path + "".join(f"M{x * side:g} 0v{height * side:g}" for x in range(0, width + 1, step))
