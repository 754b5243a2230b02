"""Sudoku of 4 x 4 and 9 x 9 cells: every puzzle has one solution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from solver.training.puzzles.classes import mix
from solver.training.puzzles.puzzle import Answerer, Drawn, Puzzle
from solver.training.puzzles.sudoku_search import dig, search

VALID = "rows, columns and boxes hold every digit once, and the givens are kept"


class Sudoku(Puzzle):
    """What both sizes have in common."""

    drawn_as = "digits"
    turns = True
    box: int  # cells a side of a box

    def marks(self, drawn: Drawn, answer: Answerer) -> dict[str, np.ndarray]:
        answers = answer(drawn.inputs)
        kept = ((drawn.inputs == 0) | (drawn.inputs == answers)).all((1, 2))
        right = (answers == drawn.targets).all((1, 2))
        cells = (answers == drawn.targets).mean((1, 2)) >= 0.9
        values = {"valid": complete(answers, self.box) & kept, "exact": right, "nearly": cells}
        return {name: values[name] for name in self.metrics}


def complete(grids: np.ndarray, box: int) -> np.ndarray:
    """Bool (P,): whether each row, column and box of the grids (P, n, n) holds the digits 1 to n once."""
    n, right = box * box, np.ones(len(grids), dtype=bool)
    boxes = grids.reshape(-1, box, box, box, box).swapaxes(2, 3).reshape(-1, n, n)
    for units in (grids, grids.swapaxes(1, 2), boxes):
        right &= (np.sort(units, axis=2) == np.arange(1, n + 1)).all((1, 2))
    return right


def classes(puzzles: np.ndarray, solutions: np.ndarray, box: int) -> np.ndarray:
    """A hash uint64 (P,) of puzzles and their solutions (P, n, n) that renaming digits, transposing, and exchanging
    bands, stacks, rows of a band or columns of a stack do not change.

    Cells are labelled by whether they are given, and then, over and over, by the labels in their row, their column,
    their box and at the same digit of the solution (colour refinement, Weisfeiler and Leman 1968)."""
    count, n = len(puzzles), box * box
    by_digit = solutions.reshape(count, -1).argsort(axis=1, kind="stable")
    label = mix((puzzles > 0).astype(np.uint64)).reshape(count, n, n)
    for _ in range(5):
        rows = np.broadcast_to(mix(label.sum(2, keepdims=True)), label.shape)
        columns = np.broadcast_to(mix(label.sum(1, keepdims=True)), label.shape)
        boxes = label.reshape(count, box, box, box, box)
        boxes = np.broadcast_to(boxes.sum((2, 4), keepdims=True), boxes.shape).reshape(label.shape)
        flat = np.take_along_axis(label.reshape(count, -1), by_digit, axis=1).reshape(count, n, n)
        digits = np.empty((count, n * n), dtype=np.uint64)
        sums = np.broadcast_to(flat.sum(2, keepdims=True), flat.shape).reshape(count, -1)
        np.put_along_axis(digits, by_digit, sums, axis=1)
        around = mix(rows + columns) + mix(boxes ^ np.uint64(1)) + mix(digits.reshape(label.shape) ^ np.uint64(2))
        label = mix(mix(label) + around)
    return mix(label.sum((1, 2)))


def shuffled(grids: list[np.ndarray], box: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Arrays (P, n, n) of puzzles and solutions, each puzzle under a random one of the symmetries."""
    count, n = len(grids[0]), box * box
    digits = 1 + generator.random((count, n)).argsort(axis=1)
    digits = np.concatenate([np.zeros((count, 1), dtype=np.int64), digits], axis=1).astype(np.uint8)
    lines = []
    for _ in range(2):
        groups = generator.random((count, box)).argsort(axis=1)
        within = generator.random((count, box, box)).argsort(axis=2)
        lines.append((groups[:, :, None] * box + within).reshape(count, n))
    flip = generator.random(count) < 0.5
    result = []
    for grid in grids:
        moved = np.take_along_axis(grid, lines[0][:, :, None], axis=1)
        moved = np.take_along_axis(moved, lines[1][:, None, :], axis=2)
        moved = np.where(flip[:, None, None], moved.swapaxes(1, 2), moved)
        result.append(np.take_along_axis(digits, moved.reshape(count, -1), axis=1).reshape(moved.shape))
    return result


@cache
def all_of_four() -> np.ndarray:
    """The 288 full grids of 4 x 4, uint8 (288, 4, 4)."""
    found: list[np.ndarray] = []

    def extend(grid: np.ndarray, place: int) -> None:
        if place == 16:
            found.append(grid.copy())
            return
        r, c = divmod(place, 4)
        near = {*grid[r], *grid[:, c], *grid[r // 2 * 2 : r // 2 * 2 + 2, c // 2 * 2 : c // 2 * 2 + 2].ravel()}
        for digit in {1, 2, 3, 4} - near:
            grid[r, c] = digit
            extend(grid, place + 1)
            grid[r, c] = 0

    extend(np.zeros((4, 4), dtype=np.uint8), 0)
    return np.array(found)


@cache
def differences() -> np.ndarray:
    """Uint16 (288, 288): a bit for every cell in which two full grids differ."""
    grids = all_of_four().reshape(288, 16)
    bits = (np.uint16(1) << np.arange(16, dtype=np.uint16)).astype(np.uint16)
    return np.array([((grids != grid) * bits).sum(1) for grid in grids]).astype(np.uint16)


@dataclass(frozen=True)
class Sudoku4(Sudoku):
    """4 x 4, with 4 to 8 givens."""

    name = "sudoku4"
    about = "4x4 Sudoku, unique solution, 8 to 12 empty cells"
    metrics = {"valid": VALID}  # noqa: RUF012
    goal = "99% in 3 minutes"
    exchanged = 4
    box: int = 2
    canvas: int = 6
    patch: int = 2
    batch: int = 16
    loops: int = 4
    held_out: int = 5
    seconds: float = 120.0

    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        which = generator.integers(288, size=count)
        differ = differences()[which]
        differ[np.arange(count), which] = 0xFFFF  # from itself a grid need not differ in a given
        givens = np.full(count, 0xFFFF, dtype=np.uint16)
        least, left = generator.integers(4, 9, size=count), np.full(count, 16)
        for cell in generator.random((count, 16)).argsort(axis=1).T:
            without = givens & ~(np.uint16(1) << cell.astype(np.uint16))
            unique = (differ & without[:, None]).all(axis=1) & (left > least)
            givens = np.where(unique, without, givens)
            left -= unique
        shown = (givens[:, None] >> np.arange(16, dtype=np.uint16)) & 1
        targets = all_of_four()[which]
        inputs = (targets * shown.reshape(targets.shape)).astype(np.uint8)
        wanted = left <= 8
        inputs, targets = inputs[wanted], targets[wanted]
        return Drawn(inputs, targets, classes(inputs, targets, 2))


@dataclass(frozen=True)
class Sudoku9(Sudoku):
    """9 x 9. Easy ones follow without a guess. Hard ones are minimal, and a plain solver takes back at least
    `backtracks` guesses, see `rating`."""

    name = "sudoku9"
    about = "9x9 Sudoku, unique solution; --hard: a plain solver has to take back guesses"
    metrics = {"exact": "all 81 cells", "nearly": "at least 73 of the 81 cells"}  # noqa: RUF012
    goal = "90% of the easy ones in 15 minutes"
    exchanged = 9
    box: int = 3
    canvas: int = 10
    held_out: int = 3
    seconds: float = 900.0
    hard: bool = False
    backtracks: int = 1
    spread: int = 64  # examples to train on that symmetries make of each puzzle found

    @property
    def system(self) -> str:  # type: ignore[override]
        return "nano" if self.hard else "trm-mlp-nano"  # as measured, docs/systems.md

    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        spread = self.spread if part == "train" else 1
        found = [self._one(generator) for _ in range(max(1, min(count, 2000) // spread))]
        puzzles, solutions = (np.array(grids).repeat(spread, axis=0) for grids in zip(*found, strict=True))
        inputs, targets = shuffled([puzzles, solutions], 3, generator)
        return Drawn(inputs, targets, classes(inputs, targets, 3))

    def _one(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        while True:
            full = full_grid(generator)
            least = 0 if self.hard else int(generator.integers(28, 40))
            puzzle = dig(full, generator.permutation(81), least, not self.hard)
            if not self.hard or rating(puzzle) >= self.backtracks:
                return puzzle, full


def full_grid(generator: np.random.Generator) -> np.ndarray:
    """A random full grid, uint8 (9, 9): three boxes at random, and what the solver makes of them."""
    grid = np.zeros((9, 9), dtype=np.uint8)
    for b in (0, 3, 6):
        grid[b : b + 3, b : b + 3] = 1 + generator.permutation(9).reshape(3, 3)
    full: np.ndarray
    found, _, full = search(grid, 1, 1 + generator.permutation(9), True)
    assert found == 1
    return full


def rating(puzzle: np.ndarray) -> int:
    """Guesses that a plain solver takes back before it has the solution: it fills in cells that allow one digit alone,
    and guesses where there are fewest choices, digits in ascending order."""
    return int(search(puzzle, 1, np.arange(1, 10), False)[1])
