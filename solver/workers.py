"""One process per device (or CPU core), each doing one job at a time.

A process that dies costs its job only: the job is tried once more, one task at a time, by a fresh process,
before it is given up. A device on which no process gets started is left out, and whoever has not answered when
the budget is over is stopped.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

import torch

from solver import checkpoint
from solver.device import compute_dtype, prepare
from solver.job import Outcome, failure, run_job
from solver.presets import SolveConfig
from solver.schedule import Job, Queue
from solver.tasks import Task

READY = "ready"


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know, once. `threads` are CPU threads of the process; `runner` does a job, as
    `solver.job.run_job` does."""

    config: SolveConfig
    seed: int
    device: str
    threads: int
    runner: Callable[..., list[Outcome]] = run_job


class _Worker:
    """A process and the pipe to it. `ready` once its weights are loaded; `job` while it works on one."""

    def __init__(self, number: int, settings: WorkerSettings, deaths: int = 0) -> None:
        self.number, self.settings, self.deaths = number, settings, deaths
        self.ready, self.job, self.started = False, None, 0.0
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self, patience: float = 0.0) -> int | None:
        """Ends the process, after `patience` seconds if it does not end by itself; its exit code."""
        self.pipe.close()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


def _serve(pipe: Connection, settings: WorkerSettings) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    device = torch.device(settings.device)
    prepare(device, settings.threads)
    network = checkpoint.load(settings.config.weights, settings.seed, loops=settings.config.loops)
    dtype = compute_dtype(device)
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        pipe.send(READY)
        while True:
            tasks, job = pipe.recv()
            outcomes = settings.runner(
                network, tasks, job, settings.config, seed=settings.seed, device=device, dtype=dtype
            )
            pipe.send(outcomes)


def _die_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


class Workers:
    """`devices` names one device per worker. A context manager: leaving it ends the processes."""

    TRIES = 2
    """Processes that may die of a task before it is given up, and of a device before it is."""

    def __init__(
        self, config: SolveConfig, *, seed: int, devices: list[str], threads: int, runner=run_job
    ) -> None:
        settings = [WorkerSettings(config, seed, device, threads, runner) for device in devices]
        self.workers = {n: _Worker(n, own) for n, own in enumerate(settings)}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers.values():
            worker.stop()

    def run(self, queue: Queue, tasks: dict[str, Task]) -> Iterator[tuple[int, Job, list[Outcome], float, float]]:
        """Works the queue off; yields worker, job, outcomes, and when it started and ended (budget seconds).

        RuntimeError if on no device a process can be started.
        """
        while True:
            self._hand_out(queue, tasks)
            busy = [w for w in self.workers.values() if w.job is not None]
            starting = [w for w in self.workers.values() if not w.ready] if queue.worthwhile() else []
            if not busy and not starting:
                return
            heard = wait([w.pipe for w in busy + starting], timeout=queue.patience())
            if not heard:
                yield from self._give_up(busy, queue)
                return
            for worker in [w for w in busy + starting if w.pipe in heard]:
                job, outcomes = worker.job, []
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    outcomes = self._bury(worker, queue)
                else:
                    worker.ready, worker.job = True, None
                    outcomes = [] if message == READY else message
                queue.done(worker.number)
                if outcomes:
                    yield worker.number, job, outcomes, worker.started, queue.budget.elapsed()

    def _hand_out(self, queue: Queue, tasks: dict[str, Task]) -> None:
        for worker in self.workers.values():
            if not worker.ready or worker.job is not None or (given := queue.next(worker.number)) is None:
                continue
            job, seconds = given
            worker.job, worker.started = replace(job, seconds=seconds), queue.budget.elapsed()
            with contextlib.suppress(OSError):  # if it died while idle, its closed pipe will say so
                worker.pipe.send(([tasks[i] for i in job.task_ids], worker.job))

    def _bury(self, worker: _Worker, queue: Queue) -> list[Outcome]:
        """Replaces a dead worker; puts its tasks back one by one, or gives them up."""
        code, job = worker.stop(patience=1.0), worker.job
        deaths = 0 if worker.ready else worker.deaths + 1
        del self.workers[worker.number]
        if deaths < self.TRIES:
            self.workers[worker.number] = _Worker(worker.number, worker.settings, deaths)
        elif not self.workers:
            raise RuntimeError(f"no worker process can be started on {worker.settings.device} (exit code {code})")
        if job is None:
            return []
        if job.tries + 1 < self.TRIES:
            for task_id in reversed(job.task_ids):
                queue.put_back(replace(job, task_ids=(task_id,), seconds=None, tries=job.tries + 1))
            return []
        text = f"the worker process died (exit code {code}), {job.tries + 1} times"
        return [failure(task_id, job.copy, text) for task_id in job.task_ids]

    def _give_up(self, busy: list[_Worker], queue: Queue) -> Iterator[tuple]:
        """The budget is over: whoever is still busy is stopped."""
        for worker in busy:
            worker.stop()
            del self.workers[worker.number]
            outcomes = [failure(i, worker.job.copy, "no answer by the end of the budget") for i in worker.job.task_ids]
            yield worker.number, worker.job, outcomes, worker.started, queue.budget.elapsed()
