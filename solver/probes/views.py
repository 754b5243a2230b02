"""Probe `views`: the score against the number of views, under every voting rule, from one fine-tuning a task."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from solver.arc.tasks import Task
from solver.model import Network
from solver.probes.bench import Arm, Bench, Key
from solver.probes.finding import Chart, Finding, Series, Table
from solver.probes.measured import Marks, Measured, estimate
from voting import RULES

ALL = ("all",)


def measure(bench: Bench, network: Network, tasks: list[Task]) -> dict[str, dict[Key, Arm]]:
    """One arm, whose ballots are counted in part later."""
    return {task.id: {ALL: bench.arm(bench.tune(network, task), task)} for task in tasks}


def report(measured: Measured) -> Finding:
    """For n = 1, 2, 4, ... and all: every block of n consecutive views votes and scores on its own, and a task's
    marks are the mean over its blocks. At all views that is the pipeline's vote."""
    assert measured.keys == [ALL]
    total = len(next(iter(measured.arms.values()))[ALL].ballots[0].votes)
    counts = sorted({2**k for k in range(total.bit_length()) if 2**k < total} | {total})
    marks = {(rule, n): _blocks(measured, rule, n, total) for rule in RULES for n in counts}
    tables = []
    for title, what in (("Two attempts", "both"), ("Attempt 1 alone", "first")):
        rows = [(n, total // n, *(estimate(marks[rule, n], what) for rule in RULES)) for n in counts]
        tables.append(Table(f"{title}, by rule", ("views", "blocks", *RULES), rows))
    oracle = [estimate(marks["count", n], "oracle") for n in counts]
    rows = list(zip(counts, oracle, strict=True))
    tables.append(Table("The truth among the candidates", ("views", "oracle"), rows))
    series = [Series(rule, counts, [estimate(marks[rule, n], "both") for n in counts]) for rule in RULES]
    series.append(Series("oracle", counts, oracle))
    per_task = {
        task.id: {rule: {str(n): asdict(marks[rule, n][place]) for n in counts} for rule in RULES}
        for place, task in enumerate(measured.sample.tasks)
    }
    return Finding(tables, Chart("Score at two attempts by number of views", "views", series, True), per_task)


def _blocks(measured: Measured, rule: str, n: int, total: int) -> list[Marks]:
    """Marks per task, each the mean over the whole blocks of n views."""
    blocks = [measured.marks(ALL, rule, slice(first, first + n)) for first in range(0, total - n + 1, n)]
    return [
        Marks(**{what: float(np.mean([asdict(row)[what] for row in rows])) for what in asdict(rows[0])})
        for rows in zip(*blocks, strict=True)
    ]
