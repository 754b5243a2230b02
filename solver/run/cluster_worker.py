"""What runs inside a worker of a Dask cluster: it says what it is, takes weights and tasks once, and does jobs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from typing import Any

import torch
from distributed import get_worker

from solver import __version__
from solver.arc.tasks import Task
from solver.device import compute_dtype, device_name, pick_device
from solver.model import Network
from solver.run.job import run_job, warm_up
from solver.run.process import WorkerSettings, prepared
from solver.run.schedule import Job


@dataclass(frozen=True)
class About:
    """With what a process computes, and on what."""

    tinyarc: str  # version
    torch: str  # version, without the kind of build
    python: str  # version, such as 3.12
    kind: str  # cpu or cuda
    device: str  # by name
    dtype: str  # of the activations
    pid: int  # on its machine


def about(device: str) -> About:
    """This process, with the device that it would work on."""
    where = pick_device(device)
    return About(
        tinyarc=__version__,
        torch=torch.__version__.partition("+")[0],
        python=".".join(platform.python_version_tuple()[:2]),
        kind=where.type,
        device=device_name(where),
        dtype=str(compute_dtype(where)).removeprefix("torch."),
        pid=os.getpid(),
    )


@dataclass(frozen=True)
class Payload:
    """What a worker is sent once for a run."""

    run: str  # a key that no other run has
    networks: dict[str, Network]  # as `solver.run.process.loaded` gives them
    settings: WorkerSettings  # but for `threads`, which the Dask worker knows
    tasks: dict[str, Task]  # all of the run, by id


_loaded: dict[str, Payload] = {}
"""By run."""


def load(payload: Payload) -> About:
    """Makes ready for the jobs of a run."""
    settings = replace(payload.settings, threads=get_worker().state.nthreads)
    _loaded[payload.run] = replace(payload, settings=settings)
    where = prepared(settings)
    if settings.runner is run_job:
        warm_up(payload.networks[""], settings.config, device=where["device"], dtype=where["dtype"])
    return about(settings.device)


def announced() -> dict[str, float]:
    """What a job takes of what this worker announces (`dask worker --resources GPU=1`): its GPU, else its CPU, so that
    jobs of two commands wait for each other; nothing if it announces neither."""
    has = get_worker().state.total_resources
    return next(({name: 1.0} for name in ("GPU", "CPU") if has.get(name, 0) >= 1), {})


def work(run: str, job: Job) -> Any:
    """What the runner gives for a job of a run that this worker is ready for."""
    payload = _loaded[run]
    settings, network = payload.settings, payload.networks[job.weights]
    # Some switches are those of a thread, and Dask has several: so with every job.
    by_name = prepared(settings)
    return settings.runner(network, [payload.tasks[i] for i in job.task_ids], job, settings.config, **by_name)


def forget(run: str) -> None:
    """The run is over."""
    _loaded.pop(run, None)
