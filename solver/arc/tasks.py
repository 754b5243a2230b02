"""Grids, pairs and tasks, and the one place where files in Kaggle's format are read and validated.

Everything past this edge may trust a Grid. Rows, columns, supports and tests are counted from 1 in messages.
"""

import hashlib
import json
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Grid = np.ndarray  # uint8, (H, W), 1..30 a side, colours 0..9
MAX_SIDE = 30
COLORS = 10


class TaskError(ValueError):
    """A file or a task in it is not valid; the message is one line and names the place and the value."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One demonstration: two grids, whose sizes may differ."""

    input: Grid
    output: Grid


@dataclass(frozen=True, eq=False)
class Task:
    """What a solver may see of a task: it never holds the test outputs."""

    id: str
    support: tuple[Pair, ...]
    test_inputs: tuple[Grid, ...]

    @property
    def largest_side(self) -> int:
        """The largest height or width, in cells, of any grid in the task."""
        grids = [g for pair in self.support for g in (pair.input, pair.output)]
        return int(max(max(g.shape) for g in (*grids, *self.test_inputs)))


@dataclass(frozen=True, eq=False)
class Challenges:
    """A challenges file as read."""

    tasks: list[Task]  # the valid ones, in file order
    errors: dict[str, TaskError]  # what is wrong with each of the others, by id
    # For every id of the file, bad ones too, a grid for each test (at least one); a 1x1 zero grid stands in for one
    # that is missing or bad, so that a complete submission can always be made.
    test_inputs: dict[str, list[Grid]]
    sha256: str  # hex digest of the file's bytes
    path: Path  # where the file was read from


def load_challenges(path: str | Path, keep_going: bool = False) -> Challenges:
    """Read `{id: {train: [{input, output}], test: [{input}]}}`; an "output" inside a test is never looked at.

    Raises TaskError for the first bad task, or with keep_going collects these in `errors`. A file that is no
    JSON object of tasks at all always raises TaskError.
    """
    raw, sha256 = _read_object(path)
    challenges = Challenges([], {}, {}, sha256, Path(path))
    for task_id, value in raw.items():
        try:
            _check_id(task_id, raw, path)
            task = parse_task(task_id, value, f"{path}: task {_show(task_id)}")
        except TaskError as error:
            if not keep_going:
                raise
            challenges.errors[task_id] = error
            challenges.test_inputs[task_id] = _salvage_test_inputs(value)
        else:
            challenges.tasks.append(task)
            challenges.test_inputs[task_id] = list(task.test_inputs)
    return challenges


def load_solutions(path: str | Path) -> dict[str, list[Grid]]:
    """Read `{id: [grid, ...]}`, the outputs of each task's tests in order. Raises TaskError."""
    raw, _ = _read_object(path)
    solutions = {}
    for task_id, value in raw.items():
        _check_id(task_id, raw, path)
        where = f"{path}: task {_show(task_id)}"
        if type(value) is not list or not value:
            raise TaskError(f"{where}: expected a list of output grids, not {_show(value)}")
        solutions[task_id] = [parse_grid(g, f"{where}: test {i} output") for i, g in enumerate(value, 1)]
    return solutions


def challenge_json(tasks: list[Task]) -> dict[str, Any]:
    """The tasks in the structure of Kaggle's challenges file, as plain lists and dicts."""
    return {
        task.id: {
            "train": [{"input": p.input.tolist(), "output": p.output.tolist()} for p in task.support],
            "test": [{"input": g.tolist()} for g in task.test_inputs],
        }
        for task in tasks
    }


def parse_task(task_id: str, raw: object, where: str) -> Task:
    """A Task from its parsed JSON; `where` opens the message of the TaskError that it may raise."""
    fields = _object(raw, where)
    supports, tests = _entries(fields, "train", where), _entries(fields, "test", where)
    support = []
    for i, entry in enumerate(supports, 1):
        here = f"{where}: support {i}"
        support.append(Pair(_grid_in(entry, "input", here), _grid_in(entry, "output", here)))
    test_inputs = [_grid_in(entry, "input", f"{where}: test {i}") for i, entry in enumerate(tests, 1)]
    return Task(task_id, tuple(support), tuple(test_inputs))


def parse_grid(raw: object, where: str) -> Grid:
    """A Grid from a list of rows of ints; `where` opens the message of the TaskError that it may raise."""
    if type(raw) is not list:
        raise TaskError(f"{where}: a grid is a list of rows, not {_show(raw)}")
    if not 1 <= len(raw) <= MAX_SIDE:
        raise TaskError(f"{where}: the grid has {len(raw)} rows; 1 to {MAX_SIDE} are allowed")
    for i, row in enumerate(raw, 1):
        if type(row) is not list:
            raise TaskError(f"{where}: row {i} is {_show(row)}, not a list of colours")
        if not 1 <= len(row) <= MAX_SIDE:
            raise TaskError(f"{where}: row {i} has {len(row)} cells; 1 to {MAX_SIDE} are allowed")
        if len(row) != len(raw[0]):
            raise TaskError(f"{where}: row {i} has {len(row)} cells but row 1 has {len(raw[0])}")
        # Exact types: True is an int to Python, but no colour.
        if set(map(type, row)) != {int} or min(row) < 0 or max(row) >= COLORS:
            j, cell = next((j, c) for j, c in enumerate(row, 1) if type(c) is not int or not 0 <= c < COLORS)
            raise TaskError(f"{where}: row {i}, column {j} holds {_show(cell)}; a colour is a whole number from 0 to 9")
    return np.array(raw, dtype=np.uint8)


def _grid_in(entry: object, key: str, where: str) -> Grid:
    fields = _object(entry, where)
    if key not in fields:
        raise TaskError(f"{where}: has no {key!r}")
    return parse_grid(fields[key], f"{where} {key}")


def _entries(fields: dict[str, Any], key: str, where: str) -> list[Any]:
    entries = fields.get(key)
    if not isinstance(entries, list) or not entries:
        raise TaskError(f"{where}: {key!r} must be a list with at least one entry, not {_show(entries)}")
    return entries


def _salvage_test_inputs(raw: object) -> list[Grid]:
    tests = raw.get("test") if isinstance(raw, dict) else None
    grids = []
    for entry in tests if isinstance(tests, list) and tests else [None]:
        try:
            grids.append(_grid_in(entry, "input", "test"))
        except TaskError:
            grids.append(np.zeros((1, 1), dtype=np.uint8))
    return grids


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written more than once."""

    def __init__(self, pairs: list[tuple[str, object]]):
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(pairs) > len(self) else {}
        self.repeated = {key for key, count in counts.items() if count > 1}


def _object(raw: object, where: str) -> dict[str, Any]:
    """The JSON object that `raw` must be, without a key that was written twice."""
    if not isinstance(raw, dict):
        raise TaskError(f"{where}: expected a JSON object, not {_show(raw)}")
    repeated = getattr(raw, "repeated", None)
    if repeated:
        raise TaskError(f"{where}: the key {_show(min(repeated))} appears more than once")
    return raw


def _check_id(task_id: str, raw: _Object, path: str | Path) -> None:
    if not task_id:
        raise TaskError(f"{path}: task '': an id must not be empty")
    if task_id in raw.repeated:
        raise TaskError(f"{path}: task {_show(task_id)}: the id appears more than once")


def _read_object(path: str | Path) -> tuple[_Object, str]:
    """The JSON object in a file, and the sha256 of the file's bytes."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        raw = json.loads(data, object_pairs_hook=_Object)
    except RecursionError:
        raise TaskError(f"{path}: is nested too deeply to be a file of tasks") from None
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise TaskError(f"{path}: is not JSON: {error}") from None
    except ValueError:  # Python makes no int of thousands of digits; one such number costs its own task only
        raw = json.loads(data, object_pairs_hook=_Object, parse_int=lambda t: int(t) if len(t) < 20 else float(t))
    if type(raw) is not _Object:
        raise TaskError(f"{path}: expected a JSON object of tasks by id, not {_show(raw)}")
    if not raw:
        raise TaskError(f"{path}: holds no tasks")
    for task_id in raw:
        # Such an id could not be written back, so no submission could be complete.
        if any("\ud800" <= char <= "\udfff" for char in task_id):
            raise TaskError(f"{path}: task {task_id[:40]!a}: the id is not valid text")
    return raw, hashlib.sha256(data).hexdigest()


def _show(value: object) -> str:
    """A short repr on one line, safe for values of any size and depth."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
