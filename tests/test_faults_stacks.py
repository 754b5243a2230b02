"""What a stack of tasks costs when one of them, or the memory, fails it: never more than that task."""

from dataclasses import replace

import pytest
import torch

import solver.learn.adapt
import solver.run.job
from solver import presets
from solver.arc import datasets
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.run.job import run_job
from solver.run.schedule import Job
from solver.weights import checkpoint

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOY = replace(
    presets.cpu().of("random:toy"),
    adapt=AdaptConfig(steps=3, batch=2),
    predict=PredictConfig(views=8, chunk=8),
)


@pytest.fixture(scope="module")
def tasks():
    return datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=6)


def stack_of(tasks, config=TOY):
    network = checkpoint.load("random:toy")
    job = Job(tuple(task.id for task in tasks), 12)
    return run_job(network, tasks, job, config, seed=0, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("weights", ["random:toy", "random:trm-mlp-nano", "random:ierm-nano"])
def test_a_warm_up_runs_with_every_kind_of_network_and_leaves_it_as_it_was(weights):
    network = checkpoint.load(weights)
    before = [parameter.clone() for parameter in network.parameters()]
    solver.run.job.warm_up(network, TOY, device=CPU, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_what_fails_in_a_warm_up_is_left_to_the_first_job(tasks, monkeypatch):
    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(solver.run.job, "adapt", refuse)
    network = checkpoint.load("random:toy")
    solver.run.job.warm_up(network, TOY, device=CPU, dtype=torch.float32)
    (outcome,) = run_job(network, tasks[:1], Job((tasks[0].id,), 12), TOY, seed=0, device=CPU, dtype=torch.float32)
    assert "out of memory" in outcome.row["error"]


def test_a_task_whose_loss_is_not_finite_fails_alone_and_says_so(tasks, monkeypatch):
    whole = solver.learn.adapt.stack

    def poisoned(network, count, device):
        stacked = whole(network, count, device)
        with torch.no_grad():
            for weights in stacked.parameters():
                weights[1] = float("nan")
        return stacked

    monkeypatch.setattr(solver.learn.adapt, "stack", poisoned)
    outcomes = stack_of(tasks[:3])
    assert [outcome.task_id for outcome in outcomes] == [task.id for task in tasks[:3]]
    assert [outcome.pools is None for outcome in outcomes] == [False, True, False]
    assert "loss is not finite" in outcomes[1].row["error"]
    assert all(pool.total_views == 8 for n in (0, 2) for pool in outcomes[n].pools)


@pytest.mark.parametrize("fitting", [1, 2])
def test_out_of_memory_halves_the_stack_until_it_fits_and_all_are_answered(tasks, monkeypatch, fitting):
    whole, tried = solver.run.job.adapt, []

    def adapt(network, slots, *rest, **named):
        tried.append(len(slots))
        if len(slots) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return whole(network, slots, *rest, **named)

    monkeypatch.setattr(solver.run.job, "adapt", adapt)
    outcomes = stack_of(tasks)
    assert [outcome.task_id for outcome in outcomes] == [task.id for task in tasks]
    assert all("error" not in outcome.row and outcome.pools for outcome in outcomes)
    assert tried == ([4, 2, 1, 1, 2, 1, 1] if fitting == 1 else [4, 2, 2])


def test_a_task_that_fits_no_memory_fails_alone(tasks, monkeypatch):
    whole, big = solver.run.job.adapt, tasks[2].support

    def adapt(network, slots, *rest, **named):
        if any(slot.pairs is big for slot in slots):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return whole(network, slots, *rest, **named)

    monkeypatch.setattr(solver.run.job, "adapt", adapt)
    outcomes = stack_of(tasks)
    assert [outcome.pools is None for outcome in outcomes] == [False, False, True, False]
    assert outcomes[2].row["error"].startswith("OutOfMemoryError: CUDA out of memory. Tried")


def test_another_error_than_a_lack_of_memory_halves_nothing_and_its_traceback_is_kept(tasks, monkeypatch):
    """One task of four breaks its stack: then each is done alone, and the rows of all tell of it."""
    whole, broken, tried = solver.run.job.adapt, tasks[1].support, []

    def adapt(network, slots, *rest, **named):
        tried.append(len(slots))
        if any(slot.pairs is broken for slot in slots):
            raise IndexError("a bug")
        return whole(network, slots, *rest, **named)

    monkeypatch.setattr(solver.run.job, "adapt", adapt)
    outcomes = stack_of(tasks)
    assert tried == [4, 1, 1, 1, 1]
    assert [outcome.row.get("error") for outcome in outcomes] == [None, "IndexError: a bug", None, None]
    assert [outcome.pools is None for outcome in outcomes] == [False, True, False, False]
    for outcome in outcomes:
        assert outcome.row["earlier_error"] == "IndexError: a bug"
        assert outcome.row["traceback"].rstrip().endswith('raise IndexError("a bug")\nIndexError: a bug')
