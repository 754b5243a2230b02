"""Strict check of a submission against the challenges it answers: every fault with its place and value.

The format: one object with every task id; under each a list with one {"attempt_1": grid, "attempt_2": grid}
per test input, in order; a grid is 1-30 rows of 1-30 integers 0-9, all rows equally long.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ATTEMPTS = ("attempt_1", "attempt_2")
MAX_SIDE = 30


def grid_fault(value: object) -> str | None:
    """What is wrong with `value` as a grid of plain lists of ints, or None if nothing is."""
    if not isinstance(value, list):
        return f"not a list of rows: {_short(value)}"
    if not 1 <= len(value) <= MAX_SIDE:
        return f"{len(value)} rows, where 1 to {MAX_SIDE} are allowed"
    for y, row in enumerate(value):
        if not isinstance(row, list):
            return f"row {y} is not a list: {_short(row)}"
        if not 1 <= len(row) <= MAX_SIDE:
            return f"row {y} has {len(row)} cells, where 1 to {MAX_SIDE} are allowed"
        if len(row) != len(value[0]):
            return f"row {y} has {len(row)} cells, but row 0 has {len(value[0])}"
        for x, color in enumerate(row):
            if type(color) is not int or not 0 <= color <= 9:  # a bool is an int, but no colour
                return f"row {y}, column {x} is not an integer 0 to 9: {_short(color)}"
    return None


def problems(document: object, test_inputs: Mapping[str, Sequence[object]]) -> list[str]:
    """Every fault of a parsed JSON document, one line each, naming task, test index, attempt and value.

    test_inputs: {task_id: its test inputs, in order}; only their number matters. An empty list: all is well.
    """
    if not isinstance(document, dict):
        return [f"the document is not an object of task ids: {_short(document)}"]
    found = [f"task {task_id}: missing" for task_id in test_inputs if task_id not in document]
    found += [f"task {key}: not among the challenges" for key in document if key not in test_inputs]
    for task_id, inputs in test_inputs.items():
        if task_id in document:
            found += _task_problems(f"task {task_id}", document[task_id], len(inputs))
    return found


def check(path: str | os.PathLike[str], test_inputs: Mapping[str, Sequence[object]]) -> None:
    """ValueError with the first few faults of the file at `path`: bad JSON, repeated keys, or `problems`."""
    repeated: list[str] = []

    def as_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(f"key {key!r} appears {n} times" for key, n in counts.items() if n > 1)
        return dict(pairs)

    try:
        document = json.loads(Path(path).read_bytes(), object_pairs_hook=as_object)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    found = repeated + problems(document, test_inputs)
    if found:
        more = [f"and {len(found) - 5} more"] if len(found) > 5 else []
        raise ValueError("\n  ".join([f"{path} is not a valid submission:", *found[:5], *more]))


def _task_problems(place: str, entries: object, expected: int) -> list[str]:
    if not isinstance(entries, list):
        return [f"{place}: not a list of answers: {_short(entries)}"]
    found = []
    if len(entries) != expected:
        found.append(f"{place}: {len(entries)} answers for {expected} test inputs")
    for index, entry in enumerate(entries):
        here = f"{place}, test {index}"
        if not isinstance(entry, dict):
            found.append(f"{here}: not an object with {' and '.join(ATTEMPTS)}: {_short(entry)}")
            continue
        found += [f"{here}: surplus key {_short(key)}" for key in entry if key not in ATTEMPTS]
        for attempt in ATTEMPTS:
            fault = grid_fault(entry[attempt]) if attempt in entry else "missing"
            if fault:
                found.append(f"{here}, {attempt}: {fault}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
