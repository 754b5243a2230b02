"""How likely a task is to become right after so many fine-tuning steps, and how worker seconds are best spent on that.

Every doubling of the steps helps less than the one before, and a step costs more on a larger canvas. So seconds have
one price: each task is given the steps at which the next second would buy less of a chance than it buys elsewhere, and
a task whose best offer is below the price is given none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HALF = 25.0
"""Steps after which a task on a canvas of 12 has half of the chance that it ever gets; more on larger canvases, with
their area. From 64 held-out ARC-1 training tasks after 6 to 250 steps (lab log, 36)."""

FALL = 2.0
"""Power of the canvas size by which that chance falls: a quarter on a canvas twice as large (lab log, 36)."""

AGAIN = 0.1
"""Part of a copy's chance that a second copy of as many steps adds by voting with it (lab log, 36); a third adds a
quarter of that, a fourth a ninth."""

OFFERS = 2.0 ** np.arange(3, 15, 0.5)
"""Steps that are weighed against one another."""


def chance(size: np.ndarray | float, steps: np.ndarray | float) -> np.ndarray:
    """Relative chance that a task on a canvas of `size` is right after `steps` fine-tuning steps; broadcasts."""
    size, steps = np.asarray(size), np.asarray(steps)
    return np.asarray((8.0 / size) ** FALL * steps / (steps + HALF * (size / 12.0) ** 2))


@dataclass(frozen=True)
class Bid:
    """What a task has and what a further copy of it costs."""

    # side of its canvas, cells
    size: int
    # steps of its longest copy so far
    steps: int
    # copies so far
    copies: int
    # seconds of one step
    step: float
    # seconds of its views, whatever the steps
    views: float


def spend(bids: Sequence[Bid], seconds: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds for each of `bids`, 0 for what is not worth it, in all at most `seconds`, no copy longer than `limit`
    steps; and what each second of it buys. Both float64 (N,)."""
    if not bids:
        return np.zeros(0), np.zeros(0)
    size, had, copies, step, views = (
        np.array([getattr(bid, name) for bid in bids], dtype=np.float64)[:, None]
        for name in ("size", "steps", "copies", "step", "views")
    )
    offers = np.minimum(OFFERS, limit)[None]
    costs = offers * step + views
    reached = chance(size, offers)
    gains = np.maximum(reached - chance(size, had), 0.0) + np.where(offers >= had, AGAIN * reached / copies**2, 0.0)
    low, high = 0.0, float((gains / costs).max())
    chosen = _at(0.0, gains, costs)
    if chosen[0].sum() > seconds:
        for _ in range(40):
            middle = (low + high) / 2
            if _at(middle, gains, costs)[0].sum() > seconds:
                low = middle
            else:
                high = middle
        chosen = _at(high, gains, costs)
    return chosen


def _at(price: float, gains: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, and gain a second, of each task's best offer (N, offers) when a second costs `price`."""
    profit = gains - price * costs
    best = profit.argmax(axis=1)
    rows = np.arange(len(best))
    worth = profit[rows, best] > 0.0
    return np.where(worth, costs[rows, best], 0.0), np.where(worth, gains[rows, best] / costs[rows, best], 0.0)
