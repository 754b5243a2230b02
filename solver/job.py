"""One job, start to end: adapt a stack of tasks, predict their views, and say what happened to each task."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from solver.adapt import Slot, adapt
from solver.model import Network, unstack
from solver.predict import predict, trace
from solver.presets import SolveConfig
from solver.schedule import Job
from solver.seeds import stable_seed
from solver.tasks import Task
from voting import Pool


@dataclass
class Outcome:
    """What one task's copy gave: `row` for the log (`adapt_seconds` is its share of the stack's), and a pool per
    test input, None if it failed."""

    task_id: str
    row: dict
    pools: list[Pool] | None


def run_job(
    network: Network,
    tasks: list[Task],
    job: Job,
    config: SolveConfig,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> list[Outcome]:
    """Outcomes of the tasks of a job, in order. An error costs only the task it belongs to: a stack that fails
    is halved, down to single tasks, and what still fails is reported in its row."""
    begun = time.monotonic()
    try:
        return _attempt(network, tasks, job, config, seed=seed, device=device, dtype=dtype)
    except Exception as error:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if len(tasks) == 1:
            text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            return [Outcome(tasks[0].id, {"task": tasks[0].id, "copy": job.copy, "error": text}, None)]
    left = None if job.seconds is None else max(1.0, job.seconds - (time.monotonic() - begun)) / 2
    half = len(tasks) // 2
    outcomes = []
    for part in (tasks[:half], tasks[half:]):
        smaller = replace(job, task_ids=tuple(t.id for t in part), seconds=left)
        outcomes += run_job(network, part, smaller, config, seed=seed, device=device, dtype=dtype)
    return outcomes


def _attempt(
    network: Network, tasks: list[Task], job: Job, config: SolveConfig, *, seed: int, device, dtype
) -> list[Outcome]:
    begun = time.monotonic()
    slots = [Slot(t.support, stable_seed(seed, t.id, job.copy, "adapt")) for t in tasks]
    share = None if job.seconds is None else job.seconds * config.adapt_share
    adapted = adapt(network, slots, job.size, config.adapt, device=device, dtype=dtype, seconds=share)
    deadline = None if job.seconds is None else begun + job.seconds
    outcomes = []
    for slot, task in enumerate(tasks):
        started = time.monotonic()
        single = unstack(adapted.network, slot)
        pools, traces = [], []
        for index in range(len(task.test_inputs)):
            own = stable_seed(seed, task.id, job.copy, "views", index)
            pools.append(
                predict(
                    single, task, index, job.size, config.predict,
                    seed=own, device=device, dtype=dtype, deadline=deadline,
                )
            )
            traces.append(trace(single, task, index, job.size, device=device, dtype=dtype))
        row = {
            "task": task.id,
            "copy": job.copy,
            "canvas": job.size,
            "steps": adapted.steps[slot],
            "loss": round(adapted.loss[slot], 5),
            "settled": adapted.settled[slot],
            "adapt_seconds": round(adapted.seconds / len(tasks), 3),
            "predict_seconds": round(time.monotonic() - started, 3),
            "views": [pool.total_views for pool in pools],
            "trace": traces,
        }
        outcomes.append(Outcome(task.id, row, pools))
    return outcomes
