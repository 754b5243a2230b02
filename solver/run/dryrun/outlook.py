"""What nobody can know beforehand: which tasks settle early, and whose views agree. Assumed, or as in another run."""

from __future__ import annotations

from dataclasses import dataclass

from solver.run.log import plain_row
from solver.run.read import Run
from solver.seeds import stable_seed
from voting import RULES


@dataclass(frozen=True)
class Outlook:
    """Of one task: the steps after which it settles, None if it does not; the share of the views that give its best
    candidate; and how many different candidates a view gives, at most 1."""

    settles: int | None = None
    agreement: float = 0.3
    candidates: float = 0.5


EASY = Outlook(settles=60, agreement=1.0, candidates=0.0)
"""Assumed of easy tasks. Of the others, as in runs of the bundled weights so far, half of the views are different
candidates, and their agreement is too small for the task to be left alone."""


def assumed(task_ids: list[str], easy: float) -> dict[str, Outlook]:
    """A share `easy` of the tasks is `EASY`: those that come first in an order that depends on the ids alone."""
    ranked = sorted(task_ids, key=lambda task_id: stable_seed("easy", task_id))
    chosen = set(ranked[: round(easy * len(ranked))])
    return {task_id: EASY if task_id in chosen else Outlook() for task_id in task_ids}


def like(run: Run, sizes: dict[str, int]) -> dict[str, Outlook]:
    """Every task is taken to do as one task of an earlier run did on the same canvas size, or the nearest: which one,
    its id decides. ValueError if the run has answered nothing."""
    seen: dict[int, list[Outlook]] = {}
    for task_id, rows in sorted(run.log.items()):
        first = plain_row(rows)
        pools = [pool for (solved, _), pool in sorted(run.pools.items()) if solved == task_id and len(pool)]
        if first is None or not pools:
            continue
        shares = [RULES["count"](pool)[0].views / pool.total_views for pool in pools]
        wide = max(len(pool) / pool.total_views for pool in pools)
        settles = first["steps"] if first["settled"] else None
        seen.setdefault(first["canvas"], []).append(Outlook(settles, min(shares), wide))
    if not seen:
        raise ValueError(f"{run.directory}: has no answered task to go by")
    outlooks = {}
    for task_id, size in sizes.items():
        known = seen[min(seen, key=lambda met: abs(met - size))]
        outlooks[task_id] = known[stable_seed("like", task_id) % len(known)]
    return outlooks
