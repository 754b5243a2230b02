"""What runs next, and for how long: a budget on a clock, and a queue of jobs that shares it out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


class Budget:
    """`seconds` from now on `clock` (seconds, monotonic); None is no limit."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.begun = clock()

    def elapsed(self) -> float:
        return self.clock() - self.begun

    def left(self) -> float:
        """Seconds left, never negative; infinite without a limit."""
        return float("inf") if self.seconds is None else max(0.0, self.seconds - self.elapsed())


@dataclass(frozen=True)
class Job:
    """Tasks of one canvas `size`, adapted as one stack. `seconds` is filled in when the job is handed out;
    `tries` counts the workers that died of it."""

    task_ids: tuple[str, ...]
    size: int
    copy: int = 0
    seconds: float | None = None
    tries: int = 0

    @property
    def weight(self) -> float:
        """How much of the budget it deserves: a task on twice the cells gets 1.4 times the seconds."""
        return self.size * len(self.task_ids)


@dataclass
class Queue:
    """Jobs of one round in order, small canvases first, and the seconds each may take.

    Time is shared by weight over the jobs not yet handed out and the `workers`; what a job leaves unused
    goes to those after it. `margin` seconds are kept back for writing the answers.
    """

    jobs: list[Job]
    budget: Budget
    workers: int
    margin: float = 2.0
    running: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = sorted(self.jobs, key=lambda job: job.size)

    def worthwhile(self) -> bool:
        """Whether there is a job and time to begin it."""
        return bool(self.jobs) and self.budget.left() > self.margin

    def patience(self) -> float | None:
        """Seconds to wait for workers at most: to the end of the budget and 0.5% of it, at least 5 s, beyond."""
        if self.budget.seconds is None:
            return None
        return max(0.0, self.budget.seconds + max(5.0, 0.005 * self.budget.seconds) - self.budget.elapsed())

    def next(self, worker: int) -> tuple[Job, float | None] | None:
        """The next job for `worker` and the seconds it has; None when there is nothing left to do or no time.

        Without a limit the seconds are None."""
        if not self.worthwhile():
            return None
        left = self.budget.left() - self.margin
        job = self.jobs.pop(0)
        if self.budget.seconds is None:
            return job, None
        now = self.budget.elapsed()
        busy = sum(max(0.0, end - now) for other, end in self.running.items() if other != worker)
        free = max(0.0, left * self.workers - busy)
        weight = job.weight + sum(other.weight for other in self.jobs)
        seconds = min(left, free * job.weight / weight)
        self.running[worker] = now + seconds
        return job, seconds

    def done(self, worker: int) -> None:
        """`worker` is idle again."""
        self.running.pop(worker, None)

    def put_back(self, job: Job) -> None:
        """A job whose worker died goes to the front."""
        self.jobs.insert(0, job)
