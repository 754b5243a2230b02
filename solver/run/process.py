"""A worker process on this machine and the pipe to it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import torch

from solver.device import compute_dtype, prepare
from solver.presets import SolveConfig
from solver.run.job import Outcome, run_job
from solver.weights import checkpoint

READY = "ready"


class Kept(list):
    """Outcomes that a worker has from before, reported without having been asked."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs to know, once. `threads` are CPU threads of the process; `runner` does a job, as
    `solver.run.job.run_job` does."""

    config: SolveConfig
    seed: int
    device: str
    threads: int
    runner: Callable[..., list[Outcome]] = run_job


class LocalProcess:
    """A process that answers READY once its weights are loaded, and then each (tasks, job) with outcomes."""

    def __init__(self, settings: WorkerSettings) -> None:
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
            self.process.join(5)  # one that hangs in a driver may not even die of that
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
