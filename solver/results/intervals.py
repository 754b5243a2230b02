"""How sure a score is: intervals for proportions and means, and an exact test for two runs on equal tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, all three on the same scale; `low` <= `value` <= `high`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As per cent, 22 characters wide: ` 12.5%  [  9.6,  16.1]`."""
        return f"{self.value:6.1%}  [{100 * self.low:5.1f}, {100 * self.high:5.1f}]"


def wilson(hits: int, total: int, level: float = LEVEL) -> Estimate:
    """The proportion hits / total with Wilson's interval; ValueError unless 0 <= hits <= total and total > 0.

    Unlike the textbook interval it stays inside [0, 1] and does not claim certainty at 0 of n or n of n.
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"{hits} of {total} is no proportion")
    z = float(ndtri(0.5 + level / 2))
    share, shrink = hits / total, 1 + z * z / total
    centre = (share + z * z / (2 * total)) / shrink
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / shrink
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def bootstrap_mean(values: Sequence[float], level: float = LEVEL, draws: int = 10_000, seed: int = 0) -> Estimate:
    """The mean with its percentile bootstrap interval; ValueError for no values.

    Each draw is a resample of the values with replacement. Values repeat (most tasks score 0 or 1), so a
    resample is drawn as how often each distinct value occurs, which is the same and takes no memory.
    """
    if len(values) == 0:
        raise ValueError("no values to take the mean of")
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    total, generator = len(values), np.random.default_rng(seed)
    means = generator.multinomial(total, counts / total, size=draws) @ distinct / total
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    mean = float(np.mean(values))
    return Estimate(mean, min(mean, float(low)), max(mean, float(high)))


def mean_share(shares: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean of shares in [0, 1], bootstrapped over them.

    Where all are 0 or all are 1 a bootstrap knows no other value and would claim certainty; there the
    interval is Wilson's. ValueError for no shares.
    """
    total = sum(shares)
    if len(shares) and total in (0, len(shares)):
        return wilson(int(total), len(shares), level)
    return bootstrap_mean(shares, level)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two paired runs are equally good.

    The arguments count the tasks that only one of the runs solved; without any the p-value is 1. ValueError
    for a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are no counts")
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest  # half a second to import, and only comparisons need it

    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
