"""A task to look at: as coloured text for a terminal, or as a picture in SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solver.arc import datasets
from solver.arc.tasks import Grid, Task, load_challenges
from solver.run.read import Run

PALETTE = (
    "#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00",
    "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25",
)  # fmt: skip
NEAREST = (16, 32, 203, 41, 220, 248, 199, 208, 117, 88)  # the same in the 256 colours of old terminals
LIGHT_TEXT = frozenset({0, 1, 9})  # colours on which text is white


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What is to be shown: a task, and per test input the two attempts and the truth, where there are any."""

    task: Task
    attempts: Sequence[tuple[Grid, Grid]] | None = None
    truth: Sequence[Grid] | None = None


@dataclass(frozen=True, eq=False)
class _Block:
    """A grid with the title above it."""

    title: str
    grid: Grid


def from_run(run: Run, task_id: str) -> Exhibit:
    """A task of a run with its attempts and, where known, the truth. ValueError if the run lacks the task."""
    if task_id not in run.tasks:
        raise ValueError(f"{run.directory}: has no task {task_id!r} that could be read")
    return Exhibit(run.tasks[task_id], run.attempts[task_id], run.truth(task_id))


def find(name: str) -> list[Exhibit]:
    """Every task of a challenges file, or the task with this id in the sets of `solver.arc.datasets`, with its
    truth. ValueError where there is neither."""
    if Path(name).is_file():
        return [Exhibit(task) for task in load_challenges(name).tasks]
    for source in datasets.SOURCES:
        data = datasets.load(source)
        for task in data.tasks:
            if task.id == name:
                return [Exhibit(task, truth=data.solutions[name])]
    raise ValueError(f"{name!r} is neither a file nor a task of {', '.join(datasets.SOURCES)}")


def text(exhibit: Exhibit, width: int = 80, colors: str = "full", symbols: bool = False) -> str:
    """The task as lines of at most `width` characters where its grids allow it; ends with a line break.

    colors: "full" (24 bits), "256", or "none", for a file or a terminal without colours, which shows the
    digits. symbols: digits on top of the colours. ValueError for any other `colors`.
    """
    if colors not in ("full", "256", "none"):
        raise ValueError(f"colours are full, 256 or none, not {colors!r}")
    cell = 1 if 2 * exhibit.task.largest_side > width else 2
    lines = [_plain(exhibit.task.id)]
    for row in _rows(exhibit):
        units = []
        for unit in row:
            drawn = [_block_lines(block, cell, colors, symbols) for block in unit]
            together = _width(drawn)
            units += [(together, _side_by_side(drawn, width))] if together <= width else drawn
        lines += ["", *_side_by_side(units, width)]
    return "\n".join(lines) + "\n"


def svg(exhibit: Exhibit, cell: int = 14, width: int = 1000) -> str:
    """The task as a self-contained SVG picture, `cell` pixels a cell, wrapped to about `width` pixels."""
    gap, title, margin = 24, 22, 20
    parts, top, right = [], margin + 24, 0
    for row in _rows(exhibit):
        left, tallest = margin, 0
        for unit in row:
            wide = [max(cell * block.grid.shape[1], 7 * len(block.title)) for block in unit]
            if left > margin and left + sum(wide) + gap * (len(unit) - 1) > width - margin:
                top, left, tallest = top + tallest + title + gap, margin, 0
            for block, step in zip(unit, wide, strict=True):
                parts.append(f'<text x="{left}" y="{top + 13}">{html.escape(block.title)}</text>')
                parts.append(_svg_grid(block.grid, left, top + title, cell))
                right, tallest = max(right, left + step), max(tallest, cell * block.grid.shape[0])
                left += step + gap
            left += gap
        top += tallest + title + gap
    name = html.escape(_plain(exhibit.task.id))
    size = f"{max(right + margin, 200)} {top - gap + margin}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
            f'font-family="ui-sans-serif, system-ui, sans-serif" font-size="12" fill="#555">',
            f"<title>ARC task {name}</title>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{margin}" y="{margin + 10}" font-size="15" fill="#222">{name}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _rows(exhibit: Exhibit) -> list[list[list[_Block]]]:
    """Rows that each begin on a new line: the supports, then a row per test input. A row holds units, blocks
    that stay together: a support's two grids, or a single grid."""
    rows: list[list[list[_Block]]] = [[]]
    for support, pair in enumerate(exhibit.task.support, 1):
        rows[0].append([_block(f"{support} in", pair.input), _block("out", pair.output)])
    for index, grid in enumerate(exhibit.task.test_inputs):
        number = f" {index + 1}" if len(exhibit.task.test_inputs) > 1 else ""
        row = [[_block(f"test{number}", grid)]]
        truth = exhibit.truth[index] if exhibit.truth else None
        for place, attempt in enumerate(exhibit.attempts[index] if exhibit.attempts else (), 1):
            mark = "" if truth is None else (" ✓" if np.array_equal(attempt, truth) else " ✗")
            row.append([_block(f"attempt {place}{mark}", attempt)])
        if truth is not None:
            row.append([_block("truth", truth)])
        rows.append(row)
    return rows


def _block(name: str, grid: Grid) -> _Block:
    return _Block(f"{name} {grid.shape[0]}×{grid.shape[1]}", grid)


def _block_lines(block: _Block, cell: int, colors: str, symbols: bool) -> tuple[int, list[str]]:
    """How many characters wide, and the lines, each exactly so wide on the screen."""
    wide = max(len(block.title), cell * block.grid.shape[1])
    rest = " " * (wide - cell * block.grid.shape[1])
    lines = [block.title.ljust(wide)]
    for row in block.grid.tolist():
        if colors == "none":
            lines.append("".join(("." if c == 0 else str(c)).ljust(cell) for c in row) + rest)
        else:
            cells = [_paint(c, (str(c) if symbols else "").rjust(cell), colors) for c in row]
            lines.append("".join(cells) + "\x1b[0m" + rest)
    return wide, lines


def _paint(color: int, content: str, colors: str) -> str:
    text = 15 if color in LIGHT_TEXT else 16
    if colors == "256":
        return f"\x1b[48;5;{NEAREST[color]}m\x1b[38;5;{text}m{content}"
    red, green, blue = (int(PALETTE[color][i : i + 2], 16) for i in (1, 3, 5))
    return f"\x1b[48;2;{red};{green};{blue}m\x1b[38;5;{text}m{content}"


def _width(drawn: list[tuple[int, list[str]]], gap: int = 3) -> int:
    return sum(wide for wide, _ in drawn) + gap * (len(drawn) - 1)


def _side_by_side(drawn: list[tuple[int, list[str]]], width: int, gap: int = 3) -> list[str]:
    """The blocks next to each other, and below where the width is used up."""
    shelves: list[list[tuple[int, list[str]]]] = [[]]
    for block in drawn:
        if shelves[-1] and _width([*shelves[-1], block], gap) > width:
            shelves.append([])
        shelves[-1].append(block)
    lines = []
    for number, shelf in enumerate(shelves):
        lines += [""] if number else []
        for y in range(max(len(block_lines) for _, block_lines in shelf)):
            parts = [text[y] if y < len(text) else " " * wide for wide, text in shelf]
            # Every block fills its width, so that the next one starts in the same column on each line.
            lines.append((" " * gap).join(parts))
    return lines


def _svg_grid(grid: Grid, left: int, top: int, cell: int) -> str:
    """Runs of one colour as rectangles, and the lines between the cells on top."""
    height, width = grid.shape
    parts = [f'<g transform="translate({left} {top})" shape-rendering="crispEdges">']
    for y, row in enumerate(grid.tolist()):
        starts = [x for x in range(width) if x == 0 or row[x] != row[x - 1]]
        for x, end in zip(starts, [*starts[1:], width], strict=True):
            box = f'x="{x * cell}" y="{y * cell}" width="{(end - x) * cell}" height="{cell}"'
            parts.append(f'<rect {box} fill="{PALETTE[row[x]]}"/>')
    path = "".join(f"M0 {y * cell}h{width * cell}" for y in range(height + 1))
    path += "".join(f"M{x * cell} 0v{height * cell}" for x in range(width + 1))
    return "".join([*parts, f'<path d="{path}" fill="none" stroke="#666"/></g>'])


def _plain(task_id: str) -> str:
    """The id without characters that steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in task_id)
