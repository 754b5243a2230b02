"""Probe `loops`: the vote after every loop step of the fine-tuned network. Where does it settle?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from solver.arc.tasks import Grid, Task
from solver.learn.ballot import Ballot
from solver.model import Network
from solver.probes.bench import Arm, Bench, Key
from solver.probes.finding import Chart, Finding, Series, Table
from solver.probes.measured import Measured, estimate
from solver.results.intervals import mean_share


def measure(bench: Bench, network: Network, tasks: list[Task]) -> dict[str, dict[Key, Arm]]:
    """An arm per loop step, (1,), (2,) and so on, all of one fine-tuning."""
    steps = {task.id: bench.steps(bench.tune(network, task), task) for task in tasks}
    return {task_id: {(n,): arm for n, arm in enumerate(arms, 1)} for task_id, arms in steps.items()}


def report(measured: Measured) -> Finding:
    """Scores by loop step; then the views by the step from which on they repeat their final answer."""
    steps = [step for (step,) in measured.keys]
    marks = {step: measured.marks((step,)) for step in steps}
    curves = {what: [estimate(marks[n], what) for n in steps] for what in ("views", "first", "both")}
    by_step = Table(
        "Scores had the network stopped after a loop step",
        ("loop step", "single views right", "attempt 1", "two attempts"),
        list(zip(steps, *curves.values(), strict=True)),
    )
    labels = ("single views right", "attempt 1", "two attempts")
    series = [Series(label, steps, curve) for label, curve in zip(labels, curves.values(), strict=True)]
    tables = [by_step, *_settling(measured, steps)]
    return Finding(tables, Chart("Score by loop step", "loop step", series))


def _settling(measured: Measured, steps: list[int]) -> list[Table]:
    right: dict[int, list[float]] = defaultdict(list)
    count: dict[int, int] = defaultdict(int)
    for task in measured.sample.tasks:
        if task.id not in measured.arms:
            continue
        settled: dict[int, list[bool]] = defaultdict(list)
        for index, truth in enumerate(measured.sample.outputs(task)):
            ballots = [measured.arms[task.id][step,].ballots[index] for step in steps]
            for step, hit in _settled(ballots, truth):
                settled[step].append(hit)
        for step, hits in settled.items():
            right[step].append(float(np.mean(hits)))
            count[step] += len(hits)
    if not count:
        return []
    total = sum(count.values())
    rows = [
        (step, count[step], f"{count[step] / total:.1%}", len(right[step]), mean_share(right[step]))
        for step in sorted(count)
    ]
    columns = ("settled at step", "views", "share", "tasks", "of these right, mean over tasks")
    return [Table("Views that decoded to a grid, by when their final answer first stood", columns, rows)]


def _settled(ballots: list[Ballot], truth: Grid) -> list[tuple[int, bool]]:
    """For every view with a final answer: the first step of the last run of that answer, and whether it is right."""
    last, found = ballots[-1], []
    for view, vote in enumerate(last.votes.tolist()):
        if vote < 0:
            continue
        step = len(ballots)
        while step > 1 and _answers(ballots[step - 2], view, last.grids[vote]):
            step -= 1
        found.append((step, np.array_equal(last.grids[vote], truth)))
    return found


def _answers(ballot: Ballot, view: int, grid: Grid) -> bool:
    vote = ballot.votes[view]
    return vote >= 0 and np.array_equal(ballot.grids[vote], grid)
