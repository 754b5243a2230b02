"""Few-shot puzzles, made as ARC tasks: a few transitions of an unknown law are shown, and it is to be applied once
more. No weights are trained on them; they are solved as any challenges file is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from solver.arc.datasets import DataSet, content_hash
from solver.arc.tasks import Grid, Pair, Task

Law = Callable[[Grid], Grid]
SHOWN = 3
"""Transitions shown."""

SPEEDS = 751
"""Coefficients of heat: 0.05 to 0.8 in thousandths."""


def life(count: int, seed: int = 0) -> DataSet:
    """`count` different life-like rules, one a task: which numbers of living neighbours give birth, and which let
    survive, beyond the edges all is dead. What the test asks for has all been shown: every state of a cell and number
    of neighbours that occurs in it occurs in the supports."""
    generator = np.random.default_rng([seed, 0])
    tasks: dict[str, list[Pair]] = {}
    while len(tasks) < count:
        born, kept = generator.random(9) < 0.3, generator.random(9) < 0.4
        born[0] = False
        name = "".join(["life-b", *np.flatnonzero(born).astype(str), "s", *np.flatnonzero(kept).astype(str)])
        pairs = []
        for _ in range(SHOWN + 1):
            soup = (generator.random(generator.integers(9, 12, size=2)) < generator.uniform(0.25, 0.5)).astype(np.uint8)
            pairs.append(Pair(soup, next_generation(soup, born, kept)))
        shown = set().union(*(situations(pair.input) for pair in pairs[:SHOWN]))
        lively = all(0.1 < pair.output.mean() < 0.9 and (pair.input != pair.output).any() for pair in pairs)
        if lively and situations(pairs[-1].input) <= shown and name not in tasks:
            tasks[name] = pairs
    return _data_set(f"life, seed {seed}", tasks)


def next_generation(alive: Grid, born: np.ndarray, kept: np.ndarray) -> Grid:
    """The cells (H, W), 0 or 1, one step later; `born` and `kept` bool (9,), by the number of living neighbours."""
    around = neighbours(alive)
    after: np.ndarray = np.where(alive > 0, kept[around], born[around]).astype(np.uint8)
    return after


def neighbours(alive: Grid) -> np.ndarray:
    """How many of the eight cells around each are alive, int64 (H, W)."""
    height, width = alive.shape
    padded = np.pad(alive.astype(np.int64), 1)
    moves = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around: np.ndarray = np.sum([padded[y : y + height, x : x + width] for y, x in moves], axis=0)
    return around


def situations(alive: Grid) -> set[tuple[int, int]]:
    """The pairs of a cell's state and its number of living neighbours that occur."""
    return set(zip(alive.ravel().tolist(), neighbours(alive).ravel().tolist(), strict=True))


def heat(count: int, seed: int = 0) -> DataSet:
    """`count` tasks of heat that spreads in a plate with insulated edges: temperatures in ten levels, 0 to 9; how fast
    it spreads is another unknown in each."""
    if count > SPEEDS:
        raise ValueError(f"--test {count}: heat spreads at {SPEEDS} different speeds")
    generator = np.random.default_rng([seed, 1])
    tasks: dict[str, list[Pair]] = {}
    while len(tasks) < count:
        speed = round(generator.uniform(0.05, 0.8), 3)
        name = f"heat-{speed:.3f}"
        pairs = []
        for _ in range(SHOWN + 1):
            plate = np.zeros(generator.integers(8, 12, size=2), dtype=np.uint8)
            for _ in range(generator.integers(2, 5)):
                top, left = (generator.integers(0, side - 1) for side in plate.shape)
                high, wide = generator.integers(1, 5, size=2)
                plate[top : top + high, left : left + wide] = generator.integers(3, 10)
            pairs.append(Pair(plate, diffused(plate, speed)))
        tasks[name] = pairs
    return _data_set(f"heat, seed {seed}", tasks)


def diffused(levels: Grid, speed: float) -> Grid:
    """Temperatures (H, W) after unit time of du/dt = `speed` x the sum of differences to the four neighbours, in short
    steps, rounded to levels."""
    steps = int(np.ceil(50 * speed))
    field = levels.astype(np.float64)
    for _ in range(steps):
        across, down = np.diff(field, axis=1), np.diff(field, axis=0)
        change = np.zeros_like(field)
        change[:, :-1] += across
        change[:, 1:] -= across
        change[:-1] += down
        change[1:] -= down
        field = field + speed / steps * change
    return np.rint(field).astype(np.uint8)


def _data_set(name: str, pairs: dict[str, list[Pair]]) -> DataSet:
    tasks = [Task(task_id, tuple(drawn[:SHOWN]), (drawn[SHOWN].input,)) for task_id, drawn in pairs.items()]
    solutions = {task_id: [drawn[SHOWN].output] for task_id, drawn in pairs.items()}
    return DataSet(name, tasks, solutions, content_hash(tasks, solutions))
