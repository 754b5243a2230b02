"""Candidate pools, their file, and the ranking rules, against formulations that never merge anything."""

import math

import numpy as np
import pytest

from voting import RULES, Pool, append_copy, load_copies, load_pools, merged, save_pools, two_attempts


def grids(rng, n):
    """n different small grids, some of which differ in shape alone."""
    found: dict[tuple[tuple[int, ...], bytes], np.ndarray] = {}
    while len(found) < n:
        grid = rng.integers(0, 2, rng.integers(1, 4, 2), dtype=np.uint8)
        found[grid.shape, grid.tobytes()] = grid
    return list(found.values())


def random_pool(rng, answers=None):
    """A pool, with the ballots and likelihoods it was made from."""
    answers = grids(rng, 5) if answers is None else answers
    cast = rng.integers(len(answers), size=rng.integers(1, 20)).tolist()
    ballots = [(which, -rng.exponential()) for which in cast]
    likelihoods = -rng.exponential(30, (len(answers), 7))
    pool = Pool()
    for which, log_prob in ballots:
        pool.add(answers[which].astype(rng.choice(["u1", "i8"])), log_prob)
    pool.add_undecoded(2)
    for which in {which for which, _ in ballots}:
        pool.add_likelihood(answers[which], likelihoods[which, :3].sum(), 3)
        pool.add_likelihood(answers[which], likelihoods[which, 3:].sum(), 4)
    return pool, answers, ballots, likelihoods


def contents(pool):
    rows = [{**vars(c), "grid": c.grid.tolist(), "likelihoods": list(c.likelihoods)} for c in pool.candidates]
    return pool.total_views, pool.copies, rows, (pool.steps, pool.settled, pool.zoom, pool.weights)


@pytest.mark.parametrize("seed", range(10))
def test_rules_agree_with_the_raw_ballots(seed):
    pool, answers, ballots, likelihoods = random_pool(np.random.default_rng(seed))
    assert pool.total_views == len(ballots) + 2
    given = {which: [lp for w, lp in ballots if w == which] for which, _ in ballots}
    scores = {
        "count": lambda which: (len(given[which]), np.mean(given[which])),
        "confidence": lambda which: np.exp(given[which]).sum(),
        "product": lambda which: likelihoods[which].sum(),
        "halt": lambda which: (len(given[which]), np.mean(given[which])),  # no network said how sure it is
    }
    for name, rule in RULES.items():
        expected = [answers[which].tolist() for which in sorted(given, key=scores[name], reverse=True)]
        assert [c.grid.tolist() for c in rule(pool)] == expected, name


def test_halt_breaks_ties_of_views_by_the_networks_own_word_and_survives_the_file(tmp_path):
    a, b, c = (np.full((1, 1), color, np.uint8) for color in range(3))
    pool = Pool()
    for grid, log_prob, halt in [(a, -0.1, 0.2), (a, -0.1, 0.3), (b, -3.0, 0.9), (b, -3.0, 0.5), (c, -0.1, 1.0)]:
        pool.add(grid, log_prob, halt)
    assert [x.grid.item() for x in RULES["halt"](pool)] == [1, 0, 2]
    assert [x.grid.item() for x in RULES["count"](pool)] == [0, 1, 2]
    save_pools(tmp_path / "pools.jsonl", {("t", 0): pool})
    again = load_pools(tmp_path / "pools.jsonl")["t", 0]
    assert contents(again) == contents(pool)
    again.merge(pool)
    assert [x.grid.item() for x in RULES["halt"](again)] == [1, 0, 2]
    found = again.get(b)
    assert found is not None
    assert found.mean_halt == pytest.approx(0.7)
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        pool.add(a, -1.0, 1.5)


def test_ties_fall_to_views_then_log_prob_then_first_seen():
    a, b, c, d = (np.full((1, 1), color, np.uint8) for color in range(4))
    pool = Pool()
    for grid, log_prob in [(a, -1.0), (b, -1.0), (c, -0.5), (d, -2.0), (d, -2.0)]:
        pool.add(grid, log_prob)
    for grid in (d, c, b, a):
        pool.add_likelihood(grid, -10.0, 5)
    for name in ("count", "product", "halt"):
        assert [x.grid.item() for x in RULES[name](pool)] == [3, 2, 0, 1], name
    tied = Pool()
    for grid in (b, d, a, c):
        tied.add(grid, -1.0)
    for name, rule in RULES.items():
        assert [x.grid.item() for x in rule(tied)] == [1, 3, 0, 2], name


@pytest.mark.parametrize("rule", RULES)
def test_two_attempts_always_differ(rule):
    rng = np.random.default_rng(0)
    for _ in range(200):
        pool, few = Pool(), grids(rng, 2)
        for _ in range(rng.integers(0, 3)):
            pool.add(few[rng.integers(2)], -1.0)
        fallback = [few[i] for i in rng.integers(0, 2, rng.integers(0 if len(pool) else 1, 3))]
        first, second = two_attempts(pool, rule, fallback)
        assert first.dtype == second.dtype == np.uint8
        assert not np.array_equal(first, second)
        assert second.max() <= 9
        if len(pool) == 1:
            assert np.array_equal(first, pool.candidates[0].grid)
            others = [grid for grid in fallback if not np.array_equal(grid, first)]
            assert not others or np.array_equal(second, others[0])
    with pytest.raises(ValueError, match=r"'best'.*count, confidence, product, halt"):
        two_attempts(pool, "best", fallback)
    with pytest.raises(ValueError, match="fallback"):
        two_attempts(Pool(), rule, [])


def test_merge_counts_every_view_of_both_and_leaves_the_other_alone():
    rng = np.random.default_rng(3)
    answers = grids(rng, 6)
    left, _, left_ballots, _ = random_pool(rng, answers)
    right, _, right_ballots, _ = random_pool(rng, answers)
    before = contents(right)
    merged = Pool()
    for which, log_prob in left_ballots + right_ballots:
        merged.add(answers[which], log_prob)
    expected_likelihoods: dict[bytes, list[float]] = {}
    for pool in (left, right):
        for c in pool.candidates:
            expected_likelihoods.setdefault(c.grid.tobytes() + bytes(c.grid.shape), []).extend(c.likelihoods)
    left.merge(right)
    assert contents(right) == before
    assert (left.total_views, left.copies) == (len(left_ballots) + len(right_ballots) + 4, 2)
    for c, same in zip(left.candidates, merged.candidates, strict=True):
        assert np.array_equal(c.grid, same.grid)
        assert c.views == same.views
        assert c.mean_log_prob == pytest.approx(same.mean_log_prob)
        assert c.likelihoods == expected_likelihoods[c.grid.tobytes() + bytes(c.grid.shape)]
        assert c.scored_views == 7 * len(c.likelihoods)
    with pytest.raises(ValueError, match="merges 2"):
        left.add_likelihood(answers[0], -1.0, 1)
    with pytest.raises(ValueError, match="itself"):
        right.merge(right)


def test_merged_product_is_fooled_neither_by_gaps_nor_by_shared_junk():
    a, b, junk, silent = (np.full((2, 2), color, np.uint8) for color in range(4))
    left, right = Pool(), Pool()
    # Each copy has a favourite that the other never scored; both know the same junk, and left a worse one.
    for pool, grid, mean in [(left, a, -0.5), (right, b, -2.0), (left, junk, -90.0), (right, junk, -100.0)]:
        pool.add(grid, -0.1)
        pool.add_likelihood(grid, mean * 32, 32)
    left.add(silent, -0.1)
    left.merge(right)
    assert [c.grid[0, 0] for c in RULES["product"](left)] == [0, 1, 2, 3]
    # The score of a grid that both copies scored, spelled out, and a rival just above and just below it.
    mixture = math.log(4 * math.exp(-8 / 4) + 1 * math.exp(-3 / 1))
    for edge, order in [(1e-9, [1, 0]), (-1e-9, [0, 1])]:
        both, other = Pool(), Pool()
        both.add_likelihood(a, -8.0, 4)
        other.add_likelihood(a, -3.0, 1)
        other.add_likelihood(b, mixture + edge, 1)
        both.merge(other)
        assert [c.grid[0, 0] for c in RULES["product"](both)] == order


def test_pool_refuses_what_is_no_grid_or_no_log_probability():
    pool, good = Pool(), np.zeros((2, 2), np.uint8)
    no_colors = (np.full((2, 2), 10), np.full((2, 2), -1), good / 2, good > 0)
    for bad in (np.zeros(4, int), np.zeros((0, 3), int), *no_colors):
        with pytest.raises(ValueError, match="a grid"):
            pool.add(bad, -1.0)
    for value in (math.nan, -math.inf, 0.5):
        with pytest.raises(ValueError, match="log-probability"):
            pool.add(good, value)
    assert (len(pool), pool.total_views) == (0, 0)
    assert pool.get(good) is None
    assert pool.add(good, 1e-6).log_prob_sum == 0.0
    found = pool.get(good.astype(int))
    assert found is not None
    assert found.views == 1


def test_pools_survive_the_file(tmp_path):
    rng = np.random.default_rng(1)
    pools = {(f"task{i}", i % 2): random_pool(rng)[0] for i in range(6)}
    pools["task0", 0].merge(pools["task2", 0])
    pools["empty", 0], pools["other", 0] = Pool(), Pool(20, True, 2, "small")
    path = tmp_path / "pools.jsonl"
    save_pools(path, pools)
    assert b'"grid":["' in path.read_bytes()
    assert {key: contents(pool) for key, pool in load_pools(path).items()} == {
        key: contents(pool) for key, pool in pools.items()
    }
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_append_costs_one_copy_at_most(tmp_path):
    rng = np.random.default_rng(2)
    first, second, third = (random_pool(rng)[0] for _ in range(3))
    path = tmp_path / "pools.jsonl"
    append_copy(path, "a", 0, [first])
    whole = path.read_bytes()
    append_copy(path, "b", 0, [second])
    longer = path.read_bytes()
    for cut in range(len(whole), len(longer)):
        path.write_bytes(longer[:cut])
        # Without its line break alone, the last line is still whole.
        assert list(load_pools(path)) == [("a", 0), ("b", 0)][: 2 if cut == len(longer) - 1 else 1]
    for cut in (len(whole) + 9, len(longer) - 1, len(longer)):
        path.write_bytes(longer[:cut])
        append_copy(path, "a", 0, [third])  # the same copy again: the later line counts
        loaded = load_pools(path)
        assert contents(loaded["a", 0]) == contents(third)
        assert (("b", 0) in loaded) == (cut >= len(longer) - 1)


def test_copies_are_merged_on_reading_and_quick_ones_give_way(tmp_path):
    rng = np.random.default_rng(5)
    answers = grids(rng, 5)
    quick, long, more, settled = (random_pool(rng, answers)[0] for _ in range(4))
    quick.steps, long.steps, more.steps, settled.steps = 20, 61, 200, 5
    settled.settled = True
    path = tmp_path / "pools.jsonl"
    append_copy(path, "a", 0, [quick, settled])
    append_copy(path, "a", 1, [long, more])
    assert set(load_copies(path)["a", 0]) == {0, 1}
    loaded = load_pools(path)
    assert contents(loaded["a", 0]) == contents(long)  # 20 steps are less than a third of 61
    assert contents(loaded["a", 1]) == contents(merged([settled, more]))  # few steps, but they were enough
    assert loaded["a", 1].total_views == settled.total_views + more.total_views
    assert contents(merged([long, more]))[0] == more.total_views  # 61 against 200
    assert contents(load_pools(path, {("a", 0)})["a", 0]) == contents(quick)
    assert not load_pools(path, set())
    quick.weights = "small"
    assert contents(merged([quick, more]))[0] == quick.total_views + more.total_views  # steps of another network
    with pytest.raises(ValueError, match="no pool"):
        merged([])


def test_a_broken_line_elsewhere_is_named(tmp_path):
    path = tmp_path / "pools.jsonl"
    save_pools(path, {("a", 0): random_pool(np.random.default_rng(4))[0]})
    line = path.read_bytes()
    for bad in (line[:30] + b"\n", line.replace(b'"grid":["', b'"grid":["x'), b"{}\n"):
        path.write_bytes(line + bad + line)
        with pytest.raises(ValueError, match="line 2"):
            load_pools(path)
