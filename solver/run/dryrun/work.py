"""What one job would do: steps, views and seconds, by the rules of `solver.run.job`, `solver.learn.adapt` and
`solver.learn.predict`, from costs instead of a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from solver.learn.predict import chunk_views
from solver.presets import SolveConfig
from solver.run.dryrun.costs import Cost
from solver.run.dryrun.outlook import Outlook
from solver.run.job import parted
from solver.run.log import LogRow
from solver.run.schedule import Job


@dataclass(frozen=True)
class SimTask:
    """A task as far as time goes: canvas `size`, number of test inputs, `slots` (copies adapted at once), and the size
    of the canvas on which it may be `zoomed`."""

    id: str
    size: int
    tests: int
    slots: int
    outlook: Outlook
    zoomed: int | None = None


@dataclass(frozen=True)
class Machine:
    """`costs` and `fits`, copies that fit the memory of one device, by weights, as a log row calls them, and canvas
    size; seconds that a worker process needs to start."""

    costs: dict[tuple[str, int], Cost]
    startup: float
    fits: dict[tuple[str, int], int]


def do(job: Job, tasks: list[SimTask], config: SolveConfig, machine: Machine) -> tuple[float, list[LogRow]]:
    """Seconds the job takes, and a log row for every task, as `solver.run.job.run_job` would give them."""
    slots = [task.slots for task in tasks]
    rows: list[LogRow] = []
    parts = parted(tasks, slots, machine.fits.get((job.weights, job.size), sum(slots)))
    if len(parts) > 1:
        spent, waiting = 0.0, len(tasks)
        for part in parts:
            left = None if job.seconds is None else max(1.0, job.seconds - spent) * len(part) / waiting
            waiting -= len(part)
            seconds, part_rows = do(replace(job, seconds=left), part, config, replace(machine, fits={}))
            spent, rows = spent + seconds, rows + part_rows
        return spent, rows
    cost = machine.costs[job.weights, job.size]
    adapted, steps, settled = _adapt(job, tasks, config, cost)
    now = adapted
    for index, task in enumerate(tasks):
        until = None
        if job.seconds is not None:
            until = now + max(0.0, job.seconds - now) / (len(tasks) - index)
        end, views = _predict(task, job.size, now, until, config, cost)
        row: LogRow = {"task": task.id, "copy": job.copy, "canvas": job.size, "zoom": job.zoom}
        row |= {"weights": job.weights, "steps": steps[index]}
        row |= {"settled": settled[index], "views": views, "predict_seconds": end - now}
        row["adapt_seconds"] = adapted * task.slots / sum(slots)
        rows.append(row)
        now = end
    return now, rows


def _adapt(job: Job, tasks: list[SimTask], config: SolveConfig, cost: Cost) -> tuple[float, list[int], list[bool]]:
    """Seconds for the whole stack, and steps and whether it settled of every task."""
    recipe = config.adapt
    limit = recipe.steps if job.seconds is None else config.budget_steps
    share = None if job.seconds is None else job.seconds * config.adapt_share
    steps, settled = [0] * len(tasks), [False] * len(tasks)
    active = set(range(len(tasks)))
    held, now, taken, progress, first = len(tasks), 0.0, 0, 0.0, cost.setup
    while active:
        one = cost.step + cost.copy * sum(tasks[i].slots for i in active) * held / len(active)
        pace = max(1 / limit, one / share if share else 0.0)
        late = max(pace, (first + one) / share) if share and first else pace  # what the first step adds
        to_end = max(1, 1 + math.ceil((1.0 - progress - late) / pace - 1e-6))
        soon = sorted({s for i in active if (s := tasks[i].outlook.settles) is not None and s > taken})
        count = min([to_end] + [s - taken for s in soon[:1]])
        progress += late + (count - 1) * pace
        now += first + count * one
        taken, first = taken + count, 0.0
        over = count == to_end
        # A copy is settled if its supports were solved, `settle` steps ago, before its decay had begun.
        early = progress - recipe.settle * pace < 1.0 - recipe.decay
        for i in sorted(active):
            done = tasks[i].outlook.settles == taken and early
            if done or over:
                steps[i], settled[i] = taken, done
                active.discard(i)
        if len(active) <= 0.75 * held:
            held = len(active)
    return now, steps, settled


def _predict(
    task: SimTask, size: int, now: float, until: float | None, config: SolveConfig, cost: Cost
) -> tuple[float, list[int]]:
    """When the views of a task's test inputs are done, on canvases of `size`, and how many each has got."""
    views = max(8, config.predict.views // task.slots)
    counts = [0] * task.tests
    for turn in range(task.slots):
        for index in range(task.tests):
            deadline = None
            if until is not None:
                shares = task.slots * task.tests - turn * task.tests - index
                deadline = now + max(0.0, until - now) / shares
            seen = chunks = 0
            while seen < views and not (seen and deadline is not None and now >= deadline):
                part = min(chunk_views(config.predict.chunk, size), views - seen)
                now += cost.chunk + part * cost.view
                seen, chunks = seen + part, chunks + 1
            candidates = min(config.predict.scored, max(1.0, task.outlook.candidates * seen))
            now += candidates * (chunks * cost.score + seen * cost.score_view)
            now += 0.0 if turn else cost.test
            counts[index] += seen
    return now, counts
