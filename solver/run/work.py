"""What a run is given: the tasks, and the means to solve them; and what it says on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from solver.arc.tasks import Challenges, Task

if TYPE_CHECKING:  # it needs Dask, which is optional
    from solver.run.cluster import Cluster


@dataclass(frozen=True)
class Work:
    """What is to be solved."""

    challenges: Challenges  # the file; every task of it gets an answer in the submission
    only: list[Task] | None = None  # those of its tasks to solve, where not all; others keep a fallback answer
    dataset: str | None = None  # for the record: the data set's name
    seen: tuple[str, ...] = ()  # for the record: ids of the tasks that the weights were trained on

    @property
    def tasks(self) -> list[Task]:
        """The tasks to solve."""
        return self.challenges.tasks if self.only is None else self.only


@dataclass(frozen=True)
class Means:
    """With what it is solved."""

    budget: float | None = None  # seconds for everything; None: every task gets its full number of steps, once
    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    workers: int | None = None  # processes; None: one per processor or GPU
    cluster: Cluster | None = None  # whose workers do the jobs, in place of processes on this machine


@dataclass(frozen=True)
class Progress:
    """What a listener hears after every job."""

    done: int  # tasks answered so far
    total: int  # of so many
    again: int  # further copies that have joined in
    left: float  # seconds left of the budget
