"""Workers, one per device or CPU core, here or on other machines, each doing one job at a time.

A worker that dies, or that is silent long after its job should have ended, costs its job only: the job is tried
once more, one task at a time, by a fresh process, before it is given up. A device on which no process gets started
is left out, and whoever has not answered when the budget is over is stopped.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing.connection
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from solver.run.job import Outcome, failure
from solver.run.process import READY, Ending, WorkerProcess
from solver.run.schedule import Job, Schedule

Starter = Callable[[], WorkerProcess]
"""Starts a process on the device that it stands for, as often as it is called. OSError if that cannot be."""

Wait = Callable[[list[Any], "float | None"], Iterable[Any]]
"""Which of these channels have become ready: as soon as one is, or none after so many seconds (None: however long)."""


class Arrivals(Protocol):
    """Devices that turn up while a run is going on."""

    channel: Any
    """Becomes ready when one has."""

    def receive(self) -> list[Starter]:
        """Those that have turned up since it was asked last."""


@dataclass
class _Worker:
    """A device, and the process that works on it."""

    number: int
    start: Starter
    deaths: int = 0  # of processes before this one that never got ready
    ready: bool = False  # its weights are loaded
    job: Job | None = None  # that it works on
    began: float = 0.0  # the job, in seconds of the budget

    def __post_init__(self) -> None:
        self.process = self.start()


@dataclass(frozen=True)
class Report:
    """What came back of a job."""

    worker: int  # its number
    job: Job
    outcomes: list[Outcome]  # one for each task of the job
    started: float  # seconds of the budget
    ended: float  # the same


class Workers:
    """All workers of a run, on the devices of `starters` and of `arrivals`. A context manager: leaving it ends the
    processes. `wait` goes with the channels of their processes."""

    TRIES = 2
    """Processes that may die of a task before it is given up, and of a device before it is."""

    KILLED = 8
    """Processes that may be killed from outside (for lack of memory, say) while they start, before a device is given
    up."""

    GRACE = 60.0
    """A job of s seconds counts as hung after 2 s + GRACE seconds."""

    def __init__(
        self,
        starters: Iterable[Starter],
        *,
        arrivals: Arrivals | None = None,
        wait: Wait = multiprocessing.connection.wait,
    ) -> None:
        self.arrivals, self.wait = arrivals, wait
        self.numbers = itertools.count()
        self.workers = {worker.number: worker for worker in map(self._new, starters)}
        # By (task, copy): error and traceback of a first try.
        self.troubles: dict[tuple[str, int], tuple[str, str]] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.process.stop()

    def run(self, schedule: Schedule, tasks: Mapping[str, Any]) -> Iterator[Report]:
        """Works a schedule off; `tasks` by id. What the caller learns from a report may change what the schedule gives
        next. RuntimeError if on no device a process can be started."""
        while True:
            self._hand_out(schedule, tasks)
            busy = [w for w in self.workers.values() if w.job is not None]
            starting = [w for w in self.workers.values() if not w.ready] if schedule.open() else []
            if not busy and not starting:
                return
            idle = [w for w in self.workers.values() if w.ready and w.job is None]
            listening = {worker.process.channel: worker for worker in busy + starting + idle}
            channels = [*listening, *([self.arrivals.channel] if self.arrivals else [])]
            heard = list(self.wait(channels, self._patience(busy, schedule)))
            if not heard and schedule.budget.patience() == 0:
                yield from self._give_up(busy, schedule)
                return
            for worker in [w for w in busy if not heard and self._overdue(w, schedule) == 0]:
                yield from self._replace(worker, schedule, "did not end in time")
            for channel in heard:
                if channel in listening:
                    yield from self._hear(listening[channel], schedule)
                elif self.arrivals:
                    self._welcome(self.arrivals.receive(), schedule)

    def _new(self, start: Starter) -> _Worker:
        return _Worker(next(self.numbers), start)

    def _welcome(self, starters: list[Starter], schedule: Schedule) -> None:
        """Further devices, from now on."""
        for start in starters:
            with contextlib.suppress(OSError):  # gone again
                worker = self._new(start)
                self.workers[worker.number] = worker
        schedule.resize(len(self.workers))

    def _hear(self, worker: _Worker, schedule: Schedule) -> Iterator[Report]:
        try:
            message = worker.process.receive()
        except (EOFError, OSError):
            yield from self._replace(worker, schedule, "died")
            return
        if message == READY:
            worker.ready = True
        else:
            yield from self._end_job(worker, message, schedule)

    def _end_job(self, worker: _Worker, outcomes: list[Outcome], schedule: Schedule) -> Iterator[Report]:
        job, worker.job = worker.job, None
        schedule.idle(worker.number)
        if job is None or not outcomes:
            return
        for outcome in outcomes:
            if (trouble := self.troubles.pop((outcome.task_id, job.copy), None)) is not None:
                outcome.row.setdefault("earlier_error", trouble[0])
                outcome.row.setdefault("traceback", trouble[1])
        yield Report(worker.number, job, outcomes, worker.began, schedule.budget.elapsed())

    def _overdue(self, worker: _Worker, schedule: Schedule) -> float | None:
        """Seconds until a busy worker counts as hung; None if its job may take as long as it likes."""
        if worker.job is None or worker.job.seconds is None:
            return None
        return max(0.0, worker.began + 2 * worker.job.seconds + self.GRACE - schedule.budget.elapsed())

    def _patience(self, busy: list[_Worker], schedule: Schedule) -> float | None:
        """Seconds to wait for a message until something must be done without one."""
        waits = [schedule.budget.patience(), *(self._overdue(worker, schedule) for worker in busy)]
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def _hand_out(self, schedule: Schedule, tasks: Mapping[str, Any]) -> None:
        for worker in self.workers.values():
            if not worker.ready or worker.job is not None or (job := schedule.next(worker.number)) is None:
                continue
            worker.job, worker.began = job, schedule.budget.elapsed()
            with contextlib.suppress(OSError):  # if it has died by now, its closed channel will say so
                worker.process.send([tasks[i] for i in job.task_ids], job)

    def _replace(self, worker: _Worker, schedule: Schedule, what: str) -> Iterator[Report]:
        """Replaces a process that is dead or to be ended; puts its tasks back one by one, or gives them up."""
        ending = worker.process.stop(patience=1.0)
        deaths = 0 if worker.ready else worker.deaths + 1
        del self.workers[worker.number]
        if deaths < (self.KILLED if ending.killed else self.TRIES):
            with contextlib.suppress(OSError):  # no memory for a process, say: the device is left out
                self.workers[worker.number] = _Worker(worker.number, worker.start, deaths)
        if not self.workers:
            died = RuntimeError(ending.traceback) if ending.traceback else None
            raise RuntimeError(f"no worker process can be started ({ending.text})") from died
        schedule.resize(len(self.workers))
        yield from self._end_job(worker, self._tried(worker.job, schedule, what, ending), schedule)

    def _tried(self, job: Job | None, schedule: Schedule, what: str, ending: Ending) -> list[Outcome]:
        """The job of a process that ended is put back, its tasks one by one; if that was its last try, the outcomes."""
        if job is None:
            return []
        text, trace = f"the worker process {what} ({ending.text})", ending.traceback or ""
        if job.tries + 1 < self.TRIES:
            for task_id in job.task_ids:
                self.troubles[task_id, job.copy] = text, trace
                schedule.put_back(replace(job, task_ids=(task_id,), seconds=None, tries=job.tries + 1))
            return []
        return [failure(task_id, job.copy, f"{text}, {job.tries + 1} times", trace) for task_id in job.task_ids]

    def _give_up(self, busy: list[_Worker], schedule: Schedule) -> Iterator[Report]:
        """The budget is over: whoever is still busy is stopped."""
        for worker in busy:
            assert worker.job is not None
            worker.process.stop()
            del self.workers[worker.number]
            text = "no answer by the end of the budget"
            outcomes = [failure(task_id, worker.job.copy, text) for task_id in worker.job.task_ids]
            yield Report(worker.number, worker.job, outcomes, worker.began, schedule.budget.elapsed())
