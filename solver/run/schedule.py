"""A budget on a clock, how fast the machine is, the job that workers are given; and the plainest schedule, a line."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from solver.model import ModelConfig
from solver.model.flops import forward_flops
from solver.run.log import LogRow


class Budget:
    """`seconds` from now on `clock` (seconds, monotonic), of which `spent` are gone already; None is no limit."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic, spent: float = 0.0) -> None:
        self.seconds, self.clock = seconds, clock
        self.begun = clock() - spent

    def elapsed(self) -> float:
        return self.clock() - self.begun

    def left(self) -> float:
        """Seconds left, never negative; infinite without a limit."""
        return float("inf") if self.seconds is None else max(0.0, self.seconds - self.elapsed())

    def patience(self) -> float | None:
        """Seconds to wait for an answer at most: to the end and 0.5% of the budget, at least 5 s, beyond it."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds + max(5.0, 0.005 * self.seconds) - self.elapsed())


class Speeds:
    """Mean seconds of one task's fine-tuning step and of one view, by weights and canvas size. `models`: all weights of
    the run, as a log row calls them.

    A size not met yet is estimated from the nearest one met, for other weights than the run's own as those go, which
    have met more sizes, and for these by the number of cells. Weights not met yet are taken to be as much slower than
    the run's own as they have more operations, and not to be faster, for where steps wait for the host none is. Times
    are a task's share of its stack's, so they hold for stacks as they were.
    """

    def __init__(self, models: Mapping[str, ModelConfig] | None = None) -> None:
        self.models = models or {}
        self._spent: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def learn(self, row: LogRow) -> None:
        """Takes a log row of a copy that gave an answer; others say nothing about speed."""
        if "error" in row:
            return
        for what, seconds, count in (
            ("step", row["adapt_seconds"], row["steps"]),
            ("view", row["predict_seconds"], sum(row["views"])),
        ):
            if count:
                total = self._spent[row.get("weights", ""), what, row["canvas"]]
                total[0] += seconds
                total[1] += count

    def seconds(self, what: str, size: int, weights: str = "") -> float | None:
        """Seconds of a "step" or a "view" of one task on canvases of `size`; None before anything was measured."""
        known = [met for name, kind, met in self._spent if (name, kind) == (weights, what)]
        if known:
            nearest = min(known, key=lambda met: abs(met - size))
            seconds, count = self._spent[weights, what, nearest]
            there, here = (self.seconds(what, side) if weights else None for side in (nearest, size))
            return seconds / count * (here / there if here and there else (size / nearest) ** 2)
        own = self.seconds(what, size) if weights in self.models and weights else None
        if own is None:
            return None
        other, ours = (forward_flops(self.models[name], size, trained=what == "step") for name in (weights, ""))
        return own * max(1.0, other / ours)


@dataclass(frozen=True)
class Job:
    """One copy each of some tasks, adapted as one stack."""

    task_ids: tuple[str, ...]  # of one canvas size, at this zoom
    size: int  # side of that canvas, in cells
    copy: int = 0  # number of the copy, the same for all of them
    seconds: float | None = None  # of wall time; None: as long as it takes
    tries: int = 0  # workers that died of it
    zoom: int = 1  # canvas cells that a grid cell is a side
    weights: str = ""  # of which its copies are made, as a log row calls them


class Schedule(Protocol):
    """What workers ask, from one process, on the clock of `budget`."""

    budget: Budget

    def open(self) -> bool:
        """Whether there is, or may yet be, a job to hand out: worth waiting for a worker that starts."""

    def next(self, worker: int) -> Job | None:
        """The next job for an idle worker, None if there is nothing for it to do now."""

    def idle(self, worker: int) -> None:
        """The worker has ended its job, one way or another."""

    def put_back(self, job: Job) -> None:
        """A job whose worker died comes back, to be handed out before all others."""

    def resize(self, workers: int) -> None:
        """From now on there are `workers` of them: on a device no process can be started, or one has turned up."""


class Line:
    """A schedule: jobs one after the other, each as long as it takes."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs, self.budget = list(jobs), Budget(None)

    def open(self) -> bool:
        return bool(self.jobs)

    def next(self, worker: int) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def idle(self, worker: int) -> None:
        pass

    def put_back(self, job: Job) -> None:
        self.jobs.insert(0, job)

    def resize(self, workers: int) -> None:
        pass
