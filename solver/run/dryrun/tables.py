"""A simulated run in words and tables."""

from __future__ import annotations

import statistics
from collections import defaultdict

from solver.presets import SolveConfig
from solver.run.canvases import Canvases
from solver.run.dryrun.simulate import Result
from solver.run.dryrun.work import Machine
from solver.run.log import Kind, LogRow, kind
from solver.text import aligned, format_duration

GB = 1e9


def share(budget: float, workers: int, config: SolveConfig, seen: Canvases) -> str:
    """The line that says what a budget is for each task, and what a task's copies may be."""
    zoomed = f"{len(seen.zoomed)} of {len(seen.own)} tasks may be zoomed" if seen.zoomed else "no task is zoomed"
    text = f"a task          {budget * workers / len(seen.own):.1f} worker seconds in the mean, "
    also = f"; further copies of {' and '.join(config.also)} too" if config.also else ""
    return text + f"copies of {config.budget_steps} steps at most; {zoomed}{also}"


def verdict(result: Result, config: SolveConfig, budget: float | None, workers: int, total: int) -> str:
    """When the first round ends, when the run does, and what was left over or out."""
    answered = total - len(result.unanswered)
    lines = []
    if (first := result.first_round) is not None:
        of = ""
        if budget is not None:
            # A job ends with the step and the views that it has begun, so a little later than it should.
            within = "within" if first <= 1.01 * config.first_share * budget else "NOT within"
            of = f", {first / budget:.1%} of the budget: {within} its {config.first_share:.0%}"
        lines.append(f"first answers   all at {format_duration(first)}{of}")
    of = "" if budget is None else f" of {format_duration(budget)}"
    lines.append(
        f"finished        at {format_duration(result.end)}{of}, workers idle {result.idle(workers):.1%} of that time"
    )
    if budget is not None and result.end < 0.95 * budget:
        left = f"{format_duration(budget - result.end)} of the budget is not used"
        lines.append(f"                {left}: tasks agree or have their {config.max_copies} copies")
    missing = f": {', '.join(result.unanswered[:8])}" if result.unanswered else ""
    missing += " ..." if len(result.unanswered) > 8 else ""
    lines.append(f"answered        {answered} of {total} tasks; without an answer {len(result.unanswered)}{missing}")
    return "\n".join(lines)


def by_copy(result: Result) -> str:
    """The rounds: a line each for the first four copies of the tasks, then one for twice as many every time. Seconds
    are a copy's own share of a device's."""
    good = [row for row in result.rows if "error" not in row]
    most = max((row["copy"] + 1 for row in good), default=0)
    groups = defaultdict(list)
    for row in good:
        groups[_round(row["copy"] + 1)].append(row)
    lines = []
    for last, rows in sorted(groups.items()):
        first = last if last <= 4 else last // 2 + 1
        label = str(first) if first == min(last, most) else f"{first} to {min(last, most)}"
        steps = [row["steps"] for row in rows]
        views = statistics.mean(sum(row["views"]) for row in rows)
        seconds = statistics.mean(row["adapt_seconds"] + row["predict_seconds"] for row in rows)
        span = f"{min(steps)} / {statistics.median(steps):.0f} / {max(steps)}"
        zoomed, other = (sum(some) for some in zip(*map(_unusual, rows), strict=True))
        tasks = len({row["task"] for row in rows})
        lines.append((label, tasks, len(rows), zoomed, other, span, f"{views:.0f}", seconds))
    columns = ("copy", "tasks", "copies", "zoomed", "other weights", "steps min / median / max", "views", "seconds")
    return "\n".join(aligned(columns, lines))


def _round(number: int) -> int:
    """The last copy, counted from 1, that stands in one line with the copy of this number."""
    return number if number <= 4 else 1 << (number - 1).bit_length()


def _unusual(row: LogRow) -> tuple[bool, bool]:
    """Whether a copy was zoomed, and made of other weights than the run's own."""
    return kind(row).zoom > 1, kind(row).weights != ""


def by_size(
    result: Result,
    machine: Machine,
    sizes: dict[str, int],
    stacks: dict[tuple[int, int], int],
    bytes: dict[tuple[str, int], float] | None,
) -> str:
    """The canvases: step and view as a task's share of its stack's, over the whole run. `sizes`: every
    task's own. `stacks`: tasks of a full one, by canvas size and zoom. `bytes`: of the largest stack of a size."""
    spent: dict[tuple[int, Kind], list[float]] = defaultdict(lambda: [0.0, 0, 0.0, 0])
    tasks = {(size, Kind()): {task_id for task_id, side in sizes.items() if side == size} for size in sizes.values()}
    for row in result.rows:
        if "error" not in row:
            place = row["canvas"], kind(row)
            tasks.setdefault(place, set()).add(row["task"])
            total = spent[place]
            total[0] += row["adapt_seconds"]
            total[1] += row["steps"]
            total[2] += row["predict_seconds"]
            total[3] += sum(row["views"])
    lines = []
    for (size, of), seen in sorted(tasks.items()):
        adapt, steps, predict, views = spent[size, of]
        step, view = (1e3 * a / b if b else None for a, b in ((adapt, steps), (predict, views)))
        full, largest = stacks[size, of.zoom], max(stack for (side, _), stack in stacks.items() if side == size)
        stack, most = (min(count, machine.fits.get((of.weights, size), count)) for count in (full, largest))
        memory = f"{bytes[of.weights, size] * stack / most / GB:.1f} GB" if bytes else ""
        divided = f"(a stack of {full} is divided)" if stack < full else ""
        label = ", ".join([str(size), *(["zoomed"] if of.zoom > 1 else []), *filter(None, [of.weights])])
        lines.append((label, len(seen), step, view, stack, memory, divided))
    columns = ("canvas", "tasks", "ms a step", "ms a view", "stack", "memory, estimate" if bytes else "", "")
    return "\n".join(aligned(columns, lines, left=("",)))


def faults(result: Result, plain: Result) -> str:
    """What each fault cost, and what the run would have been without."""
    lines = []
    for fault, text in zip(result.hit, result.faults, strict=True):
        lines.append(f"fault           {fault.who} died at {format_duration(fault.seconds)}: {text}")
    a, b = (_sum(r) for r in (plain, result))
    shares = f"{a[0]} copies and {a[1]:,} steps, with faults {b[0]} and {b[1]:,}"
    lines.append(f"in all          without faults {shares}; the end moves by {result.end - plain.end:+.1f} s")
    return "\n".join(lines)


def _sum(result: Result) -> tuple[int, int]:
    good = [row for row in result.rows if "error" not in row]
    return len(good), sum(row["steps"] for row in good)
