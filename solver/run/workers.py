"""Workers, one per device or CPU core, here or on other machines, each doing one job at a time.

A worker that dies, or that is silent long after its job should have ended, costs its job only: the job is tried
once more, one task at a time, by a fresh process, before it is given up. A device on which no process gets started
is left out, and whoever has not answered when the budget is over is stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from solver.arc.tasks import Task
from solver.run.job import Outcome, failure
from solver.run.process import READY, Kept
from solver.run.schedule import Job, Schedule


class WorkerProcess(Protocol):
    """The process behind a worker. `pipe` says READY, takes (tasks, job) and gives outcomes; it closes when the
    process is gone."""

    pipe: Connection

    def stop(self, patience: float = 0.0) -> int | None:
        """Ends the process; its exit code, None if unknown."""


@dataclass
class _Worker:
    """A device, and the process that works on it: `start` gives one, anew when one dies. `ready` once its weights are
    loaded; `job` while it works on one; `deaths` of processes that never got ready."""

    number: int
    start: Callable[[], WorkerProcess]
    deaths: int = 0
    ready: bool = False
    job: Job | None = None
    started: float = 0.0

    def __post_init__(self) -> None:
        self.process = self.start()


@dataclass(frozen=True)
class Report:
    """What came back: the `worker`, its `job` (None for what it had kept from before), an outcome per task, and when
    it `started` and `ended` (seconds of the budget)."""

    worker: int
    job: Job | None
    outcomes: list[Outcome]
    started: float
    ended: float


class Workers:
    """`starters`: for each worker, what starts a process for it. A context manager: leaving it ends the processes."""

    TRIES = 2
    """Processes that may die of a task before it is given up, and of a device before it is."""

    KILLED = 8
    """Processes that may be killed from outside (for lack of memory, say) while they start, before a device is given
    up."""

    GRACE = 60.0
    """A job of s seconds counts as hung after 2 s + GRACE seconds."""

    def __init__(self, starters: list[Callable[[], WorkerProcess]]) -> None:
        self.workers = {number: _Worker(number, start) for number, start in enumerate(starters)}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers.values():
            worker.process.stop()

    def run(self, schedule: Schedule, tasks: dict[str, Task]) -> Iterator[Report]:
        """Works a schedule off. What the caller learns from a report may change what the schedule gives next.

        RuntimeError if on no device a process can be started.
        """
        while True:
            self._hand_out(schedule, tasks)
            busy = [w for w in self.workers.values() if w.job is not None]
            starting = [w for w in self.workers.values() if not w.ready] if schedule.open() else []
            if not busy and not starting:
                return
            heard = wait([w.process.pipe for w in busy + starting], timeout=self._patience(busy, schedule))
            if not heard and schedule.budget.patience() == 0:
                yield from self._give_up(busy, schedule)
                return
            for worker in [w for w in busy if not heard and self._overdue(w, schedule) == 0]:
                job, outcomes = worker.job, self._replace(worker, schedule, "did not end in time")
                schedule.idle(worker.number)
                if outcomes:
                    yield Report(worker.number, job, outcomes, worker.started, schedule.budget.elapsed())
            for worker in [w for w in busy + starting if w.process.pipe in heard]:
                job, outcomes = worker.job, []
                try:
                    message = worker.process.pipe.recv()
                except (EOFError, OSError):
                    outcomes = self._replace(worker, schedule)
                else:
                    if isinstance(message, Kept):
                        yield Report(worker.number, None, message, 0.0, 0.0)
                        continue
                    if message == READY:
                        worker.ready = True
                        continue
                    worker.job, outcomes = None, message
                schedule.idle(worker.number)
                if outcomes:
                    yield Report(worker.number, job, outcomes, worker.started, schedule.budget.elapsed())

    def _overdue(self, worker: _Worker, schedule: Schedule) -> float | None:
        """Seconds until a busy worker counts as hung; None if its job may take as long as it likes."""
        if worker.job.seconds is None:
            return None
        return max(0.0, worker.started + 2 * worker.job.seconds + self.GRACE - schedule.budget.elapsed())

    def _patience(self, busy: list[_Worker], schedule: Schedule) -> float | None:
        """Seconds to wait for a message until something must be done without one."""
        waits = [schedule.budget.patience(), *(self._overdue(worker, schedule) for worker in busy)]
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def _hand_out(self, schedule: Schedule, tasks: dict[str, Task]) -> None:
        for worker in self.workers.values():
            if not worker.ready or worker.job is not None or (job := schedule.next(worker.number)) is None:
                continue
            worker.job, worker.started = job, schedule.budget.elapsed()
            with contextlib.suppress(OSError):  # if it died while idle, its closed pipe will say so
                worker.process.pipe.send(([tasks[i] for i in job.task_ids], job))

    def _replace(self, worker: _Worker, schedule: Schedule, what: str = "died") -> list[Outcome]:
        """Replaces a process that is dead or to be ended; puts its tasks back one by one, or gives them up."""
        code, job = worker.process.stop(patience=1.0), worker.job
        deaths = 0 if worker.ready else worker.deaths + 1
        del self.workers[worker.number]
        if deaths < (self.KILLED if code is not None and code < 0 else self.TRIES):
            with contextlib.suppress(OSError):  # no memory for a process, say: the device is left out
                self.workers[worker.number] = _Worker(worker.number, worker.start, deaths)
        if not self.workers:
            raise RuntimeError(f"no worker process can be started (exit code {code})")
        schedule.shrink(len(self.workers))
        if job is None:
            return []
        if job.tries + 1 < self.TRIES:
            for task_id in job.task_ids:
                schedule.put_back(replace(job, task_ids=(task_id,), seconds=None, tries=job.tries + 1))
            return []
        text = f"the worker process {what} (exit code {code}), {job.tries + 1} times"
        return [failure(task_id, job.copy, text) for task_id in job.task_ids]

    def _give_up(self, busy: list[_Worker], schedule: Schedule) -> Iterator[Report]:
        """The budget is over: whoever is still busy is stopped."""
        for worker in busy:
            worker.process.stop()
            del self.workers[worker.number]
            outcomes = [failure(i, worker.job.copy, "no answer by the end of the budget") for i in worker.job.task_ids]
            yield Report(worker.number, worker.job, outcomes, worker.started, schedule.budget.elapsed())
