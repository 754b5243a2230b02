"""A simulated run in words and tables."""

from __future__ import annotations

import statistics
from collections import defaultdict

from solver.presets import SolveConfig
from solver.run.dryrun.simulate import Result
from solver.run.dryrun.work import Machine

GB = 1e9


def clock(seconds: float) -> str:
    """`43 s`, `12m40s`, `11h39m`."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"


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
        lines.append(f"first answers   all at {clock(first)}{of}")
    of = "" if budget is None else f" of {clock(budget)}"
    lines.append(f"finished        at {clock(result.end)}{of}, workers idle {result.idle(workers):.1%} of that time")
    if budget is not None and result.end < 0.95 * budget:
        left = f"{clock(budget - result.end)} of the budget is not used"
        lines.append(f"                {left}: tasks agree or have their {config.max_copies} copies")
    missing = f": {', '.join(result.unanswered[:8])}" if result.unanswered else ""
    missing += " ..." if len(result.unanswered) > 8 else ""
    lines.append(f"answered        {answered} of {total} tasks; without an answer {len(result.unanswered)}{missing}")
    return "\n".join(lines)


def by_copy(result: Result) -> str:
    """The rounds: a line for the first copies, the second, and so on. Seconds are a task's own share of a device's."""
    groups = defaultdict(list)
    for row in result.rows:
        if "error" not in row:
            groups[row["copy"]].append(row)
    lines = ["copy   tasks   steps min / median / max   views a task   seconds a task"]
    for copy, rows in sorted(groups.items()):
        steps = [row["steps"] for row in rows]
        views = statistics.mean(sum(row["views"]) for row in rows)
        seconds = statistics.mean(row["adapt_seconds"] + row["predict_seconds"] for row in rows)
        span = f"{min(steps)} / {statistics.median(steps):.0f} / {max(steps)}"
        lines.append(f"{copy + 1:4} {len(rows):7} {span:>26} {views:14.0f} {seconds:16.1f}")
    return "\n".join(lines)


def by_size(
    result: Result, machine: Machine, sizes: dict[str, int], stacks: dict[int, int], bytes: dict[int, float] | None
) -> str:
    """The canvases: step and view as a task's share of its stack's, over the whole run. `bytes`: of a stack."""
    spent = defaultdict(lambda: [0.0, 0, 0.0, 0])
    for row in result.rows:
        if "error" not in row:
            total = spent[row["canvas"]]
            total[0] += row["adapt_seconds"]
            total[1] += row["steps"]
            total[2] += row["predict_seconds"]
            total[3] += sum(row["views"])
    lines = ["canvas   tasks   ms a step   ms a view   stack" + ("   memory, estimate" if bytes else "")]
    for size in sorted(set(sizes.values())):
        adapt, steps, predict, views = spent[size]
        step, view = (f"{1e3 * a / b:.1f}" if b else "-" for a, b in ((adapt, steps), (predict, views)))
        count = sum(side == size for side in sizes.values())
        line = f"{size:6} {count:7} {step:>11} {view:>11} {min(stacks[size], machine.fits.get(size, stacks[size])):7}"
        if bytes:
            line += f" {bytes[size] / GB:15.1f} GB"
        if machine.fits.get(size, stacks[size]) < stacks[size]:
            line += f"   (a stack of {stacks[size]} is divided)"
        lines.append(line)
    return "\n".join(lines)


def faults(result: Result, plain: Result) -> str:
    """What each fault cost, and what the run would have been without."""
    lines = []
    for fault, text in zip(result.hit, result.faults, strict=True):
        lines.append(f"fault           {fault.who} died at {clock(fault.seconds)}: {text}")
    a, b = (_sum(r) for r in (plain, result))
    shares = f"{a[0]} copies and {a[1]:,} steps, with faults {b[0]} and {b[1]:,}"
    lines.append(f"in all          without faults {shares}; the end moves by {result.end - plain.end:+.1f} s")
    return "\n".join(lines)


def _sum(result: Result) -> tuple[int, int]:
    good = [row for row in result.rows if "error" not in row]
    return len(good), sum(row["steps"] for row in good)
