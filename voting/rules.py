"""Ranking rules: from a candidate pool to an order, and from an order to the two attempts.

A rule takes a `Pool` and returns its candidates, best first. Ties fall to the number of views, then to the
mean log-probability per cell, then to the candidate seen first, so the same pool always gives the same order.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from voting.candidates import Candidate, Pool, as_grid
from voting.opinions import second_opinion


def count(pool: Pool) -> list[Candidate]:
    """Most views first."""
    return _ranked(pool, lambda candidate: candidate.views)


def confidence(pool: Pool) -> list[Candidate]:
    """Highest sum over views of exp(mean log-probability per cell) first: a sure view's vote weighs more."""
    return _ranked(pool, lambda candidate: candidate.confidence_sum)


def product(pool: Pool) -> list[Candidate]:
    """Highest log-likelihood under all views first: a product of experts, each view one expert.

    With one fine-tuned copy whose views have all scored every candidate, this is exactly the order of
    `log_likelihood`. Over merged copies the product has gaps: the other copy may never have scored a grid
    that one copy proposed. Treating the gap as agreement would favour grids that only one copy believes in;
    treating it as the worst score seen would let junk that both copies share pass the favourite of either.
    So copies are mixed, not multiplied:

        score = log(sum over copies of n * exp(l / n))

    where l is the log-likelihood summed over the n views of that copy that scored the grid: a product within
    a copy, whose views share their weights, and a mixture across copies, which were tuned apart. A copy that
    has not scored a grid adds nothing to it, and a copy that fits its task badly is quiet rather than a veto.
    Candidates that nobody scored come last.
    """
    return _ranked(pool, _mixture)


def halt(pool: Pool) -> list[Candidate]:
    """Most views first, and among equals the highest mean probability of being exact, by the network's own halting
    head: TRM's rule. Where the network has no such head this is `count`."""
    return _ranked(pool, lambda candidate: (candidate.views, candidate.mean_halt))


RULES: dict[str, Callable[[Pool], list[Candidate]]] = {
    "count": count,
    "confidence": confidence,
    "product": product,
    "halt": halt,
}
ALL_RULES = RULES | {"merge": second_opinion}
"""The rules by which a run may vote, and that of pools with the opinions of several solvers."""


def two_attempts(pool: Pool, rule: str, fallback: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The two best candidates of `pool` under `rule` (a name in ALL_RULES), as two different uint8 grids (H, W).

    What the pool lacks comes from `fallback`, in its order; if that only repeats the first attempt, the
    second is the first with its top left cell changed. ValueError for an unknown rule, or if there is no
    grid at all.
    """
    if rule not in ALL_RULES:
        raise ValueError(f"unknown voting rule {rule!r}; there are {', '.join(ALL_RULES)}")
    grids = [candidate.grid for candidate in ALL_RULES[rule](pool)[:2]]
    if len(grids) < 2:
        grids += [as_grid(grid) for grid in fallback]
    if not grids:
        raise ValueError("an empty pool needs at least one fallback grid")
    first = grids[0].copy()
    for grid in grids[1:]:
        if not np.array_equal(grid, first):
            return first, grid.copy()
    second = first.copy()
    second[0, 0] = (first[0, 0] + 1) % 10
    return first, second


def _ranked(pool: Pool, score: Callable[[Candidate], float | tuple[float, float]]) -> list[Candidate]:
    # reverse=True keeps equal candidates in their first-seen order.
    return sorted(pool.candidates, key=lambda c: (score(c), c.views, c.mean_log_prob), reverse=True)


def _mixture(candidate: Candidate) -> float:
    terms = [math.log(views) + value / views for value, views in candidate.likelihoods]
    if not terms:
        return -math.inf
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))
