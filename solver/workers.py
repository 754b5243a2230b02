"""One process per device (or CPU core), each doing one job at a time. A process that dies costs its job only:
the job is tried once more, by a fresh process, one task at a time, before it is given up."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

import torch

from solver import checkpoint
from solver.device import compute_dtype, prepare
from solver.job import Outcome, run_job
from solver.presets import SolveConfig
from solver.schedule import Job, Queue
from solver.tasks import Task


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
    def __init__(self, number: int, settings: WorkerSettings) -> None:
        self.number, self.job = number, None
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _serve(pipe: Connection, settings: WorkerSettings) -> None:
    device = torch.device(settings.device)
    prepare(device, settings.threads)
    network = checkpoint.load(settings.config.weights, settings.seed)
    dtype = compute_dtype(device)
    while True:
        try:
            tasks, job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        outcomes = settings.runner(
            network, tasks, job, settings.config, seed=settings.seed, device=device, dtype=dtype
        )
        pipe.send(outcomes)


class Workers:
    """`devices` names one device per worker. A context manager: leaving it ends the processes."""

    TRIES = 2

    def __init__(
        self, config: SolveConfig, *, seed: int, devices: list[str], threads: int, runner=run_job
    ) -> None:
        self.settings = [WorkerSettings(config, seed, device, threads, runner) for device in devices]
        self.workers = [_Worker(n, settings) for n, settings in enumerate(self.settings)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers:
            worker.stop()

    def run(self, queue: Queue, tasks: dict[str, Task]) -> Iterator[tuple[int, Job, list[Outcome], float, float]]:
        """Works the queue off; yields worker, job, outcomes, and when it started and ended (budget seconds)."""
        idle = list(self.workers)
        started: dict[int, float] = {}
        while True:
            for worker in list(idle):
                given = queue.next(worker.number)
                if given is None:
                    break
                job, seconds = given
                worker.job = replace(job, seconds=seconds)
                started[worker.number] = queue.budget.elapsed()
                idle.remove(worker)
                try:
                    worker.pipe.send(([tasks[i] for i in job.task_ids], worker.job))
                except OSError:
                    pass  # it died while idle: the wait below sees the closed pipe
            busy = [worker for worker in self.workers if worker.job is not None]
            if not busy:
                return
            ready = wait([worker.pipe for worker in busy])
            for worker in [worker for worker in busy if worker.pipe in ready]:
                job, worker.job = worker.job, None
                queue.done(worker.number)
                now = queue.budget.elapsed()
                try:
                    outcomes = worker.pipe.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    outcomes = self._bury(worker, job, queue)
                    idle.append(self.workers[worker.number])
                if outcomes:
                    yield worker.number, job, outcomes, started[worker.number], now

    def _bury(self, worker: _Worker, job: Job, queue: Queue) -> list[Outcome]:
        """Replaces a dead worker; puts its tasks back one by one, or gives them up."""
        worker.stop()
        code = worker.process.exitcode
        self.workers[worker.number] = _Worker(worker.number, self.settings[worker.number])
        if job.tries + 1 < self.TRIES:
            for task_id in job.task_ids:
                queue.put_back(replace(job, task_ids=(task_id,), seconds=None, tries=job.tries + 1))
            return []
        text = f"the worker process died (exit code {code}), {job.tries + 1} times"
        return [Outcome(i, {"task": i, "copy": job.copy, "error": text}, None) for i in job.task_ids]
