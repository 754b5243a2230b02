"""The submission as it grows: complete and valid on disk from the first moment, answers replaced one by one.

A run may die at any time, so the file starts full of fallback answers and is only ever replaced as a whole.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from submission.files import cannot_write, write_whole
from submission.validate import ATTEMPTS, grid_fault

Grid = np.ndarray  # integers (H, W), sides 1-30, colours 0-9
GridLike = np.ndarray | Sequence[Sequence[int]]  # the same, or lists of lists
Attempts = dict[str, list[tuple[Grid, Grid]]]  # {task_id: [(attempt 1, attempt 2) per test input]}


class Document:
    """A submission file for `test_inputs` = {task_id: [grid, ...]}, written with fallbacks when constructed; with
    `keep` a file that is there already stays until the first `write`.

    Missing folders on the way to `path` are made. ValueError if there are no tasks, if a task has no test
    input, or if a test input is no grid; OSError naming `path` if it cannot be written. One Document per path at
    a time; readers may come and go.
    """

    def __init__(
        self, path: str | os.PathLike[str], test_inputs: Mapping[str, Sequence[Grid]], *, keep: bool = False
    ) -> None:
        if not test_inputs:
            raise ValueError("a submission needs at least one task")
        self.path = Path(path)
        self._entries: dict[str, list[dict[str, list[list[int]]]]] = {}
        self._answered: set[tuple[str, int]] = set()
        for task_id, grids in test_inputs.items():
            if len(grids) == 0:
                raise ValueError(f"task {task_id} has no test input")
            self._entries[task_id] = [
                _entry(*fallback(np.array(_plain(grid, f"task {task_id}, test {index}, input"))), task_id, index)
                for index, grid in enumerate(grids)
            ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if not (keep and self.path.exists()):
            self.write()

    @property
    def answered(self) -> frozenset[tuple[str, int]]:
        """The (task_id, test_index) pairs that `set` has replaced."""
        return frozenset(self._answered)

    def is_fallback(self, task_id: str, test_index: int) -> bool:
        """Whether this test input still has its fallback answer; ValueError if there is no such input."""
        self._locate(task_id, test_index)
        return (task_id, test_index) not in self._answered

    def set(self, task_id: str, test_index: int, attempt_1: GridLike, attempt_2: GridLike) -> None:
        """Replace one answer in memory; `write` brings it to disk.

        Attempts are integer arrays or lists of lists (H, W), sides 1-30, colours 0-9. ValueError names the
        place and the fault, and then nothing has changed.
        """
        self._locate(task_id, test_index)
        self._entries[task_id][test_index] = _entry(attempt_1, attempt_2, task_id, test_index)
        self._answered.add((task_id, test_index))

    def write(self) -> None:
        """Replace the file as a whole: readers, at any time and after any kill, see the old or the new one.

        On OSError (a full disk, say) the old file stays and the half-made one is removed.
        """
        write_whole(self.path, orjson.dumps(self._entries))

    def _locate(self, task_id: str, test_index: int) -> None:
        if task_id not in self._entries:
            raise ValueError(f"task {task_id!r} is not in this submission")
        count = len(self._entries[task_id])
        if not 0 <= test_index < count:
            raise ValueError(f"task {task_id} has test inputs 0 to {count - 1}, not {test_index}")


def fallback(test_input: Grid) -> tuple[Grid, Grid]:
    """Two different uint8 grids to submit when nothing is known: the test input and the same turned by half.

    If that turn changes nothing, the second is the input with its top left cell changed. They are as good as
    any: no turn, mirror, crop or plain fill solves more than 2 in 1000 test inputs of ARC-2's training set,
    or any at all of its evaluation set.
    """
    first = np.array(test_input, dtype=np.uint8)
    second = np.rot90(first, 2).copy()
    if np.array_equal(first, second):
        second[0, 0] = (first[0, 0] + 1) % 10
    return first, second


def read(path: str | os.PathLike[str]) -> Attempts:
    """The attempts in a submission file, as uint8 grids; ValueError names the place of what cannot be read.

    Whether every task is there is for `validate.check` to say.
    """
    try:
        document = orjson.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    attempts: Attempts = {}
    try:
        for task_id, entries in document.items():
            attempts[task_id] = []
            for index, entry in enumerate(entries):
                for name in ATTEMPTS:
                    _plain(entry[name], f"task {task_id}, test {index}, {name}")
                first, second = (np.array(entry[name], dtype=np.uint8) for name in ATTEMPTS)
                attempts[task_id].append((first, second))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a submission: {error!r}") from error
    return attempts


def _entry(attempt_1: GridLike, attempt_2: GridLike, task_id: str, index: int) -> dict[str, list[list[int]]]:
    place = f"task {task_id}, test {index}"
    return {name: _plain(grid, f"{place}, {name}") for name, grid in zip(ATTEMPTS, (attempt_1, attempt_2), strict=True)}


def _plain(grid: object, place: str) -> list[list[int]]:
    """`grid` as fresh lists of ints; ValueError if it is no grid."""
    value: Any = grid.tolist() if isinstance(grid, np.ndarray) else grid
    fault = grid_fault(value)
    if fault:
        raise ValueError(f"{place}: {fault}")
    return [row[:] for row in value]
