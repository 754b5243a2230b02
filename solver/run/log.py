"""`log.jsonl`: what became of every copy of every task, one JSON object a line. This is its schema; the job writes it,
and planner, dry run, evaluation and report read it.

    {"task": "0a1d4ef5", "copy": 0, "canvas": 12, "zoom": 1, "weights": "", "steps": 180, "loss": 0.0031,
     "settled": true, "adapt_seconds": 9.1, "predict_seconds": 1.2, "views": [64], "trace": [...],
     "start": 0, "worker": 1, "started": 12.5, "ended": 22.9}
    {"task": "1a2e2828", "copy": 0, "error": "FloatingPointError: the loss is not finite", "traceback": "Traceback ...",
     "start": 0, "worker": 0, "started": 12.5, "ended": 14.0}

(without the line breaks). A row with an "error" is a copy that failed. A copy may fail in one row and, tried again,
succeed in a later one. `voting.lines` says how such files are written and what a kill may leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

from voting import append_lines, read_lines


class Kind(NamedTuple):
    """What copies of a task are alike in: the `weights` that they were made of, as in a row, and their `zoom`."""

    weights: str = ""
    zoom: int = 1


class Copy(TypedDict):
    """What every row has."""

    task: str  # the task's id
    copy: int  # which fine-tuned copy of the weights, from 0


class LogRow(Copy, total=False):
    """One row: either the facts of an answer, or "error" and, where an exception is behind it, "traceback"."""

    canvas: int  # side of the canvas in cells
    zoom: int  # canvas cells that a grid cell was a side; absent in older logs, where it was 1
    weights: str  # of which it was made: "" for the run's own, else one of the names in `also` of config.json
    steps: int  # fine-tuning steps taken
    loss: float  # mean loss at the end, in nats a cell of the supports
    settled: bool  # whether the supports were learned with margin, so that fine-tuning ended early
    adapt_seconds: float  # the copy's share of its stack's fine-tuning time
    predict_seconds: float  # time of its views
    views: list[int]  # views cast, a number for each test input
    trace: list[list[list[str]]]  # for each test input the answer after every loop step, as rows of characters
    earlier_error: (
        str  # what went wrong when this copy was first tried, with others in a stack or by a process that died
    )
    error: str  # why the copy failed, one line
    traceback: str  # where one of these happened: Python's traceback, or the last words of a process that died
    start: int  # which start of the run, an index into `starts` of config.json; absent in runs that have none
    worker: int  # number of the worker that did it; this and the next two are absent where none was asked
    started: float  # when its job began, in seconds from the start that it belongs to
    ended: float  # when its job ended, on the same clock


def good_rows(rows: Iterable[LogRow]) -> dict[str, list[LogRow]]:
    """The rows of copies that gave an answer, by task id."""
    found: dict[str, list[LogRow]] = {}
    for row in rows:
        if "error" not in row:
            found.setdefault(row["task"], []).append(row)
    return found


def plain_row(rows: Iterable[LogRow]) -> LogRow | None:
    """Of a task's rows that of its first good copy of the run's own weights which was not zoomed, or the nearest to
    that; None without a good copy."""
    good = [row for row in rows if "error" not in row]
    return min(good, key=lambda row: (row.get("zoom", 1), bool(row.get("weights")), row["copy"]), default=None)


def kind(row: LogRow) -> Kind:
    """What a copy is alike in with others of its task."""
    return Kind(row.get("weights", ""), row.get("zoom", 1))


def own_canvas(rows: Iterable[LogRow]) -> int | None:
    """The side of a task's own canvas, as its `plain_row` has it; None without a good copy."""
    row = plain_row(rows)
    return None if row is None else row["canvas"]


def append_row(path: Path, row: LogRow) -> None:
    """One more row, on disk when this returns."""
    append_lines(path, [row])


def read_log(path: Path) -> list[LogRow]:
    """The rows of a log, in order; none if there is no log yet. ValueError names a line that is no row; a last one
    that a killed run left half-written is skipped."""
    rows = []
    for number, row in read_lines(path):
        if not isinstance(row, dict) or type(row.get("task")) is not str or type(row.get("copy")) is not int:
            raise ValueError(f"{path}, line {number}: not a log row, which names a task and a copy")
        rows.append(cast(LogRow, row))
    return rows
