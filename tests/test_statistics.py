"""Intervals and tests against scipy's own, a brute-force bootstrap, and sums done by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from solver.results.intervals import bootstrap_mean, mcnemar, mean_share, wilson


@pytest.mark.parametrize(("hits", "total"), [(0, 1), (0, 400), (1, 2), (7, 16), (399, 400), (400, 400)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_wilson_is_scipys(hits, total, level):
    found, theirs = wilson(hits, total, level), binomtest(hits, total).proportion_ci(level, method="wilson")
    assert found.value == hits / total
    assert found.low == pytest.approx(theirs.low, abs=1e-9)
    assert found.high == pytest.approx(theirs.high, abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_proportion(hits, total):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(hits, total)


def test_the_bootstrap_agrees_with_resampling_one_by_one():
    rng = np.random.default_rng(5)
    shares = rng.choice([0.0, 0.5, 1 / 3, 1.0], 60, p=[0.6, 0.1, 0.1, 0.2])
    means = [np.mean(rng.choice(shares, len(shares))) for _ in range(20_000)]
    found, (low, high) = bootstrap_mean(shares.tolist()), np.quantile(means, [0.025, 0.975])
    assert found.value == pytest.approx(shares.mean())
    # One task is 1/60 = 0.017; the two random resamplings differ by far less.
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_the_bootstrap_approaches_the_normal_interval():
    values = np.random.default_rng(1).random(2000)
    half = 1.959964 * values.std() / math.sqrt(len(values))
    found = bootstrap_mean(values.tolist(), draws=4000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_the_bootstrap_repeats_itself_and_follows_its_seed():
    shares = [0, 0, 0, 1, 0.5, 1, 0, 1]
    assert bootstrap_mean(shares) == bootstrap_mean(shares)
    assert bootstrap_mean(shares, draws=50) != bootstrap_mean(shares, draws=50, seed=1)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])


def test_nothing_solved_is_not_certainty():
    assert bootstrap_mean([0.0] * 12).high == 0
    assert mean_share([0.0] * 12) == wilson(0, 12)
    assert mean_share([1.0] * 12) == wilson(12, 12)
    assert mean_share([0.0, 0.5, 1.0]) == bootstrap_mean([0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match="no values"):
        mean_share([])


@pytest.mark.parametrize(
    ("only_first", "only_second", "by_hand"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),  # both tails of 5 heads in 5
        (1, 5, 2 * (1 + 6) / 64),
        (2, 9, 2 * (1 + 11 + 55) / 2048),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(only_first, only_second, by_hand):
    assert mcnemar(only_first, only_second) == pytest.approx(by_hand)
    assert mcnemar(only_second, only_first) == pytest.approx(by_hand)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="no counts"):
        mcnemar(-1, 2)
