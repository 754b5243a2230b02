"""Zoomed copies: which tasks may be, and that a job that says so is one from fine-tuning to the pools."""

from dataclasses import replace

import pytest
import torch

import solver.run.job
from solver import presets
from solver.arc import datasets
from solver.learn.canvas import zoomed_canvas
from solver.learn.predict import PredictConfig
from solver.run.canvases import canvases
from solver.run.job import run_job
from solver.run.log import own_canvas
from solver.run.schedule import Job
from solver.weights import checkpoint
from voting import Pool, merged

CPU = torch.device("cpu")
SHORT = replace(presets.chosen("cpu", "random:nano", steps=2), predict=PredictConfig(views=4, chunk=4))


@pytest.fixture(scope="module")
def tasks():
    return datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=10)


@pytest.mark.parametrize(
    ("weights", "zoom", "some"),
    [
        ("random:nano", True, True),
        ("random:nano", False, False),
        ("random:toy", True, False),  # its patches are single cells
        ("random:trm-mlp-nano", True, False),  # made for one canvas size
    ],
)
def test_tasks_are_zoomed_where_a_patch_can_be_one_of_their_cells(tasks, weights, zoom, some):
    found = canvases(tasks, replace(SHORT, weights=weights, may_zoom=zoom))
    assert set(found.own) == {task.id for task in tasks}
    assert found.zoomed == ({task.id: zoomed_canvas(task) for task in tasks} if some else {})
    every = found.by_size(tasks)
    assert {task.id for alike in every.values() for task in alike} == set(found.own)
    assert set(every) == {*found.own.values(), *found.zoomed.values()}


@pytest.mark.parametrize("most", [10, 1])
def test_a_zoomed_job_fine_tunes_and_looks_zoomed_in_a_stack_and_in_halves_of_one(tasks, most, monkeypatch):
    heard = []

    def adapting(network, slots, size, recipe, **rest):
        if len(slots) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        heard.append((size, recipe.augmentation.zoom))
        return adapt(network, slots, size, recipe, **rest)

    def looking(network, task, index, size, config, **rest):
        heard.append((size, config.zoom))
        return predict(network, task, index, size, config, **rest)

    adapt, predict = solver.run.job.adapt, solver.run.job.predict
    monkeypatch.setattr(solver.run.job, "adapt", adapting)
    monkeypatch.setattr(solver.run.job, "predict", looking)
    job = Job(tuple(task.id for task in tasks[:2]), 24, 1, zoom=2)
    network = checkpoint.load("random:nano")
    outcomes = run_job(network, tasks[:2], job, SHORT, seed=0, device=CPU, dtype=torch.float32)
    assert set(heard) == {(24, 2)}
    for outcome, task in zip(outcomes, tasks[:2], strict=True):
        assert (outcome.row["canvas"], outcome.row["zoom"]) == (24, 2)
        assert outcome.pools is not None
        assert [pool.zoom for pool in outcome.pools] == [2] * len(task.test_inputs)
        assert max(len(line) for strip in outcome.row["trace"] for canvas in strip for line in canvas) <= 12


def test_few_zoomed_steps_stand_beside_many_that_are_not():
    pools = [Pool(400), Pool(100), Pool(90, zoom=2), Pool(20, zoom=2)]
    for pool in pools:
        pool.add_undecoded()
    assert merged(pools).total_views == 2


def test_a_tasks_own_canvas_is_that_of_a_copy_that_was_not_zoomed():
    assert own_canvas([]) is None
    rows = [("a", 2, 24, 2), ("a", 1, 12, 1), ("a", 3, 24, 2)]
    assert own_canvas([{"task": a, "copy": b, "canvas": c, "zoom": d} for a, b, c, d in rows]) == 12
    assert own_canvas([{"task": "a", "copy": 0, "error": "no"}, {"task": "a", "copy": 1, "canvas": 8}]) == 8
