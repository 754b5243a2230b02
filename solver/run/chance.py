"""How likely a task is to become right after so many fine-tuning steps, and how worker seconds are best spent on that.

Every doubling of the steps helps less than the one before, and a step costs more on a larger canvas, also where that
canvas shows the same grid zoomed, and with a larger network; but a copy of another kind errs elsewhere. So seconds have
one price: each task is given the steps, of the kind of copy, at which the next second would buy less of a chance than
it buys elsewhere, and a task whose best offer is below the price is given none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

HALF = np.array([np.nan, 25.0, 20.0])
"""By zoom, 1 or 2: steps after which a task whose own canvas is 12 has half of the chance that it ever gets; more on
larger canvases, with their area. From 64 held-out ARC-1 training tasks after 6 to 250 steps (lab log, 36); zoomed, from
48 of them (47)."""

MOST = np.array([np.nan, 1.0, 1.05])
"""By zoom, 1 or 2: the chance that a task ever gets, relative to the one without (lab log, 47)."""

FALL = 2.0
"""Power of the task's own canvas size by which that chance falls: a quarter on one twice as large (lab log, 36)."""

AGAIN = 0.1
"""Part of a copy's chance that a second copy that is as good adds by voting with it (lab log, 36); a third adds a
quarter of that, a fourth a ninth. Of another kind (weights or zoom) it is counted anew, and the first copy counts as a
second."""

ALIKE = 0.8
"""A copy's vote adds that if its chance is such a part of the best of another kind, and no less than of its own."""

OFFERS = 2.0 ** np.arange(3, 15, 0.5)
"""Steps that are weighed against one another."""


def chance(size: np.ndarray | float, steps: np.ndarray | float, zoom: np.ndarray | int = 1) -> np.ndarray:
    """Relative chance that a task whose own canvas is `size` is right after `steps` fine-tuning steps, at a `zoom` of 1
    or 2; broadcasts."""
    size, steps = np.asarray(size), np.asarray(steps)
    return np.asarray(MOST[zoom] * (8.0 / size) ** FALL * steps / (steps + HALF[zoom] * (size / 12.0) ** 2))


class Way(NamedTuple):
    """What a copy of one kind would cost."""

    # canvas cells that a grid cell is a side, 1 or 2; of weights the same steps are taken to be worth the same
    zoom: int
    # seconds of one step
    step: float
    # seconds of its views, whatever the steps
    views: float
    # the best chance of the copies of this kind so far
    reached: float
    # copies of this kind so far
    copies: int


@dataclass(frozen=True)
class Bid:
    """What a task has and what a further copy of it costs."""

    # side of its own canvas, cells
    size: int
    # in which a further copy can be made
    ways: tuple[Way, ...]


class Spent(NamedTuple):
    """By bid, each (N,): `seconds` for it, 0 where it is not worth it; `returns`, what each of them buys; and the
    place of the `way` among the bid's."""

    seconds: np.ndarray
    returns: np.ndarray
    way: np.ndarray


def spend(bids: Sequence[Bid], seconds: float, limit: int) -> Spent:
    """What each of `bids` is given of at most `seconds` in all, no copy being longer than `limit` steps."""
    if not bids:
        return Spent(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    offers = np.minimum(OFFERS, limit)
    most = max(len(bid.ways) for bid in bids)
    # (bids, ways, 1) each; a bid with fewer ways has its last one again, which is never preferred to itself.
    ways = np.array([(bid.ways + bid.ways[-1:] * most)[:most] for bid in bids], dtype=np.float64)
    zoom, step, views, own, copies = np.moveaxis(ways, -1, 0)[..., None]
    size = np.array([bid.size for bid in bids], dtype=np.float64)[:, None, None]
    reached, best = chance(size, offers, zoom.astype(np.int64)), own.max(axis=1, keepdims=True)
    costs = offers * step + views
    votes = reached >= np.maximum(own, ALIKE * best)
    gains = np.maximum(reached - best, 0.0) + np.where(votes, AGAIN * reached / np.maximum(copies, 1.0) ** 2, 0.0)
    flat = gains.reshape(len(bids), -1), costs.reshape(len(bids), -1)
    low, high = 0.0, float((gains / costs).max())
    chosen = cheap = _best(0.0, *flat)
    if cheap[1].sum() > seconds:
        for _ in range(40):
            middle = (low + high) / 2
            if (found := _best(middle, *flat))[1].sum() > seconds:
                low, cheap = middle, found
            else:
                high = middle
        chosen = _filled(_best(high, *flat), cheap, seconds)
    offer, cost, gain = chosen
    return Spent(cost, np.divide(gain, cost, out=np.zeros_like(gain), where=cost > 0.0), offer // len(offers))


Chosen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The place of an offer of every bid, its cost and its gain, each (N,); both are 0 where it is not taken."""


def _best(price: float, gains: np.ndarray, costs: np.ndarray) -> Chosen:
    """Each bid's best offer of (N, offers) when a second costs `price`."""
    profit = gains - price * costs
    best = profit.argmax(axis=1)
    rows = np.arange(len(best))
    worth = profit[rows, best] > 0.0
    return best, np.where(worth, costs[rows, best], 0.0), np.where(worth, gains[rows, best], 0.0)


def _filled(dear: Chosen, cheap: Chosen, seconds: float) -> Chosen:
    """What is chosen when a second is just too dear to spend them all, and of what is chosen when it is just cheap
    enough as much as there is room for. Where many bids are alike that is nearly everything."""
    offer, cost, gain = (values.copy() for values in dear)
    room = seconds - cost.sum()
    returns = np.divide(cheap[2], cheap[1], out=np.zeros_like(gain), where=cheap[1] > 0.0)
    for bid in np.argsort(-returns, kind="stable"):
        if 0.0 < (more := cheap[1][bid] - cost[bid]) <= room:
            offer[bid], cost[bid], gain[bid] = (values[bid] for values in cheap)
            room -= more
    return offer, cost, gain
