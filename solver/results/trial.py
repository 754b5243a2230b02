"""A trial: tasks whose truth is known, written as a challenges file, solved, and scored; in pieces, if need be."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from solver.arc.datasets import DataSet
from solver.arc.tasks import Grid, Task, challenge_json, load_challenges
from solver.presets import SolveConfig
from solver.results.evaluate import Evaluation, evaluate
from solver.results.printing import SolvingBar
from solver.run.folder import write_json
from solver.run.log import LogRow, good_rows, own_canvas, read_log
from solver.run.pipeline import solve
from solver.run.read import read_run
from solver.run.work import Means, Work
from solver.text import aligned
from solver.weights import checkpoint
from submission.document import read
from submission.score import score


class PieceOver(BaseException):
    """The time of a piece is over; what is finished is on the disk. As little an error as a control-C, and like that
    nothing that an `except Exception` may take."""


def run_trial(
    data: DataSet,
    tasks: list[Task],
    config: SolveConfig,
    directory: Path,
    means: Means,
    *,
    seed: int = 0,
    seen: list[str] | None = None,
    resume: bool = False,
    piece: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Solves `tasks` of `data` with a progress bar and scores them. The run folder gets its solutions once the solving
    has ended. `seen`, for the record: the tasks that the weights were trained on. PieceOver after `piece` seconds."""
    work = Work(load_challenges(_challenges(directory, tasks, resume)), dataset=data.name, seen=tuple(seen or ()))
    hits = functools.partial(_solved_so_far, directory, {task.id: data.solutions[task.id] for task in tasks})
    with limited(piece), SolvingBar(len(tasks), means.budget, hits) as bar:
        solve(work, config, directory, means, seed=seed, resume=resume, listen=bar.update, say=say)
    _write_solutions(directory, data, tasks)
    return evaluate(read_run(directory))


@contextlib.contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raises PieceOver in what is done within, once `seconds` are over; None is no limit. ValueError where the system
    has no such timer; from the main thread only."""
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer"):
        raise ValueError(
            "--piece needs a timer that this system does not have; take --continue, interrupt it, repeat it"
        )

    def over(*_: object) -> None:
        raise PieceOver

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def trained_on(weights: Iterable[str], data: DataSet, tasks: list[Task]) -> list[str]:
    """Ids of those of the tasks that share a pair with what any of these weights were trained on."""
    bundles = [checkpoint.find(name) for name in weights if not name.startswith("random:")]
    found = {task_id for bundle in bundles for task_id in checkpoint.overlaps(bundle, data)}
    return [task.id for task in tasks if task.id in found]


def finished(directory: Path) -> bool:
    """Whether the trial in a run folder is at its end."""
    return (directory / "solutions.json").exists()


def answered(directory: Path) -> dict[str, LogRow]:
    """The last log row of every task that has an answer, by id."""
    return {row["task"]: row for row in read_log(directory / "log.jsonl") if "error" not in row}


def standing(directory: Path) -> str:
    """How far an unfinished trial is, as text."""
    path = directory / "challenges.json"
    total = len(orjson.loads(path.read_bytes())) if path.exists() else 0
    log = read_log(directory / "log.jsonl")
    rows = good_rows(log)
    failed = {row["task"] for row in log} - set(rows)
    lines = [f"{len(rows)} of {total} tasks answered, {len(failed)} failed so far and to be tried again"]
    seconds: dict[int, list[float]] = {}
    for good in rows.values():
        spent = sum(row["adapt_seconds"] + row["predict_seconds"] for row in good)
        seconds.setdefault(own_canvas(good) or 0, []).append(spent)
    table = [(canvas, len(spent), sum(spent) / len(spent)) for canvas, spent in sorted(seconds.items())]
    return "\n".join([*lines, *(aligned(("canvas", "answered", "worker seconds a task"), table) if table else ())])


def _challenges(directory: Path, tasks: list[Task], resume: bool) -> Path:
    """`challenges.json` in a run folder, without a single test output; returns its path. ValueError if a run that is
    to be resumed had other tasks."""
    path, content = directory / "challenges.json", challenge_json(tasks)
    if resume and path.exists() and orjson.loads(path.read_bytes()) != content:
        raise ValueError(f"{directory}: was run on other tasks, so it cannot be resumed with these")
    write_json(path, content)
    return path


def _write_solutions(directory: Path, data: DataSet, tasks: list[Task]) -> None:
    """`solutions.json` in a run folder, for the scorer."""
    outputs = {task.id: [grid.tolist() for grid in data.solutions[task.id]] for task in tasks}
    write_json(directory / "solutions.json", outputs)


def _solved_so_far(directory: Path, solutions: dict[str, list[Grid]]) -> int:
    """How many tasks the submission in a run folder has right at this moment: for the progress bar alone."""
    hits = score(read(directory / "submission.json"), solutions).hits
    return sum(map(all, hits.values()))
