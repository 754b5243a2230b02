"""A run folder, read: the one place that knows how to get from `runs/<date-time>/` to everything in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import orjson

from solver.arc.tasks import Challenges, Grid, Task, TaskError, load_challenges, load_solutions
from solver.run.log import LogRow, read_log
from solver.run.record import Record, Start, starts
from submission.document import Attempts, read
from voting import Pool, load_pools


@dataclass(frozen=True, eq=False)
class Run:
    """One run, finished or not, as its folder stood when it was read."""

    directory: Path
    config: Record  # the object in config.json, see `solver.run.record`
    challenges: Challenges  # the tasks that were given, bad ones too
    # {task_id: [(attempt 1, attempt 2) per test input]}, uint8 grids, for every id of the challenges.
    attempts: Attempts
    pools: dict[tuple[str, int], Pool]  # by task id and test index, from 0; for every test input that got views
    log: dict[str, list[LogRow]]  # by task id its rows of log.jsonl, oldest first, see `solver.run.log`
    # {task_id: [output per test input]} for the tasks whose truth is known; None where the folder has no solutions.
    solutions: dict[str, list[Grid]] | None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.directory.resolve().name

    @property
    def tasks(self) -> dict[str, Task]:
        """The valid tasks by id, in file order."""
        return {task.id: task for task in self.challenges.tasks}

    @property
    def starts(self) -> list[Start]:
        """The starts of the run, at least one; all but the first resumed it."""
        return starts(self.config)

    @property
    def offsets(self) -> list[float]:
        """For each start, the seconds that all starts before it took: its place on a clock that ran through all of
        them. Of a start that was killed the seconds to the last answer count."""
        ends = [start.get("seconds") or 0.0 for start in self.starts]
        for row in (row for rows in self.log.values() for row in rows if row.get("ended") is not None):
            start = row.get("start", 0)
            if self.starts[start].get("seconds") is None:
                ends[start] = max(ends[start], row["ended"])
        return [sum(ends[:index]) for index in range(len(ends))]

    def pool(self, task_id: str, test_index: int) -> Pool | None:
        """The candidates of a test input, or None where it has none and so kept its fallback answer."""
        pool = self.pools.get((task_id, test_index))
        return pool if pool is not None and len(pool) else None

    def truth(self, task_id: str) -> list[Grid] | None:
        """The outputs of a task's tests, or None where they are not known."""
        return None if self.solutions is None else self.solutions.get(task_id)


def read_run(directory: str | Path) -> Run:
    """The run in a folder. ValueError, one line, if it is no run or its files do not fit together.

    log.jsonl, pools.jsonl and solutions.json may be missing: a run starts without them.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"{directory}: there is no such folder")
    for name in ("config.json", "challenges.json", "submission.json"):
        if not (directory / name).is_file():
            raise ValueError(f"{directory}: is not a run folder: it has no {name}")
    challenges = load_challenges(directory / "challenges.json", keep_going=True)
    attempts = read(directory / "submission.json")
    for task_id, grids in challenges.test_inputs.items():
        if len(attempts.get(task_id, ())) != len(grids):
            raise ValueError(
                f"{directory}: submission.json has {len(attempts.get(task_id, ()))} answers "
                f"for the {len(grids)} test inputs of task {task_id}"
            )
    config = _object(directory / "config.json")
    log = _log(directory / "log.jsonl", len(starts(config)))
    finished = {(task_id, row.get("copy")) for task_id, rows in log.items() for row in rows if "error" not in row}
    return Run(
        directory=directory,
        config=config,
        challenges=challenges,
        attempts={task_id: attempts[task_id] for task_id in challenges.test_inputs},
        pools=load_pools(directory / "pools.jsonl", finished),
        log=log,
        solutions=_solutions(directory / "solutions.json", challenges),
    )


def _object(path: Path) -> Record:
    try:
        config = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a JSON object")
    return config


def _log(path: Path, known: int) -> dict[str, list[LogRow]]:
    """The rows by task; `known` is how many starts the run has had."""
    rows = defaultdict(list)
    for row in read_log(path):
        if row.get("start", 0) >= known:
            raise ValueError(f"{path}: names start {row['start'] + 1} of the run, config.json has {known}")
        rows[row["task"]].append(row)
    return dict(rows)


def _solutions(path: Path, challenges: Challenges) -> dict[str, list[Grid]] | None:
    if not path.exists():
        return None
    known = load_solutions(path)
    solutions = {task_id: known[task_id] for task_id in challenges.test_inputs if task_id in known}
    if not solutions:
        raise TaskError(f"{path}: holds the solution of none of the run's tasks")
    for task_id, outputs in solutions.items():
        expected = len(challenges.test_inputs[task_id])
        # Of a task that could not be read, some test inputs may be lost.
        if len(outputs) < expected or (len(outputs) > expected and task_id not in challenges.errors):
            raise TaskError(f"{path}: task {task_id} has {len(outputs)} outputs for {expected} test inputs")
    return solutions
