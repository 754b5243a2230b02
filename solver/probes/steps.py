"""Probe `steps`: the score against the fine-tuning budget, from bundled and from random weights.

The rate falls to zero at the end of a budget, so a run stopped half-way is not a run of half the budget. Every
budget is therefore a run of its own, from the start, with the same seed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from solver.arc.tasks import Task
from solver.model import Network
from solver.probes.bench import Arm, Bench, Key
from solver.probes.finding import Chart, Finding, Series, Table
from solver.probes.measured import Measured, estimate

PARTS = (0.125, 0.25, 0.5, 1.0)
RANDOM = "random"
UNLIMITED = 10**6  # steps, where seconds are the budget


def measure(bench: Bench, network: Network, tasks: list[Task]) -> dict[str, dict[Key, Arm]]:
    """Arms (weights, budget, unit) for no fine-tuning and for PARTS of the budget, from each of the weights."""
    starts = {bench.config.weights.removesuffix(".safetensors").rpartition("/")[2]: network}
    if not bench.config.weights.startswith("random:"):
        starts[RANDOM] = _untrained(network, bench.seed)
    return {
        task.id: {
            (weights, budget, unit): _arm(bench, start, task, budget, unit)
            for weights, start in starts.items()
            for budget, unit in _budgets(bench)
        }
        for task in tasks
    }


def report(measured: Measured) -> Finding:
    """One row per weights and budget; the curves are two attempts and single views."""
    keys = measured.keys
    marks = {key: measured.marks(key) for key in keys}
    unit = keys[0][2]
    rows = []
    for weights, budget, _ in keys:
        steps, settled = measured.taken((weights, budget, unit))
        scores = [estimate(marks[weights, budget, unit], what) for what in ("views", "first", "both")]
        rows.append((weights, f"{budget:g} {unit}", steps, f"{settled:.0%}", *scores))
    columns = ("weights", "budget", "steps taken", "settled", "single views right", "attempt 1", "two attempts")
    series = []
    for weights in dict.fromkeys(key[0] for key in keys):
        chosen = [key for key in keys if key[0] == weights]
        budgets = [budget for _, budget, _ in chosen]
        series.append(Series(f"{weights}, two attempts", budgets, [estimate(marks[key], "both") for key in chosen]))
        series.append(Series(f"{weights}, single views", budgets, [estimate(marks[key], "views") for key in chosen]))
    label = "fine-tuning seconds a task, one worker" if unit == "s" else "fine-tuning steps a task"
    return Finding([Table("Scores by fine-tuning budget", columns, rows)], Chart("Score by budget", label, series))


def _budgets(bench: Bench) -> list[tuple[float, str]]:
    if bench.seconds is not None:
        return [(part * bench.seconds, "s") for part in (0, *PARTS)]
    steps = sorted({0, *(math.ceil(part * bench.config.adapt.steps) for part in PARTS)})
    return [(count, "steps") for count in steps]


def _arm(bench: Bench, start: Network, task: Task, budget: float, unit: str) -> Arm:
    if budget == 0:
        return bench.arm(bench.untuned(start), task)
    steps = UNLIMITED if unit == "s" else int(budget)
    config = replace(bench.config.adapt, steps=steps)
    tuned = bench.tune(start, task, adapt_config=config, seconds=budget if unit == "s" else None)
    return bench.arm(tuned, task)


def _untrained(network: Network, seed: int) -> Network:
    """The same network before any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(network.config, tasks=1)
