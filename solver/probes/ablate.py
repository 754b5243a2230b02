"""Probe `ablate`: the pipeline without one of its parts, in fine-tuning and in the views alike.

The weights stay those that were trained with every part: this says what a part is worth at test time, not what
it would be worth to train without it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from solver.arc.tasks import Task
from solver.model import Network
from solver.presets import SolveConfig
from solver.probes.bench import Arm, Bench, Key
from solver.probes.finding import Chart, Finding, Series, Table
from solver.probes.measured import Measured, difference, estimate

FULL, NO_CONV = "full", "no conv"


def _without(config: SolveConfig, **parts: Any) -> SolveConfig:
    """With `parts` off in the augmentation and, where prediction knows them too, in the views."""
    shared = {name: value for name, value in parts.items() if hasattr(config.predict, name)}
    augmentation = replace(config.adapt.augmentation, **parts)
    return replace(
        config,
        adapt=replace(config.adapt, augmentation=augmentation),
        predict=replace(config.predict, **shared),
    )


ARMS: dict[str, Callable[[SolveConfig], SolveConfig]] = {
    FULL: lambda config: config,
    "no colour": lambda config: _without(config, recolor=False),
    "no D4": lambda config: _without(config, turn=False),
    "no offset": lambda config: _without(config, move=False),
    "no scale": lambda config: _without(config, max_scale=1),
    NO_CONV: lambda config: config,
}
"""What each arm makes of the configuration; `no conv` changes the network instead."""


def measure(bench: Bench, network: Network, tasks: list[Task]) -> dict[str, dict[Key, Arm]]:
    """Arms (name,) for ARMS, each a fine-tuning of its own with the same seed."""
    plain = without_conv(network)
    arms: dict[str, dict[Key, Arm]] = {}
    for task in tasks:
        arms[task.id] = {}
        for name, change in ARMS.items():
            config = change(bench.config)
            tuned = bench.tune(plain if name == NO_CONV else network, task, adapt_config=config.adapt)
            arms[task.id][name,] = bench.arm(tuned, task, config.predict)
    return arms


def without_conv(network: Network) -> Network:
    """A copy whose 3x3 kernels are zero, so that cells meet only by attention. They are weights like all others:
    fine-tuning may grow them again."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for name, weight in changed.named_parameters():
            if name.endswith("mlp.conv"):
                weight.zero_()
    return changed


def report(measured: Measured) -> Finding:
    """One row per arm, with the paired difference to the full pipeline and the tasks gained and lost."""
    marks = {name: measured.marks((name,)) for name in ARMS}
    rows = []
    for name, arm in marks.items():
        changes = [a.both - b.both for a, b in zip(arm, marks[FULL], strict=True)]
        gained, lost = sum(d > 0 for d in changes), sum(d < 0 for d in changes)
        scores = [estimate(arm, what) for what in ("views", "first", "both")]
        rows.append((name, *scores, "reference" if name == FULL else difference(arm, marks[FULL]), gained, lost))
    columns = ("pipeline", "single views right", "attempt 1", "two attempts", "against full", "gained", "lost")
    series = [
        Series(label, list(ARMS), [estimate(marks[name], what) for name in ARMS])
        for label, what in (("two attempts", "both"), ("single views right", "views"))
    ]
    title = "Scores without a part of the pipeline; tasks gained and lost against the full one"
    return Finding([Table(title, columns, rows)], Chart("Score without a part of the pipeline", "", series))
