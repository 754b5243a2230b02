"""Arms of all tasks, scored: the one place of a probe where test outputs are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.arc.tasks import Grid
from solver.probes.bench import Arm, Key
from solver.probes.sample import Sample
from solver.results.intervals import Estimate, bootstrap_mean, mean_share, wilson
from submission.document import fallback
from voting import Pool, two_attempts


@dataclass(frozen=True)
class Marks:
    """One task under one arm, shares in [0, 1]."""

    both: float = 0.0  # of its outputs hit by either attempt
    first: float = 0.0  # of its outputs hit by attempt 1
    oracle: float = 0.0  # of its outputs hit by any candidate
    views: float = 0.0  # of the single views that gave the exact output


def mark(pools: Sequence[Pool], inputs: Sequence[Grid], outputs: Sequence[Grid], rule: str) -> Marks:
    """The marks of a task from the pools of its test inputs, voted by `rule`."""
    rows = []
    for pool, grid, truth in zip(pools, inputs, outputs, strict=True):
        hits = [np.array_equal(attempt, truth) for attempt in two_attempts(pool, rule, fallback(grid))]
        found = pool.get(truth)
        views = 0.0 if found is None else found.views / pool.total_views
        rows.append((any(hits), hits[0], found is not None, views))
    return Marks(*np.mean(rows, axis=0).tolist())


@dataclass(frozen=True, eq=False)
class Measured:
    """What the workers brought back."""

    sample: Sample
    rule: str  # by which views vote
    scored: int  # candidates, the most frequent ones, that get a likelihood
    arms: dict[str, dict[Key, Arm]]  # by task id, without those in `errors`, and by key
    errors: dict[str, str]  # by task id, why it failed

    @property
    def keys(self) -> list[Key]:
        """Every arm, in the order of the first task. ValueError if all tasks failed."""
        if not self.arms:
            raise ValueError(f"every task failed, the first with: {next(iter(self.errors.values()))}")
        return list(next(iter(self.arms.values())))

    def marks(self, key: Key, rule: str | None = None, views: slice = slice(None)) -> list[Marks]:
        """Per task of the sample, in its order, with `views` of the views; a failed task misses everything."""
        rows = []
        for task in self.sample.tasks:
            if task.id in self.arms:
                pools = [ballot.pool(views, self.scored) for ballot in self.arms[task.id][key].ballots]
                rows.append(mark(pools, task.test_inputs, self.sample.outputs(task), rule or self.rule))
            else:
                rows.append(Marks())
        return rows

    def taken(self, key: Key) -> tuple[float, float]:
        """Fine-tuning of an arm, over the tasks that did not fail: mean steps, and the share settled early."""
        taken = [arms[key] for arms in self.arms.values()]
        return float(np.mean([arm.steps for arm in taken])), float(np.mean([arm.settled for arm in taken]))


def estimate(marks: Sequence[Marks], what: str) -> Estimate:
    """The mean of one of the marks over tasks, with its 95% interval."""
    return mean_share([getattr(row, what) for row in marks])


def difference(marks: Sequence[Marks], base: Sequence[Marks]) -> Estimate:
    """`marks` less `base`, score at two attempts, paired by task.

    Where no task differs a bootstrap would claim certainty; there the interval says how large a share of tasks
    may still differ, which is Wilson's for none of so many.
    """
    less = [a.both - b.both for a, b in zip(marks, base, strict=True)]
    if not any(less):
        most = wilson(0, len(less)).high
        return Estimate(0.0, -most, most)
    return bootstrap_mean(less)
