"""One job, start to end: adapt a stack of tasks, predict their views, and say what happened to each task."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from solver.arc.tasks import Pair, Task
from solver.device import is_out_of_memory, lacking, release
from solver.learn.adapt import Adapted, adapt, leave_one_out
from solver.learn.batches import Slot
from solver.learn.canvas import task_canvas
from solver.learn.memory import gauge
from solver.learn.predict import predict, trace
from solver.learn.recipe import AdaptConfig
from solver.model import Network, unstack
from solver.presets import SolveConfig
from solver.run.log import LogRow
from solver.run.schedule import Job
from solver.seeds import stable_seed
from voting import Pool

T = TypeVar("T")

TRACEBACK = 8000
"""Characters of a traceback that are kept, the last ones."""


@dataclass
class Outcome:
    """What one task's copy gave: `row` for the log, and a pool per test input, None if it failed."""

    task_id: str
    row: LogRow
    pools: list[Pool] | None


def failure(task_id: str, copy: int, text: str, trace: str = "") -> Outcome:
    """The outcome of a task that gave no answer: one line saying why and, where there is more to say, a traceback or
    the last words of a process."""
    row: LogRow = {"task": task_id, "copy": copy, "error": " ".join(text.split())[:300]}
    if trace:
        row["traceback"] = trace[-TRACEBACK:]
    return Outcome(task_id, row, None)


def failed(task_id: str, copy: int, error: BaseException) -> Outcome:
    """The outcome of a task on which `error` was raised."""
    text = lacking(error) or f"{type(error).__name__}: {error}"
    return failure(task_id, copy, text, "".join(traceback.format_exception(error)))


def warm_up(network: Network, config: SolveConfig, *, device: torch.device, dtype: torch.dtype) -> None:
    """Fine-tunes a copy for a task of one colour and looks at its test, for nothing but the seconds: what a process
    does once, CUDA's context or numba's machine code, is done before the seconds of a job are counted and believed.
    What fails here fails in the first job too, whose row says what it was."""
    grid = np.zeros((2, 2), dtype=np.uint8)
    task = Task("warm-up", (Pair(grid, grid), Pair(grid, grid)), (grid,))
    size, short = task_canvas(task, network.config.canvas), replace(config.adapt, steps=2)
    look = replace(config.predict, views=1)
    with contextlib.suppress(Exception):  # a lack of memory or of an operation: a job knows how to go on, or to say it
        adapted = adapt(network, [Slot(task.support, 0)], size, short, device=device, dtype=dtype)
        predict(unstack(adapted.network, 0), task, 0, size, look, seed=0, device=device, dtype=dtype)


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
    """Outcomes of the tasks of a job, in order. A stack that will not fit the memory is divided before it is tried.
    A stack that was short of memory after all is halved, down to single tasks. Any other error costs only the task it
    belongs to: the tasks of the stack are done one by one, and the row of each that succeeds says what had happened.
    What fails alone is reported in its row."""
    config = config.at(job.zoom)
    begun = time.monotonic()
    end = None if job.seconds is None else begun + job.seconds
    slots = [_slots(task, job.copy, seed, config) for task in tasks]
    share = None if job.seconds is None else job.seconds * config.adapt_share
    recipe = config.adapt if job.seconds is None else replace(config.adapt, steps=config.budget_steps)
    parts = _fitting(network, tasks, [len(copies) for copies in slots], job.size, recipe, device, dtype)
    if len(parts) > 1:
        return _run_parts(network, parts, job, config, end, seed=seed, device=device, dtype=dtype)
    try:
        flat = [slot for copies in slots for slot in copies]
        with gauge(device).measure(network, job.size, recipe, dtype, len(flat)):
            adapted = adapt(network, flat, job.size, recipe, device=device, dtype=dtype, seconds=share)
    except Exception as error:  # a bug too: it costs the tasks it belongs to, whose rows say where it was
        problem = failed(tasks[0].id, job.copy, error)
        if len(tasks) == 1:
            return [problem]
        adapted, short = None, is_out_of_memory(error)
    if adapted is None:  # here, because until its handler is left the error keeps what the stack had allocated
        release(device)
        half = len(tasks) // 2
        parts = [tasks[:half], tasks[half:]] if short else [[task] for task in tasks]
        outcomes = _run_parts(network, parts, job, config, end, seed=seed, device=device, dtype=dtype)
        for outcome in outcomes if not short else ():
            outcome.row |= {"earlier_error": problem.row["error"]}
            outcome.row.setdefault("traceback", problem.row["traceback"])
        return outcomes
    outcomes, first = [], 0
    for index, (task, copies) in enumerate(zip(tasks, slots, strict=True)):
        now = time.monotonic()
        deadline = None if end is None else now + max(0.0, end - now) / (len(tasks) - index)
        which = range(first, first + len(copies))
        first += len(copies)
        try:
            outcomes.append(_answer(adapted, which, task, job, config, deadline, seed=seed, device=device, dtype=dtype))
        except Exception as error:  # as above; the other tasks of the stack have their copies already
            outcomes.append(failed(task.id, job.copy, error))
    return outcomes


def _slots(task: Task, copy: int, seed: int, config: SolveConfig) -> list[Slot]:
    drawn = stable_seed(seed, task.id, copy, "adapt")
    return leave_one_out(task.support, drawn) if config.leave_one_out else [Slot(task.support, drawn)]


def _fitting(
    network: Network,
    tasks: list[Task],
    copies: list[int],
    size: int,
    recipe: AdaptConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> list[list[Task]]:
    """The tasks in as few parts, of about equal numbers of copies, as the memory allows; a task stays whole."""
    if len(tasks) == 1:
        return [tasks]
    return parted(tasks, copies, gauge(device).fitting(network, size, recipe, dtype))


def parted(tasks: Sequence[T], copies: Sequence[int], most: int) -> list[list[T]]:
    """Tasks of so many `copies` each, in as few parts of about equal size as leave no part above `most` copies; a task
    stays whole."""
    most = -(-sum(copies) // -(-sum(copies) // most))
    parts: list[list[T]] = [[]]
    held = 0
    for task, count in zip(tasks, copies, strict=True):
        if parts[-1] and held + count > most:
            parts.append([])
            held = 0
        parts[-1].append(task)
        held += count
    return parts


def _run_parts(
    network: Network, parts: list[list[Task]], job: Job, config: SolveConfig, end: float | None, **rest: Any
) -> list[Outcome]:
    """The parts of a stack, one after the other, in the time that is left."""
    waiting, outcomes = sum(map(len, parts)), []
    for part in parts:
        left = None if end is None else max(1.0, end - time.monotonic()) * len(part) / waiting
        waiting -= len(part)
        smaller = replace(job, task_ids=tuple(t.id for t in part), seconds=left)
        outcomes += run_job(network, part, smaller, config, **rest)
    return outcomes


def _answer(
    adapted: Adapted,
    which: range,
    task: Task,
    job: Job,
    config: SolveConfig,
    deadline: float | None,
    *,
    seed: int,
    **rest: Any,
) -> Outcome:
    """One pool per test input from the copies `which` of a task, which share its views and its time."""
    started = time.monotonic()
    good = [slot for slot in which if not adapted.failed[slot]]
    if not good:
        raise FloatingPointError("the loss is not finite")
    pools = [Pool() for _ in task.test_inputs]
    traces: list[list[list[str]]] = []
    views = replace(config.predict, views=max(8, config.predict.views // len(good)))
    for turn, slot in enumerate(good):
        single = unstack(adapted.network, slot)
        for index, pool in enumerate(pools):
            drawn = stable_seed(seed, task.id, job.copy, "views", index, turn)
            now = time.monotonic()
            shares = len(good) * len(pools) - turn * len(pools) - index
            until = None if deadline is None else now + max(0.0, deadline - now) / shares
            fresh = predict(single, task, index, job.size, views, seed=drawn, deadline=until, **rest)
            if turn:
                pool.merge(fresh)
            else:
                pools[index] = fresh
                traces.append(trace(single, task, index, job.size, zoom=job.zoom, **rest))
    steps, settled = max(adapted.steps[slot] for slot in good), all(adapted.settled[slot] for slot in good)
    for pool in pools:
        pool.steps, pool.settled, pool.zoom, pool.weights = steps, settled, job.zoom, job.weights
    row: LogRow = {
        "task": task.id,
        "copy": job.copy,
        "canvas": job.size,
        "zoom": job.zoom,
        "weights": job.weights,
        "steps": steps,
        "loss": round(sum(adapted.loss[slot] for slot in good) / len(good), 5),
        "settled": settled,
        "adapt_seconds": round(adapted.seconds * len(which) / len(adapted.steps), 3),
        "predict_seconds": round(time.monotonic() - started, 3),
        "views": [pool.total_views for pool in pools],
        "trace": traces,
    }
    return Outcome(task.id, row, pools)
