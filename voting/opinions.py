"""Answers of several solvers in one pool: what each says, how much that weighs, and which two answers come of it.

A solver speaks by name for grids, each with a weight of at most its own: one whose views are known, for every grid
with the share of their confidence; one of which only two attempts are known, for the first with all of its weight and
for the second with SECOND of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from voting.candidates import Candidate, Pool

SECOND = 0.5


def give_opinion(pool: Pool, name: str, weight: float, answer: Pool | Sequence[np.ndarray]) -> None:
    """Adds what a solver says to `pool`: its own pool of the same test input, or its attempts, best first.

    ValueError for a weight that is not positive, or if this solver has spoken already.
    """
    if not weight > 0:
        raise ValueError(f"the weight of {name} must be above 0, not {weight}")
    if any(name in candidate.opinions for candidate in pool.candidates):
        raise ValueError(f"{name} speaks twice for the same test input")
    if isinstance(answer, Pool):
        shares = [(c.grid, c.confidence_sum / answer.total_views) for c in answer.candidates if c.views]
    else:
        shares = [(grid, SECOND**place) for place, grid in enumerate(answer)]
    for grid, share in shares:
        candidate = pool.propose(grid)
        candidate.opinions.setdefault(name, weight * share)


def second_opinion(pool: Pool) -> list[Candidate]:
    """The candidates of a pool with opinions, best first; the first two are the attempts.

    The first is the one with most weight behind it, summed over the solvers; but where the pool's own views are sure,
    the views' best. The second is a second opinion: of the solvers whose favourite is another grid than the first, the
    favourite with most weight behind it. All others follow by their weight. Ties fall to views, then to the mean
    log-probability, then to the candidate seen first; without opinions it is the order of the views' confidence.
    """
    ranked = sorted(pool.candidates, key=_weight, reverse=True)
    if pool.sure:
        best = max(ranked, key=lambda candidate: (candidate.confidence_sum, candidate.views))
        ranked.remove(best)
        ranked.insert(0, best)
    favourites = [favourite for favourite in _favourites(ranked).values() if favourite is not ranked[0]]
    if favourites:
        second = min(favourites, key=ranked.index)
        ranked.remove(second)
        ranked.insert(1, second)
    return ranked


def _favourites(ranked: Sequence[Candidate]) -> Mapping[str, Candidate]:
    """Solver -> the candidate that it gives most weight; of equal ones the first in `ranked`."""
    best: dict[str, Candidate] = {}
    for candidate in ranked:
        for name, weight in candidate.opinions.items():
            if name not in best or weight > best[name].opinions[name]:
                best[name] = candidate
    return best


def _weight(candidate: Candidate) -> tuple[float, float, int, float]:
    # Summed in the order of size, so that the order of the solvers does not matter.
    total = sum(sorted(candidate.opinions.values()))
    return total, candidate.confidence_sum, candidate.views, candidate.mean_log_prob
