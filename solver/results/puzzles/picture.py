"""Pictures in SVG, made of text alone: a few answers, and how they form step by step, which moves by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.results.puzzles.cells import drawn_grid
from solver.training.puzzles.arithmetic import FIRST

GAP, HEAD = 24, 26
FIRST_SECONDS, STEP_SECONDS, LAST_SECONDS = 1.2, 0.8, 2.4
"""How long the puzzle, every step and the answer are shown."""


@dataclass(frozen=True)
class Exhibit:
    """One puzzle: its input and target (H, W), and answers (steps, H, W), the last of which counts."""

    input: np.ndarray
    target: np.ndarray
    steps: np.ndarray
    right: bool


def answers_picture(exhibits: Sequence[Exhibit], kind: str) -> str:
    """Input, answer and target of each puzzle, one row each; a wrong answer is said to be one."""
    side, (height, width) = _side(exhibits), exhibits[0].input.shape
    parts = []
    for i, title in enumerate(("puzzle", "answer", "solution in the data")):
        parts.append(f'<text class="t" x="{GAP + i * (width * side + GAP):g}" y="{HEAD - 8}">{title}</text>')
    for row, one in enumerate(exhibits):
        top = HEAD + row * (height * side + GAP)
        for column, grid in enumerate((one.input, one.steps[-1], one.target)):
            left = GAP + column * (width * side + GAP)
            parts.append(_placed(_grid(one, grid, kind, side), left, top))
        mark, fill = ("right", "#1a7f37") if one.right else ("wrong", "#c62828")
        parts.append(
            f'<text class="t" x="{GAP + 3 * (width * side + GAP):g}" y="{top + 14:g}" style="fill:{fill}">{mark}</text>'
        )
    return _svg(
        "".join(parts), 3 * (width * side + GAP) + 3 * GAP, HEAD + len(exhibits) * (height * side + GAP), side, ""
    )


def solving_picture(exhibits: Sequence[Exhibit], kind: str, unit: str) -> str:
    """The puzzles next to each other, and what stands in them after every step, one after another, without end. Where
    nothing moves, the last step is seen."""
    side, (height, width) = _side(exhibits), exhibits[0].input.shape
    count = max(len(one.steps) for one in exhibits)
    columns = min(len(exhibits), max(1, round(640 / (width * side + GAP))))
    rows = -(-len(exhibits) // columns)
    frames = []
    for frame in range(count + 1):
        title = "the puzzle" if frame == 0 else f"{unit} {frame} of {count}"
        parts = [f'<text class="t" x="{GAP}" y="{HEAD - 8}">{title}</text>']
        for i, one in enumerate(exhibits):
            grid = one.input if frame == 0 else one.steps[min(frame, len(one.steps)) - 1]
            left = GAP + i % columns * (width * side + GAP)
            parts.append(_placed(_grid(one, grid, kind, side), left, HEAD + i // columns * (height * side + GAP)))
        frames.append(f'<g class="f f{frame}">{"".join(parts)}</g>')
    size = (columns * (width * side + GAP) + GAP, HEAD + rows * (height * side + GAP))
    return _svg("".join(frames), *size, side, _moving(count + 1))


def _moving(frames: int) -> str:
    """The style that shows one of so many frames at a time."""
    ends = np.cumsum([FIRST_SECONDS, *[STEP_SECONDS] * (frames - 2), LAST_SECONDS])
    begins = [0.0, *ends[:-1].tolist()]
    total = float(ends[-1])
    style = [".f{opacity:0}", f".f{frames - 1}{{opacity:1}}", "@media (prefers-reduced-motion: no-preference){"]
    for frame, (begin, end) in enumerate(zip(begins, ends.tolist(), strict=True)):
        first, last = 100 * begin / total, 100 * end / total
        keys = ["0%{opacity:0}"] if begin else []
        keys += [f"{first:.2f}%{{opacity:1}}", f"{last:.2f}%{{opacity:{1 if frame == frames - 1 else 0}}}"]
        style.append(f"@keyframes k{frame}{{{''.join(keys)}}}")
        style.append(f".f{frame}{{animation:k{frame} {total:g}s step-end infinite}}")
    return "".join([*style, "}"])


def _grid(one: Exhibit, grid: np.ndarray, kind: str, side: float) -> str:
    """A grid of an exhibit; where cells are written, what the puzzle gave is black, and what is wrong is red."""
    if kind in ("digits", "signs"):
        blank = 0 if kind == "digits" else FIRST
        return drawn_grid(grid, kind, side, given=one.input != blank, wrong=grid != one.target)
    return drawn_grid(grid, kind, side)


def _side(exhibits: Sequence[Exhibit]) -> float:
    """The side of a cell: a grid is about 150 wide, and no cell above 28."""
    return float(min(28, max(6, 150 // exhibits[0].input.shape[1])))


def _placed(content: str, left: float, top: float) -> str:
    return f'<g transform="translate({left:g} {top:g})">{content}</g>'


def _svg(content: str, width: float, height: float, side: float, style: str) -> str:
    common = (
        f"text{{font:{0.6 * side:g}px sans-serif;text-anchor:middle;fill:#111}}.b{{fill:#0b57d0}}.w{{fill:#d32f2f}}"
        "text.t{font:13px sans-serif;text-anchor:start}.l{fill:none;stroke:#999;stroke-width:.5}"
        ".L{fill:none;stroke:#333;stroke-width:1.6}"
    )
    size = f'width="{width:g}" height="{height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {size}>'
    ground = f'<rect {size} fill="#ffffff"/>'
    return f"{head}<style>{common}{style}</style>{ground}{content}</svg>\n"
