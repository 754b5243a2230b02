"""Two runs compared task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.arc.tasks import Grid
from solver.results.evaluate import evaluate
from solver.results.intervals import Estimate, bootstrap_mean, mcnemar, mean_share
from solver.run.read import Run


@dataclass(frozen=True)
class Comparison:
    """Two runs on the tasks that both were scored on."""

    names: tuple[str, str]  # of the runs
    tasks: int  # how many there are
    first: Estimate  # Kaggle's score of the first run
    second: Estimate  # and of the second
    difference: Estimate  # second less first, bootstrapped over tasks in pairs
    gained: list[str]  # ids of tasks that only the second run fully solved
    lost: list[str]  # ids of tasks that only the first run fully solved
    both: int  # tasks that both runs fully solved
    neither: int  # tasks that neither did
    p_value: float  # McNemar's exact test on those gained and lost


def compare(first: Run, second: Run) -> Comparison:
    """Two runs, paired by task. ValueError if they share no task with a known truth, or disagree on one."""
    a, b = ({result.id: result for result in evaluate(run).results} for run in (first, second))
    common = [task_id for task_id in a if task_id in b]
    if not common:
        raise ValueError(f"{first.directory} and {second.directory} have no scored task in common")
    for task_id in common:
        if not _equal(first.truth(task_id), second.truth(task_id)):
            raise ValueError(f"task {task_id} has different solutions in the two runs: not the same data")
    gained = [task_id for task_id in common if b[task_id].solved and not a[task_id].solved]
    lost = [task_id for task_id in common if a[task_id].solved and not b[task_id].solved]
    both = sum(a[task_id].solved and b[task_id].solved for task_id in common)
    return Comparison(
        names=(first.name, second.name),
        tasks=len(common),
        first=mean_share([a[task_id].share for task_id in common]),
        second=mean_share([b[task_id].share for task_id in common]),
        difference=bootstrap_mean([b[task_id].share - a[task_id].share for task_id in common]),
        gained=gained,
        lost=lost,
        both=both,
        neither=len(common) - both - len(gained) - len(lost),
        p_value=mcnemar(len(lost), len(gained)),
    )


def format_comparison(comparison: Comparison) -> str:
    """The comparison as plain text."""
    width = max(10, *map(len, comparison.names))
    difference = comparison.difference
    lines = [
        f"{comparison.tasks} tasks in both runs; Kaggle score with 95% interval",
        "",
        f"  {comparison.names[0]:<{width}}  {comparison.first}",
        f"  {comparison.names[1]:<{width}}  {comparison.second}",
        f"  {'difference':<{width}}  {100 * difference.value:+5.1f}%  "
        f"[{100 * difference.low:+5.1f}, {100 * difference.high:+5.1f}]",
        "",
        f"  fully solved: {comparison.both} by both, {len(comparison.gained)} gained, "
        f"{len(comparison.lost)} lost, {comparison.neither} by neither",
        f"  McNemar's exact test: p = {comparison.p_value:.3g}",
    ]
    for name, ids in (("gained", comparison.gained), ("lost", comparison.lost)):
        if ids:
            lines += ["", f"  {name}: {' '.join(ids)}"]
    return "\n".join(lines)


def _equal(first: Sequence[Grid] | None, second: Sequence[Grid] | None) -> bool:
    assert first is not None
    assert second is not None
    return len(first) == len(second) and all(map(np.array_equal, first, second))
