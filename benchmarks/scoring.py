"""How good weights are on held-out tasks, with a fine-tuning of so many processor seconds, or without any: what
`recipes.py` and `systems.py` share. One task, one process, one thread, so that other work takes nothing away."""

from __future__ import annotations

import functools
import statistics
import time
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Grid, Task
from solver.device import compute_dtype, prepare
from solver.learn.adapt import adapt
from solver.learn.ballot import counted
from solver.learn.batches import Slot
from solver.learn.canvas import ZOOM, pack, task_canvas, zoomed_canvas
from solver.learn.predict import PredictConfig, draw_views, likelihoods, look
from solver.learn.recipe import AdaptConfig
from solver.model import ModelConfig, Network, unstack
from solver.probes.measured import mark
from solver.seeds import stable_seed
from solver.weights import checkpoint
from voting import Pool

CPU = torch.device("cpu")
WORST = 3.0
"""Nats a cell at which a task's loss is cut: a blind guess is 2.5, and one task gone astray must not decide."""


@dataclass(frozen=True)
class Trial:
    """What to do with a task."""

    weights: str  # a bundle's name, a file or random:SIZE
    loops: int | None  # loop steps to run; None: as many as the weights say
    config: AdaptConfig  # the recipe of fine-tuning
    seconds: float | None  # processor seconds of it; None: the recipe's steps; 0: no fine-tuning
    views: int  # of each test input
    seed: int


@dataclass(frozen=True)
class Mark:
    """One task: mean nats a cell of the truth, shares of views and of outputs (two attempts) right, steps taken."""

    nats: float
    views: float
    both: float
    steps: int


def held_out_tasks(limit: int, skip: int = 0, large: bool = False) -> tuple[list[Task], dict[str, list[Grid]]]:
    """Small, or `large`, ARC-1 training tasks that no weights are trained on, and the outputs of every one's tests."""
    data = datasets.load("arc1-train")
    ids = datasets.held_out(data, small=0) if large else datasets.held_out(data, large=0)
    by_id = {task.id: task for task in data.tasks}
    return [by_id[i] for i in ids[skip:][:limit]], data.solutions


def measured(trial: Trial, tasks: list[Task], truths: dict[str, list[Grid]], crew: Executor, name: str) -> list[Mark]:
    """The marks of all tasks, in order, from the processes of `crew`; `name` stands beside the bar."""
    jobs = crew.map(functools.partial(measure, trial), tasks, (truths[task.id] for task in tasks))
    return list(tqdm(jobs, total=len(tasks), desc=name, dynamic_ncols=True))


def measure(trial: Trial, task: Task, truths: list[Grid]) -> Mark:
    """Fine-tunes on the supports of a task, then looks at its test inputs; only the marks know the truth. Where the
    recipe's augmentation zooms, so are the views, if the largest canvas has room for that."""
    prepare(CPU, threads=1)
    network = loaded(trial.weights, trial.loops)
    where: dict[str, Any] = {"device": CPU, "dtype": compute_dtype(CPU)}
    size, zoom = canvas_of(task, network.config, zoomed=trial.config.augmentation.zoom > 1)
    single, steps, asked = network, 0, replace(presets.cpu(), adapt=trial.config).at(zoom)
    if trial.seconds != 0:
        slot = Slot(task.support, stable_seed(trial.seed, task.id, 0, "adapt"))
        adapted = adapt(network, [slot], size, asked.adapt, seconds=trial.seconds, clock=time.process_time, **where)
        single, steps = unstack(adapted.network, 0), adapted.steps[0]
    seen = [_seen(single, task, index, truth, size, asked.predict, trial, where) for index, truth in enumerate(truths)]
    pools, nats = zip(*seen, strict=True)
    marks = mark(pools, task.test_inputs, truths, "confidence")
    return Mark(min(statistics.mean(nats), WORST), marks.views, marks.both, steps)


def canvas_of(task: Task, model: ModelConfig, *, zoomed: bool) -> tuple[int, int]:
    """The side of a task's canvas, in cells, and how many of these a grid cell is a side: more than one if it is to be
    zoomed, the largest canvas has room for that, and a patch is as large."""
    large = zoomed_canvas(task) if zoomed and model.patch == ZOOM and not model.canvas else None
    return (large, ZOOM) if large else (task_canvas(task, model.canvas), 1)


@functools.lru_cache(maxsize=4)
def loaded(weights: str, loops: int | None) -> Network:
    return checkpoint.load(weights, loops=loops)


@torch.inference_mode()
def _seen(
    network: Network,
    task: Task,
    index: int,
    truth: Grid,
    size: int,
    look_config: PredictConfig,
    trial: Trial,
    where: dict[str, Any],
) -> tuple[Pool, float]:
    """The pool of a test input, and the mean nats a cell of the truth under its views."""
    config = replace(look_config, views=trial.views)
    views, place = draw_views(task, index, size, config, stable_seed(trial.seed, task.id, 0, "views", index, 0))
    chunks = look(network, task, index, views, place, size, config, **where)
    log_probs = torch.cat([steps[-1][0].log_softmax(-1) for _, _, steps, _ in chunks])
    cells = (truth.shape[0] + 1) * (truth.shape[1] + 1) * place.scale**2
    nats = -likelihoods(pack([truth]), log_probs, views, place, size)[0] / cells
    return counted(log_probs, views, place, size).pool(), float(nats.mean())
