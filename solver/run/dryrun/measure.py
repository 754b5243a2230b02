"""Speeds of this machine: a few steps and views on every canvas size, by as many workers at once, set up as those of
a run are. Two workers on two cores slow each other, so one alone would be measured too fast."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

from solver.arc.tasks import Task
from solver.learn.adapt import Adapted, adapt, look_every
from solver.learn.batches import Slot
from solver.learn.predict import chunk_views, predict, trace
from solver.model import Network, unstack
from solver.presets import SolveConfig
from solver.run.dryrun.costs import Cost, scoring
from solver.run.dryrun.work import Machine
from solver.run.process import READY, LocalProcess, WorkerSettings
from solver.run.schedule import Job

SECONDS = 1.0
"""For the steps on one canvas size, and as much for its views; large canvases take longer for two steps."""

SCORED = 8
"""Candidates whose scoring is timed."""


def measure(stacks: dict[tuple[str, int], list[Task]], settings: list[WorkerSettings]) -> Machine:
    """Measures with a worker for each of `settings` (their `runner` is replaced). `stacks`: the tasks of one, for all
    weights, as a log row calls them, and canvas sizes. The start-up is the mean of all, started at once. RuntimeError
    if a worker dies."""
    begun = time.monotonic()
    processes = [LocalProcess(replace(place, runner=_measure_size)) for place in settings]
    try:
        ready = []
        starting = {process.channel: process for process in processes}
        while starting:
            for channel in cast(list[Connection], wait(list(starting))):
                if _hear(starting[channel]) == READY:
                    ready.append(time.monotonic() - begun)
                    del starting[channel]
        costs = {}
        for (weights, size), tasks in sorted(stacks.items()):
            for process in processes:
                process.send(tasks, Job(tuple(task.id for task in tasks), size, seconds=SECONDS, weights=weights))
            costs[weights, size] = mean([_hear(process) for process in processes])
    finally:
        for process in processes:
            process.stop()
    return Machine(costs, statistics.mean(ready), {})


def mean(costs: list[Cost]) -> Cost:
    return Cost(**{name: statistics.mean(getattr(cost, name) for cost in costs) for name in vars(costs[0])})


def _hear(process: LocalProcess) -> Any:
    try:
        return process.receive()
    except (EOFError, OSError):
        raise RuntimeError("a worker process died while it was measured") from None


def _measure_size(
    network: Network,
    tasks: list[Task],
    job: Job,
    config: SolveConfig,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Cost:
    """In place of `solver.run.job.run_job`: the costs on canvases of the job's size, its tasks being one stack."""
    assert job.seconds is not None
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    slots = [Slot(task.support, seed + index) for index, task in enumerate(tasks)]
    setup, full, adapted = _steps(network, slots, job, config, where)
    step = 0.0
    if len(slots) > 1:
        one = _steps(network, slots[:1], job, config, where)[1]
        step = max(0.0, one - (full - one) / (len(slots) - 1))
    single, task = unstack(adapted.network, 0), tasks[0]
    views = chunk_views(config.predict.chunk, job.size)

    def look(views: int) -> float:
        begun = time.monotonic()
        predict(single, task, 0, job.size, replace(config.predict, views=views, scored=1), seed=seed, **where)
        return time.monotonic() - begun

    look(views)
    views = max(views, min(config.predict.views, int(0.5 * job.seconds / look(views) * views)))
    run = scoring(task, job.size, config.predict, views, where["device"])
    run(1)
    begun = time.monotonic()
    run(SCORED).cpu()
    score = (time.monotonic() - begun) / SCORED / views
    begun = time.monotonic()
    trace(single, task, 0, job.size, **where)
    traced = time.monotonic() - begun
    seen = look(views) / views
    return Cost(
        copy=(full - step) / len(slots),
        view=max(0.0, seen - score),
        setup=setup,
        step=step,
        test=traced,
        score_view=score,
    )


def _steps(
    network: Network, slots: list[Slot], job: Job, config: SolveConfig, where: dict[str, Any]
) -> tuple[float, float, Adapted]:
    """Seconds before the first step and of a step, and the adapted stack. Two steps to warm up, then some more."""
    pauses, every = [], look_every(where["device"])
    for recipe, seconds in (
        (replace(config.adapt, steps=2 * every, patience=10**6), None),
        (replace(config.adapt, steps=16 * every, patience=10**6), job.seconds),
    ):
        stamps: list[float] = []

        def clock(stamps: list[float] = stamps) -> float:
            stamps.append(time.monotonic())
            return stamps[-1]

        adapted = adapt(network, slots, job.size, recipe, seconds=seconds, clock=clock, **where)
        looks = [(b - a) / every for a, b in itertools.pairwise(stamps)][:-1]  # the last is no step
        pauses += looks[1:]
    step = statistics.mean(pauses)
    return max(0.0, every * (looks[0] - step)), step, adapted
