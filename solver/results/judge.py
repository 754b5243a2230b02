"""Every test output of a run, judged: hit or missed, how near, and what its task took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.arc.expected import size_rule
from solver.arc.tasks import Grid
from solver.run.log import LogRow, own_canvas
from solver.run.read import Run
from voting import Pool

NEAR = 0.1  # an answer of the right shape with at most this share of its cells wrong is a near miss
LEARNED = 0.06  # nats a cell: a copy whose loss ended below this has learned its supports, and so has one that settled
UNKNOWN = "?"

_Job = tuple[int, int | None, float | None, float | None]
"""Start of the run, worker, begin and end."""


@dataclass(frozen=True)
class Answer:
    """How one test output was answered."""

    hit: int | None  # 0 a miss, 1 hit by attempt 1, 2 hit by attempt 2 only; None where the truth is not known
    covered: bool  # the truth is among the candidates of the pool
    # A miss, but the truth was a candidate, or a candidate that was submitted has the right shape and at most NEAR of
    # its cells wrong.
    near: bool
    fallback: bool  # no view gave a grid, so the answer is the fallback


@dataclass(frozen=True)
class TaskResult:
    """One task of a run."""

    id: str
    canvas: int | None  # its side in cells, None if the network never answered
    size_rule: str  # a name in solver.arc.expected.RULES; UNKNOWN for a task that could not be read
    supports: int  # how many; 0 for a task that could not be read
    learned: bool | None  # whether any copy has learned them, see LEARNED; None if the network never answered
    answers: tuple[Answer, ...]  # one a test output
    seconds: float | None  # of one worker, shared evenly among the tasks that a job stacked; None if it was never run

    @property
    def share(self) -> float:
        """The share of outputs hit by either attempt: what the task adds to Kaggle's score."""
        return float(np.mean([bool(answer.hit) for answer in self.answers]))

    @property
    def first(self) -> float:
        """The share of outputs hit by attempt 1."""
        return float(np.mean([answer.hit == 1 for answer in self.answers]))

    @property
    def covered(self) -> float:
        """The share of outputs that are among the candidates."""
        return float(np.mean([answer.covered for answer in self.answers]))

    @property
    def solved(self) -> bool:
        """Every output is hit."""
        return all(answer.hit for answer in self.answers)

    @property
    def status(self) -> str:
        """hit (every output), else fallback (an output without candidates), else near (an output that is hit
        or a near miss), else missed. Where the truth is not known: fallback or answered."""
        if self.answers[0].hit is None:
            return "fallback" if any(answer.fallback for answer in self.answers) else "answered"
        if self.solved:
            return "hit"
        if any(answer.fallback for answer in self.answers):
            return "fallback"
        return "near" if any(answer.hit or answer.near for answer in self.answers) else "missed"


def results(run: Run) -> list[TaskResult]:
    """Every task of a run in file order, those without a known truth too."""
    seconds, tasks, found = _seconds(run), run.tasks, []
    for task_id, pairs in run.attempts.items():
        task, known = tasks.get(task_id), run.truth(task_id)
        truth: Sequence[Grid | None] = [None] * len(pairs) if known is None else known
        # A task that could not be read may have fewer readable tests than outputs; the rest are misses.
        answers = [_judge(pair, run.pool(task_id, i), truth[i]) for i, pair in enumerate(pairs)]
        answers += [Answer(0, False, False, True)] * (len(truth) - len(pairs))
        found.append(
            TaskResult(
                id=task_id,
                canvas=own_canvas(run.log.get(task_id, ())),
                size_rule=size_rule(task) if task else UNKNOWN,
                supports=len(task.support) if task else 0,
                learned=_learned(run.log.get(task_id, ())),
                answers=tuple(answers),
                seconds=seconds.get(task_id),
            )
        )
    return found


def job_counts(run: Run) -> Counter[_Job]:
    """How many log rows each job has; a job is known by its start of the run, its worker and its times."""
    return Counter(_job(row) for rows in run.log.values() for row in rows)


def _job(row: LogRow) -> _Job:
    return row.get("start", 0), row.get("worker"), row.get("started"), row.get("ended")


def _seconds(run: Run) -> dict[str, float]:
    """Seconds of one worker that each task took, over all its copies."""
    stacked, seconds = job_counts(run), dict[str, float]()
    for task_id, rows in run.log.items():
        for row in rows:
            if row.get("ended") is not None and row.get("started") is not None:
                spent = (row["ended"] - row["started"]) / stacked[_job(row)]
                seconds[task_id] = seconds.get(task_id, 0.0) + spent
    return seconds


def _learned(rows: Sequence[LogRow]) -> bool | None:
    good = [row for row in rows if "error" not in row]
    return any(row.get("settled") or row.get("loss", LEARNED) < LEARNED for row in good) if good else None


def _judge(pair: tuple[Grid, Grid], pool: Pool | None, truth: Grid | None) -> Answer:
    if truth is None:
        return Answer(None, False, False, pool is None)
    hit = next((i for i, grid in enumerate(pair, 1) if np.array_equal(grid, truth)), 0)
    covered = pool is not None and pool.get(truth) is not None
    submitted = [grid for grid in pair if pool is not None and pool.get(grid) is not None]
    close = any(grid.shape == truth.shape and np.mean(grid != truth) <= NEAR for grid in submitted)
    return Answer(hit, covered, not hit and (covered or close), pool is None)
