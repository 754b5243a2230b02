"""The real planner on a simulated clock: workers that start, work, die and are replaced as in `solver.run.workers`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from solver.presets import SolveConfig
from solver.run.dryrun.work import Machine, SimTask, do
from solver.run.planner import Planner
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
    rows: list[dict] = field(default_factory=list)
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


@dataclass
class _Worker:
    number: int
    ready_at: float
    begun: float
    ready: bool = False
    deaths: int = 0
    job: Job | None = None
    started: float = 0.0
    ends: float = 0.0
    rows: list[dict] = field(default_factory=list)


class Simulation:
    """One run of `tasks` with so many `workers`. `budget` in seconds, None for none."""

    def __init__(
        self, tasks: list[SimTask], config: SolveConfig, machine: Machine, workers: int, budget: float | None
    ) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.config, self.machine, self.count, self.budget = config, machine, workers, budget
        self.now = 0.0
        self.result = Result()
        self._begin()

    def _begin(self) -> None:
        """A parent with a fresh planner, which knows what the log says, and fresh workers."""
        sizes = {task.id: task.size for task in self.tasks.values()}
        budget = Budget(self.budget, lambda: self.now, spent=self.now)
        inputs = {task.id: task.tests for task in self.tasks.values()}
        self.planner = Planner(sizes, self.config, budget, self.count, inputs=inputs)
        copies: dict[str, int] = {}
        for row in self.result.rows:
            if "error" not in row:
                copies[row["task"]] = max(copies.get(row["task"], 0), row["copy"] + 1)
        for task_id, many in copies.items():
            self.planner.known(task_id, many, self.tasks[task_id].outlook.agreement)
        self.workers: dict[int, _Worker] = {}
        if self.planner.open():
            for number in range(self.count):
                self._hire(number)

    def _hire(self, number: int, deaths: int = 0) -> None:
        ready = self.now + self.machine.startup
        self.workers[number] = _Worker(number, ready, self.now, deaths=deaths)

    def run(self, faults: list[Fault] | tuple[Fault, ...] = ()) -> Result:
        """Works the plan off. Faults later than the end do not happen; `hit` has those that did."""
        waiting = sorted(faults, key=lambda fault: fault.seconds)
        while True:
            self._hand_out()
            busy = [w for w in self.workers.values() if w.job is not None]
            starting = [w for w in self.workers.values() if not w.ready] if self.planner.open() else []
            if not busy and not starting:
                break
            patience = self.planner.budget.patience()
            worker = min(busy + starting, key=lambda w: w.ends if w.job is not None else w.ready_at)
            soon = worker.ends if worker.job is not None else worker.ready_at
            last = float("inf") if patience is None else self.now + patience
            if waiting and waiting[0].seconds <= min(soon, last):
                fault = waiting.pop(0)
                self.now = max(self.now, fault.seconds)
                self.result.hit.append(fault)
                self.result.faults.append(self._fault(fault))
            elif soon > last:
                self.now = last
                self._give_up(busy)
                break
            else:
                self.now = max(self.now, soon)
                self._hear(worker)
        self._stop_starting()
        self.result.end = self.now
        self.result.unanswered = self.planner.unanswered
        return self.result

    def _hand_out(self) -> None:
        for worker in self.workers.values():
            if not worker.ready or worker.job is not None or (job := self.planner.next(worker.number)) is None:
                continue
            seconds, rows = do(job, [self.tasks[i] for i in job.task_ids], self.config, self.machine)
            worker.job, worker.started, worker.ends, worker.rows = job, self.now, self.now + seconds, rows

    def _hear(self, worker: _Worker) -> None:
        if worker.job is None:
            worker.ready = True
            self.result.boxes.append(Box(worker.number, worker.begun, self.now, None))
            return
        self._box(worker, lost=False)
        worker.job = None
        self.planner.idle(worker.number)
        self._report(worker, worker.rows)

    def _report(self, worker: _Worker, rows: list[dict]) -> None:
        for row in rows:
            self.result.rows.append(row | {"worker": worker.number, "started": worker.started, "ended": self.now})
            known = "error" not in row
            self.planner.heard(row, self.tasks[row["task"]].outlook.agreement if known else 0.0)

    def _box(self, worker: _Worker, *, lost: bool) -> None:
        assert worker.job is not None
        job = worker.job
        self.result.boxes.append(Box(worker.number, worker.started, self.now, job.copy, len(job.task_ids), lost))

    def _lose(self, worker: _Worker) -> str:
        """Ends a worker's process; what was lost with it."""
        if worker.job is not None:
            self._box(worker, lost=True)
            lost = self.now - worker.started
            return f"{lost:.0f} s of a job of {_tasks(len(worker.job.task_ids))} on worker {worker.number}"
        if not worker.ready:
            self.result.boxes.append(Box(worker.number, worker.begun, self.now, None, lost=True))
            return f"{self.now - worker.begun:.0f} s of the start of worker {worker.number}"
        return f"nothing on worker {worker.number}, which was idle"

    def _fault(self, fault: Fault) -> str:
        if fault.who == "parent":
            lost = [self._lose(worker) for worker in self.workers.values()]
            # The parent has as much to import as a worker, and starts before them.
            self.now += self.machine.startup
            self._begin()
            pause = 2 * self.machine.startup
            return f"lost {', '.join(lost)}; resumed after {pause:.0f} s, with the answers and the budget left"
        worker = self._struck(fault.who)
        if worker is None:
            return f"nothing lost: {fault.who} was not there"
        text, job = self._lose(worker), worker.job
        deaths = 0 if worker.ready else worker.deaths + 1
        del self.workers[worker.number]
        if deaths < Workers.TRIES:
            self._hire(worker.number, deaths)
        elif not self.workers:
            raise RuntimeError("no worker process can be started")
        if job is not None and job.tries + 1 < Workers.TRIES:
            for task_id in job.task_ids:
                self.planner.put_back(replace(job, task_ids=(task_id,), seconds=None, tries=job.tries + 1))
            text += ", which were put back one at a time" if len(job.task_ids) > 1 else ", which was put back"
        self.planner.idle(worker.number)
        if job is not None and job.tries + 1 >= Workers.TRIES:
            error = f"the worker process died, {job.tries + 1} times"
            self._report(worker, [{"task": i, "copy": job.copy, "error": error} for i in job.task_ids])
            text += ", given up after its second death"
        return f"lost {text}; the next process was ready {self.machine.startup:.0f} s later"

    def _struck(self, who: str) -> _Worker | None:
        number = who.removeprefix("worker")
        if number:
            return self.workers.get(int(number))
        busy = [worker for worker in self.workers.values() if worker.job is not None]
        return min(busy or self.workers.values(), key=lambda worker: worker.number)

    def _give_up(self, busy: list[_Worker]) -> None:
        for worker in busy:
            assert worker.job is not None
            self._box(worker, lost=True)
            error = "no answer by the end of the budget"
            self._report(worker, [{"task": i, "copy": worker.job.copy, "error": error} for i in worker.job.task_ids])
            del self.workers[worker.number]

    def _stop_starting(self) -> None:
        for worker in self.workers.values():
            if not worker.ready and self.now > worker.begun:
                self.result.boxes.append(Box(worker.number, worker.begun, self.now, None))


def _tasks(count: int) -> str:
    return f"{count} task" + "s"[: count > 1]
