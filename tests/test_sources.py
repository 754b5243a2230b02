"""What is trained on: the leak rules, on the real sets, and where data files are looked for."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solver.arc import datasets
from solver.arc.hashing import canonical_hashes, pair_hashes
from solver.training.files import FILES, locate
from solver.training.sources import collect

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("TINYARC_DATA", Path(__file__).parents[2] / "shared" / "data"))
FAMILIES = ("mini", "1d", "tama")


@pytest.mark.parametrize("target", ["arc1-eval", "arc2-eval"])
def test_nothing_is_trained_on_that_shares_a_pair_with_what_is_scored_or_held_out(target):
    paths: dict[str, Any] = {source: DATA / name for source, name in FILES.items()}
    found = collect(target, **{s: p for s, p in paths.items() if p.exists()}, families=FAMILIES)
    assert set(found.pairs.task.tolist()) == set(range(len(found.pairs.ids)))  # no row that is never trained
    again = canonical_hashes(found.pairs.shapes, found.pairs.cells, found.pairs.offsets)
    np.testing.assert_array_equal(again, found.hashes)
    scored, train1 = datasets.load(target), datasets.load("arc1-train")
    held_out = set(datasets.held_out(train1))
    trained = set(found.hashes.tolist())
    for data, ids in ((scored, None), (train1, held_out)):
        for task_id, hashes in pair_hashes(data.tasks, data.solutions).items():
            assert (ids is not None and task_id not in ids) or trained.isdisjoint(hashes), task_id
    names = {found.pairs.ids[row] for row in np.unique(found.pairs.task)}
    assert names.isdisjoint(held_out)
    if target == "arc1-eval":
        assert names.isdisjoint(datasets.LEAKING)
    assert len(found.validation) > 200
    checked = canonical_hashes(found.validation.shapes, found.validation.cells, found.validation.offsets)
    assert trained.isdisjoint(checked.tolist())


def test_for_arc2_all_is_trained_on_that_does_not_leak():
    found = collect("arc2-eval")
    names = set(found.pairs.ids[np.unique(found.pairs.task)].tolist())
    ids = {name: {task.id for task in datasets.load(name).tasks} for name in datasets.SOURCES}
    held_out = set(datasets.held_out(datasets.load("arc1-train")))
    # Every support of these is the task's own test pair, recoloured or turned, and that validates.
    repeating = {"0d3d703e", "4522001f", "bda2d7a6", "e9afcf9a"}
    assert (ids["arc1-train"] | ids["arc2-train"]) - held_out - names == repeating
    # Of ARC-1 evaluation, six tasks are in ARC-2 evaluation and one shares pairs with a task there.
    shared = ids["arc1-eval"] & ids["arc2-eval"]
    assert len(shared) == 6
    assert ids["arc1-eval"] - names == shared | {"55783887"}


def test_a_data_file_that_is_named_must_exist_and_one_that_is_not_is_done_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINYARC_DATA", raising=False)
    heard: list[str] = []
    assert locate("arcgen", None, heard.append) is None
    assert heard == ["arcgen.npz is not here, so it is done without: tinyarc data arcgen makes it (docs/data.md)"]
    with pytest.raises(ValueError, match="there is no such file"):
        locate("arcgen", Path("elsewhere.npz"), heard.append)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "arcgen.npz").touch()
    assert locate("arcgen", None, heard.append) == Path("data/arcgen.npz")
    assert locate("arcgen", Path("none"), heard.append) is None
    assert len(heard) == 1
