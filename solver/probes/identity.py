"""Probe `identity`: is the task in its tokens or in the weights? Four sets of task tokens, two sets of weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from solver.arc.tasks import Task
from solver.model import Network
from solver.probes.bench import Arm, Bench, Key, Tuned
from solver.probes.finding import Chart, Finding, Series, Table
from solver.probes.measured import Measured, difference, estimate

WEIGHTS = ("before", "after")
TOKENS = ("correct", "mean", "swapped", "blank")
NORMAL = ("after", "correct")


def measure(bench: Bench, network: Network, tasks: list[Task]) -> dict[str, dict[Key, Arm]]:
    """Arms (weights, tokens) for a group of tasks, each of which lends its tuned tokens to the one before it.

    weights: `before` or `after` fine-tuning, all but the task tokens. tokens: `correct` are the task's own after
    fine-tuning, `mean` is what it started from, `swapped` are another task's after fine-tuning, `blank` zeros.
    """
    if not network.config.task_tokens:
        raise ValueError("these weights have no task tokens: what a task is, they read from its supports")
    if len(tasks) < 2:
        raise ValueError("there is no second task to swap tokens with")
    tuned = [bench.tune(network, task) for task in tasks]
    mean = network.conditioning.tasks.detach()
    arms = {}
    for place, task in enumerate(tasks):
        correct, other = (tuned[i % len(tasks)].network.conditioning.tasks.detach() for i in (place, place + 1))
        choices = dict(zip(TOKENS, (correct, mean, other, torch.zeros_like(mean)), strict=True))
        bases = {"before": bench.untuned(network), "after": tuned[place]}
        arms[task.id] = {
            (weights, name): bench.arm(_with_tokens(bench, bases[weights], choices[name]), task)
            for weights in WEIGHTS
            for name in TOKENS
        }
    return arms


def report(measured: Measured) -> Finding:
    """One row per weights and tokens, with the paired difference to the normal case."""
    marks = {key: measured.marks(key) for key in measured.keys}
    rows = []
    for (weights, tokens), arm in marks.items():
        scores = [estimate(arm, what) for what in ("views", "first", "both")]
        less = "reference" if (weights, tokens) == NORMAL else difference(arm, marks[NORMAL])
        rows.append((weights, tokens, *scores, less))
    columns = ("weights", "tokens", "single views right", "attempt 1", "two attempts", "against the reference")
    series = [
        Series(f"{weights} fine-tuning", TOKENS, [estimate(marks[weights, name], "both") for name in TOKENS])
        for weights in WEIGHTS
    ]
    title = "Scores by task tokens, with the weights before and after fine-tuning"
    return Finding([Table(title, columns, rows)], Chart("Score at two attempts by task tokens", "", series))


def _with_tokens(bench: Bench, base: Tuned, tokens: torch.Tensor) -> Tuned:
    changed = bench.untuned(base.network).network
    with torch.no_grad():
        changed.conditioning.tasks.copy_(tokens)
    return replace(base, network=changed)
