"""The real planner and the real workers on a simulated clock: only the processes are pretended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from solver.model import ModelConfig
from solver.presets import SolveConfig
from solver.run.dryrun.work import Machine, SimTask, do
from solver.run.job import Outcome
from solver.run.log import LogRow, good_rows
from solver.run.planner import Planner
from solver.run.process import READY, Ending
from solver.run.schedule import Budget, Job
from solver.run.workers import Workers


@dataclass(frozen=True)
class Fault:
    """At `seconds` a worker process dies, or the parent with all of them. `who`: "parent", "worker" (the lowest
    number that is busy) or "worker2"."""

    who: str
    seconds: float


@dataclass(frozen=True)
class Box:
    """Time of a worker, from `start` to `end`: it starts up (`copy` None), works on a copy of `tasks` tasks, or loses
    that (`lost`), because it died or the budget was over."""

    worker: int
    start: float
    end: float
    copy: int | None
    tasks: int = 0
    lost: bool = False


@dataclass
class Result:
    """What a run would do. `rows`: log rows with "worker", "started" and "ended"; `faults`: what each fault cost."""

    boxes: list[Box] = field(default_factory=list)
    rows: list[LogRow] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hit: list[Fault] = field(default_factory=list)
    end: float = 0.0
    unanswered: list[str] = field(default_factory=list)

    @property
    def first_round(self) -> float | None:
        """Second at which the last first answer was there; None if there is none."""
        return max((row["ended"] for row in self.rows if row["copy"] == 0 and "error" not in row), default=None)

    def idle(self, workers: int) -> float:
        """Share of the workers' time, to the end, in which they neither started nor worked."""
        return 1.0 - sum(box.end - box.start for box in self.boxes) / (self.end * workers) if self.end else 0.0


class Process:
    """A `solver.run.process.WorkerProcess` that knows when it will be ready and when its job will have ended. It is its
    own channel."""

    def __init__(self, number: int, simulation: Simulation) -> None:
        self.number, self.simulation = number, simulation
        self.begun = simulation.now  # start-up or, once it is ready, its job
        self.due = simulation.now + simulation.machine.startup  # the end of that
        self.ready = self.dead = False
        self.job: Job | None = None
        self.outcomes: list[Outcome] = []
        simulation.processes[number] = self

    @property
    def channel(self) -> Process:
        return self

    @property
    def next_event(self) -> float:
        """The second at which there is something to receive: at once if it is dead, never while it is idle."""
        if self.dead:
            return self.simulation.now
        return math.inf if self.ready and self.job is None else self.due

    def send(self, tasks: list[SimTask], job: Job) -> None:
        seconds, rows = do(job, tasks, self.simulation.config, self.simulation.machine)
        self.job, self.begun, self.due = job, self.simulation.now, self.simulation.now + seconds
        self.outcomes = [Outcome(row["task"], row, None) for row in rows]

    def receive(self) -> Any:
        if self.dead:
            raise EOFError
        self._box(lost=False)
        if not self.ready:
            self.ready = True
            return READY
        self.job = None
        return self.outcomes

    def stop(self, patience: float = 0.0) -> Ending:
        if not self.dead and (self.job is not None or (not self.ready and self.simulation.now > self.begun)):
            self._box(lost=self.job is not None)
        self.dead = True
        return Ending("in this dry run")

    def die(self) -> str:
        """Ends it by a fault; what was lost with it."""
        self.dead = True
        if self.job is not None:
            self._box(lost=True)
            lost = self.simulation.now - self.begun
            return f"{lost:.0f} s of a job of {_tasks(len(self.job.task_ids))} on worker {self.number}"
        if not self.ready:
            self._box(lost=True)
            return f"{self.simulation.now - self.begun:.0f} s of the start of worker {self.number}"
        return f"nothing on worker {self.number}, which was idle"

    def _box(self, *, lost: bool) -> None:
        copy, tasks = (None, 0) if self.job is None else (self.job.copy, len(self.job.task_ids))
        self.simulation.result.boxes.append(Box(self.number, self.begun, self.simulation.now, copy, tasks, lost))


class _ParentDied(Exception):
    """The simulated parent is gone, and all workers with it."""


class Simulation:
    """One run of `tasks` with so many `workers`. `budget` in seconds, None for none. `models` as in the planner."""

    def __init__(
        self,
        tasks: list[SimTask],
        config: SolveConfig,
        machine: Machine,
        workers: int,
        budget: float | None,
        models: Mapping[str, ModelConfig] | None = None,
    ) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.config, self.machine, self.count, self.budget = config, machine, workers, budget
        self.models = models
        self.now = 0.0
        self.result = Result()
        self.waiting: list[Fault] = []
        self.processes: dict[int, Process] = {}

    def run(self, faults: list[Fault] | tuple[Fault, ...] = ()) -> Result:
        """Works the plan off. Faults later than the end do not happen; `hit` has those that did."""
        self.waiting = sorted(faults, key=lambda fault: fault.seconds)
        while True:
            planner = self._plan()
            try:
                self._work(planner)
            except _ParentDied:
                continue
            self.result.end = self.now
            self.result.unanswered = planner.unanswered
            return self.result

    def _plan(self) -> Planner:
        """A fresh planner, which knows what the log says."""
        sizes = {task.id: task.size for task in self.tasks.values()}
        budget = Budget(self.budget, lambda: self.now, spent=self.now)
        inputs = {task.id: task.tests for task in self.tasks.values()}
        zoomed = {task.id: task.zoomed for task in self.tasks.values() if task.zoomed is not None}
        planner = Planner(sizes, self.config, budget, self.count, zoomed=zoomed, inputs=inputs, models=self.models)
        for task_id, rows in good_rows(self.result.rows).items():
            planner.known(task_id, rows, self.tasks[task_id].outlook.agreement)
        return planner

    def _work(self, planner: Planner) -> None:
        """As `solver.run.pipeline.solve` does it."""
        if not planner.open():
            return
        self.processes = {}
        with Workers([self._starter(number) for number in range(self.count)], wait=self._wait) as workers:
            for report in workers.run(planner, self.tasks):
                for outcome in report.outcomes:
                    outcome.row |= {"worker": report.worker, "started": report.started, "ended": report.ended}
                    self.result.rows.append(outcome.row)
                    known = "error" not in outcome.row
                    agreement = self.tasks[outcome.task_id].outlook.agreement if known else 0.0
                    planner.heard(outcome.row, agreement)

    def _starter(self, number: int) -> Callable[[], Process]:
        return lambda: Process(number, self)

    def _wait(self, processes: list[Process], timeout: float | None) -> list[Process]:
        """Sets the clock to what happens next: a process has something to say, a fault strikes, or the time is up."""
        last = math.inf if timeout is None else math.nextafter(self.now + timeout, math.inf)
        process = min(processes, key=lambda process: process.next_event)
        if self.waiting and self.waiting[0].seconds <= min(process.next_event, last):
            fault = self.waiting.pop(0)
            self.now = max(self.now, fault.seconds)
            self.result.hit.append(fault)
            self._strike(fault)
            return []
        if process.next_event > last:
            self.now = last
            return []
        self.now = max(self.now, process.next_event)
        return [process]

    def _strike(self, fault: Fault) -> None:
        alive = {number: process for number, process in self.processes.items() if not process.dead}
        if fault.who == "parent":
            lost = [process.die() for process in alive.values()]
            # The parent has as much to import as a worker, and starts before them.
            self.now += self.machine.startup
            pause = f"resumed after {2 * self.machine.startup:.0f} s, with the answers and the budget left"
            self.result.faults.append(f"lost {', '.join(lost)}; {pause}")
            raise _ParentDied
        process = self._struck(fault.who, alive)
        if process is None:
            self.result.faults.append(f"nothing lost: {fault.who} was not there")
            return
        text, job = process.die(), process.job
        if job is not None and job.tries + 1 < Workers.TRIES:
            text += ", which were put back one at a time" if len(job.task_ids) > 1 else ", which was put back"
        elif job is not None:
            text += ", given up after its second death"
        self.result.faults.append(f"lost {text}; the next process was ready {self.machine.startup:.0f} s later")

    def _struck(self, who: str, alive: dict[int, Process]) -> Process | None:
        if number := who.removeprefix("worker"):
            return alive.get(int(number))
        busy = [process for process in alive.values() if process.job is not None]
        return min(busy or alive.values(), key=lambda process: process.number)


def _tasks(count: int) -> str:
    return f"{count} task" + "s"[: count > 1]
