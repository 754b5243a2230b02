"""The schedule of a run: every task a first answer soon, then what time is left where it pays.

The same object plans for real workers and for simulated ones (`solver.run.dryrun`): it knows a clock and what was
reported to it, no processes and no devices.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from solver.learn.canvas import ZOOM
from solver.learn.predict import chunk_views
from solver.model import ModelConfig
from solver.presets import SolveConfig
from solver.run.chance import Bid, Way, chance, spend
from solver.run.log import Kind, LogRow, kind
from solver.run.schedule import Budget, Job, Speeds


def stack_size(config: SolveConfig, size: int, tasks: int, workers: int) -> int:
    """Tasks in a full stack on canvases of `size`, of which there are `tasks`: fewer on large canvases, and where some
    worker would have nothing to do."""
    return max(1, min(int(config.stack * min(1.0, (16 / size) ** 2)), -(-tasks // workers)))


@dataclass
class _State:
    """What is known of one task."""

    task_id: str
    size: int  # side of its canvas, in cells
    zoomed: int | None = None  # the same of one on which it is zoomed; None where it is not to be
    copies: int = 0  # those begun
    running: bool = False  # whether a worker has it now
    answered: bool = False  # whether anything was heard of it, be it an error
    agreement: float = 0.0  # share of the views that gave its best candidate
    failures: Counter[Kind] = field(default_factory=Counter)  # copies that ended with an error
    reached: dict[Kind, float] = field(default_factory=lambda: defaultdict(float))  # best chance of its copies
    seen: Counter[Kind] = field(default_factory=Counter)  # copies that ended well

    def canvases(self, also: Sequence[str]) -> dict[Kind, int]:
        """The side of its canvas for every kind that a copy may be of and has not failed to be twice. Zoomed are those
        of the run's own weights."""
        kinds = {Kind(name): self.size for name in ("", *also)}
        kinds |= {} if self.zoomed is None else {Kind(zoom=ZOOM): self.zoomed}
        return {of: size for of, size in kinds.items() if self.failures[of] < 2}

    def take(self, row: LogRow) -> None:
        """What a copy's log row says of it."""
        self.copies = max(self.copies, row["copy"] + 1)
        of = kind(row)
        if "error" in row:
            self.failures[of] += 1
            return
        self.seen[of] += 1
        self.reached[of] = max(self.reached[of], float(chance(self.size, row["steps"], of.zoom)))


class Planner:
    """A `solver.run.schedule.Schedule` of tasks, given as `sizes`, task id -> canvas size, `zoomed`, the same for those
    that may be zoomed, and `inputs`, task id -> number of test inputs (where absent, 1). `models`: the run's networks,
    as in `solver.run.schedule.Speeds`; without them only its own are used.

    Without a limit every task gets one copy, as long as it takes. With one:

    - *First round*: the first copies share `config.first_share` of the budget by weight (a task on twice the canvas
      size gets twice the seconds), small canvases first.
    - *Then* a further copy, as long as it pays, for tasks whose best candidate has less than the share `config.agreed`
      of the views: the seconds that are left buy hits where those are cheapest (see `solver.run.chance`), which is on
      small canvases first, and zoomed or of other weights where a task's seconds are enough for that; what a job
      leaves unused goes to those after it.
    - Nothing starts that cannot end: a job is begun only if there is time for a step and for its views, at the speed
      measured so far. `margin` seconds are kept back for writing the answers.
    """

    def __init__(
        self,
        sizes: dict[str, int],
        config: SolveConfig,
        budget: Budget,
        workers: int,
        *,
        zoomed: Mapping[str, int] | None = None,
        inputs: dict[str, int] | None = None,
        models: Mapping[str, ModelConfig] | None = None,
        margin: float = 2.0,
    ) -> None:
        self.config, self.budget, self.workers, self.margin = config, budget, workers, margin
        large = zoomed or {}
        ids = sorted(sizes, key=sizes.__getitem__)
        self.states = {task_id: _State(task_id, sizes[task_id], large.get(task_id)) for task_id in ids}
        self.inputs, self.speeds = inputs or {}, Speeds(models)
        self.also = config.also if models else ()
        self.returned: list[Job] = []
        self.again = 0
        self._ends: dict[int, float] = {}
        self._counts = Counter((1, size) for size in sizes.values()) + Counter((ZOOM, size) for size in large.values())
        self._total = sum(sizes.values())

    def known(self, task_id: str, rows: Sequence[LogRow], agreement: float) -> None:
        """A task that an earlier, interrupted run has answered: the log rows of those copies, of whose speed nothing is
        taken over, for that may have been another machine."""
        state = self.states[task_id]
        state.answered, state.agreement = True, agreement
        for row in rows:
            state.take(row)

    def heard(self, row: LogRow, agreement: float) -> None:
        """What became of one task's copy: its log row, and the agreement of all its copies' views now. `again` counts
        those that were not the first of their task."""
        if (state := self.states.get(row["task"])) is None:
            return
        self.again += state.answered
        state.running, state.answered = False, True
        state.agreement = agreement
        state.take(row)
        self.speeds.learn(row)

    @property
    def unanswered(self) -> list[str]:
        """Ids of tasks of which nothing was heard yet."""
        return [state.task_id for state in self.states.values() if not state.answered]

    def open(self) -> bool:
        left = self._time()
        if left <= 0:
            return False
        return bool(self._fitting(left) or self._first() or self._bought(left * self.workers))

    def idle(self, worker: int) -> None:
        self._ends.pop(worker, None)

    def put_back(self, job: Job) -> None:
        self.returned.append(job)

    def resize(self, workers: int) -> None:
        self.workers = workers

    def next(self, worker: int) -> Job | None:
        left = self._time()
        if left <= 0:
            return None
        back = self._fitting(left)
        if self.budget.seconds is None:
            first = self._first()
            return self._begin(worker, back or (self._job(first, None) if first else None), back)
        free = max(0.0, left * self.workers - self._busy(worker))
        if back:
            job, share = back, self._fair(back) if back.copy else self.config.first_share * self._fair(back)
            seconds = max(share, self._least(back))
        elif first := self._first():
            window = self.config.first_share * self.budget.seconds
            early = max(0.0, window - self.budget.elapsed())
            job = self._job(first, early * self.workers - self._busy(worker), sum(state.size for state in first))
            # A start-up that used the window up must not leave the first answers without any time.
            floor = max(0.5 * self.config.first_share * self._fair(job), self._least(job))
            seconds = max(min(job.seconds or 0.0, early), floor)
        elif bought := self._bought(free):
            job, seconds = bought, bought.seconds or 0.0
        else:
            return None
        seconds = min(left, seconds)
        return None if seconds < self._least(job) else self._begin(worker, replace(job, seconds=seconds), back)

    def _begin(self, worker: int, job: Job | None, back: Job | None) -> Job | None:
        if back is not None:
            self.returned.remove(back)
        if job is not None:
            for task_id in job.task_ids:
                state = self.states[task_id]
                state.running, state.copies = True, max(state.copies, job.copy + 1)
            if job.seconds is not None:
                self._ends[worker] = self.budget.elapsed() + job.seconds
        return job

    def _fitting(self, left: float) -> Job | None:
        """The first job that came back and can end within `left` seconds."""
        return next((job for job in self.returned if self._least(job) <= left), None)

    def _first(self) -> list[_State]:
        """Tasks without any copy, small canvases first."""
        return [state for state in self.states.values() if not state.copies]

    def _unsure(self) -> list[_State]:
        """Tasks that a further copy may help now."""
        if self.budget.seconds is None:
            return []
        return [
            s
            for s in self.states.values()
            if s.copies
            and not s.running
            and s.canvases(self._also())
            and s.agreement < self.config.agreed
            and s.copies < self.config.max_copies
        ]

    def _bought(self, free: float) -> Job | None:
        """The further copies that pay most for their part of `free` worker seconds, as one stack."""
        states = self._unsure()
        bids = [self._bid(state) for state in states]
        seconds, returns, way = spend(bids, free, self.config.budget_steps)
        if not seconds.any():
            return None
        kinds = []  # of copies: only such as are alike make a stack
        for state, number in zip(states, way, strict=True):
            kinds.append((*list(state.canvases(self._also()).items())[number], state.copies))
        best = kinds[int(returns.argmax())]
        alike = [n for n, kind in enumerate(kinds) if seconds[n] and kind == best]
        alike = sorted(alike, key=lambda n: -returns[n])
        of, size, copies = best
        alike = alike[: stack_size(self.config, size, self._counts[of.zoom, size], self.workers)]
        task_ids = tuple(states[n].task_id for n in alike)
        return Job(task_ids, size, copies, float(seconds[alike].sum()), zoom=of.zoom, weights=of.weights)

    def _bid(self, state: _State) -> Bid:
        """What a further copy of a task would cost at the speed measured so far."""
        ways = []
        for of, size in state.canvases(self._also()).items():
            step, view = (self.speeds.seconds(what, size, of.weights) or 0.0 for what in ("step", "view"))
            views = view * self.config.predict.views * self.inputs.get(state.task_id, 1)
            # Of a job's seconds fine-tuning may take `adapt_share`, and so much must be there for it.
            if not step:
                fair = self._fair(Job((state.task_id,), state.size)) * (size / state.size) ** 2
                step = fair / self.config.budget_steps
            ways.append(Way(of.zoom, step / self.config.adapt_share, views, state.reached[of], state.seen[of]))
        return Bid(state.size, tuple(ways))

    def _job(self, states: list[_State], seconds: float | None, weight: float = 0.0) -> Job:
        """The first of these tasks and others like it as one stack, and their part of `seconds` by weight."""
        size, copy = states[0].size, states[0].copies
        # Without a budget stacks, and so rounding, must not depend on the number of workers.
        workers = 1 if self.budget.seconds is None else self.workers
        full = stack_size(self.config, size, self._counts[1, size], workers)
        alike = [state.task_id for state in states if (state.size, state.copies) == (size, copy)][:full]
        part = None if seconds is None else seconds * size * len(alike) / weight
        return Job(tuple(alike), size, copy, part)

    def _also(self) -> Sequence[str]:
        """Other weights of which copies may be now: none before it is known what one of the run's own costs."""
        return self.also if self.speeds.seconds("step", 8) else ()

    def _time(self) -> float:
        return self.budget.left() - self.margin

    def _busy(self, worker: int) -> float:
        """Worker seconds that the other workers' jobs will still take."""
        now = self.budget.elapsed()
        return sum(max(0.0, end - now) for other, end in self._ends.items() if other != worker)

    def _fair(self, job: Job) -> float:
        """A job's part of all worker seconds of the budget, by weight."""
        assert self.budget.seconds is not None
        return self.budget.seconds * self.workers * job.size * len(job.task_ids) / self._total

    def _least(self, job: Job) -> float:
        """Seconds in which a job can end at all: one step of every task, and one chunk of views of every test input."""
        step, view = (self.speeds.seconds(what, job.size, job.weights) or 0.0 for what in ("step", "view"))
        chunks = sum(self.inputs.get(task_id, 1) for task_id in job.task_ids)
        return len(job.task_ids) * step + chunks * chunk_views(self.config.predict.chunk, job.size) * view
