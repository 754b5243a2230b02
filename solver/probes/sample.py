"""The tasks a probe runs on: chosen by a hash, small ones first, never by what their outputs are."""

from __future__ import annotations

from dataclasses import dataclass

from solver.arc import datasets
from solver.arc.datasets import DataSet
from solver.arc.tasks import Grid, Task
from solver.results.trial import trained_on

SETS = ("held-out", "arc1-eval")


@dataclass(frozen=True, eq=False)
class Sample:
    """`tasks` of the set `data` in the order chosen; their test outputs are for scoring alone."""

    name: str
    tasks: list[Task]
    data: DataSet

    def outputs(self, task: Task) -> list[Grid]:
        """The true output of every test."""
        return self.data.solutions[task.id]

    @property
    def text(self) -> str:
        """One line that says what was sampled."""
        sides = [task.largest_side for task in self.tasks]
        what = f"held-out tasks of {self.data.name}" if self.name == "held-out" else f"tasks of {self.name}"
        return (
            f"{len(self.tasks)} {what}, largest sides {min(sides)} to {max(sides)}, "
            f"content sha256 {self.data.content_hash[:16]}"
        )


def choose(name: str, limit: int) -> Sample:
    """The first `limit` tasks of a set. `held-out`: the ARC-1 training tasks that no bundled weights are trained
    on; `arc1-eval`: smallest sha256(id) first. In both, tasks with no side above SMALL_SIDE come first.

    ValueError for an unknown set, a limit below 1, or more tasks than there are.
    """
    if name not in SETS:
        raise ValueError(f"no probe runs on a set called {name!r}; choose from {', '.join(SETS)}")
    if limit < 1:
        raise ValueError(f"--limit {limit}: must be at least 1")
    data = datasets.load("arc1-train" if name == "held-out" else name)
    if name == "held-out":
        by_id = {task.id: task for task in data.tasks}
        tasks = [by_id[task_id] for task_id in datasets.held_out(data)]
    else:
        tasks = datasets.demo_tasks(data, len(data.tasks), largest_side=30)
        tasks.sort(key=lambda task: task.largest_side > datasets.SMALL_SIDE)  # stable: the hash order stays
    if limit > len(tasks):
        raise ValueError(f"--limit {limit}: {name} has {len(tasks)} tasks")
    return Sample(name, tasks[:limit], data)


def refuse_overlap(weights: str, sample: Sample) -> None:
    """ValueError if the weights were trained on a pair of the sample: a probe of that would show memory."""
    if seen := trained_on([weights], sample.data, sample.tasks):
        raise ValueError(f"{weights} was trained on pairs of {len(seen)} of the tasks, {seen[0]} for one")
