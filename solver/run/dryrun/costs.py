"""What work costs on canvases of one size: as it was measured, or counted and divided by an estimated rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from solver.arc.tasks import Task
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.canvas import TOKENS, pack
from solver.learn.predict import PredictConfig, draw_views, likelihoods, predict, trace
from solver.model import ModelConfig, Network, unstack
from solver.model.flops import forward_flops
from solver.model.fused import plain
from solver.presets import SolveConfig
from solver.run.dryrun.profiles import Profile


@dataclass(frozen=True)
class Cost:
    """Seconds on canvases of one size."""

    copy: float  # of each copy in a step
    view: float  # of each view in a chunk
    setup: float = 0.0  # of a job before its first step
    step: float = 0.0  # of a step, however many copies take it
    test: float = 0.0  # of a test input, however many views it gets
    chunk: float = 0.0  # of a chunk of views, however many there are in it
    score: float = 0.0  # of a candidate in each chunk
    score_view: float = 0.0  # of a candidate in each view


@dataclass(frozen=True)
class Operations:
    """How many operations of torch are handed out: for a step, a view, and so on as in `Cost`. Hardly depends on the
    canvas and the stack."""

    setup: int
    step: int
    test: int
    view: float
    chunk: float
    score: float


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def scoring(
    task: Task, size: int, config: PredictConfig, views: int, device: torch.device
) -> Callable[[int], torch.Tensor]:
    """A function that scores a number of candidates under `views` views, as `solver.learn.predict.predict` does with
    those it has found; how many that would be depends on what the network has learned."""
    drawn, place = draw_views(task, 0, size, replace(config, views=views), 0)
    drawn, place = drawn.to(device), place.to(device)
    log_probs = torch.zeros(views, size, size, TOKENS, device=device)
    return lambda count: likelihoods(pack([task.support[0].output] * count, device), log_probs, drawn, place, size)


def count_operations(network: Network, task: Task, size: int, config: SolveConfig) -> Operations:
    """Counted by adapting to one task and predicting a few views, on the CPU with small batches, but without the passes
    that only a CPU has."""
    with plain():
        return _count_operations(network, task, size, config)


def _count_operations(network: Network, task: Task, size: int, config: SolveConfig) -> Operations:
    device = torch.device("cpu")
    where: dict[str, Any] = {"device": device}
    slots, recipe = [Slot(task.support, 0)], replace(config.adapt, batch=1, patience=10**6)
    counts = []
    for steps in (1, 3):
        with _Counter() as counter:
            adapted = adapt(network, slots, size, replace(recipe, steps=steps), **where)
        counts.append(counter.count)
    single = unstack(adapted.network, 0)
    step = (counts[1] - counts[0]) // 2

    def looked(views: int, chunk: int) -> int:
        large = math.ceil(chunk * max(1.0, (size / 16) ** 2))  # which `look` makes smaller again
        counter = _Counter()
        with counter:
            predict(single, task, 0, size, replace(config.predict, views=views, chunk=large, scored=1), seed=0, **where)
        return counter.count

    def scored(candidates: int) -> int:
        run = scoring(task, size, config.predict, 4, device)
        counter = _Counter()
        with counter:
            run(candidates)
        return counter.count

    one, two, wide = looked(4, 4), looked(8, 4), looked(8, 8)
    score = scored(2) - scored(1)
    chunk = max(0, two - wide - score)
    view = max(0.0, (two - one - chunk - score) / 4)
    with _Counter() as counter:
        trace(single, task, 0, size, **where)
    test = counter.count + max(0, one - chunk - score - 4 * view)
    return Operations(max(0, counts[0] - step), step, int(test), view, chunk, score)


def estimate(profile: Profile, model: ModelConfig, operations: Operations, config: SolveConfig, size: int) -> Cost:
    """ESTIMATE of the costs on a device that was not measured: what is computed at its rate, and what is handed out
    by its host, one after the other."""
    assert profile.rate is not None
    flops, host = forward_flops(model, size), profile.dispatch
    return Cost(
        copy=forward_flops(model, size, trained=True) * config.adapt.batch / profile.rate,
        view=flops / profile.rate + host * operations.view,
        setup=host * operations.setup,
        step=host * operations.step,
        test=host * operations.test + flops / profile.rate,
        chunk=host * operations.chunk,
        score=host * operations.score,
    )
