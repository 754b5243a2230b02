"""Probes end to end on tiny real tasks with untrained toy weights, and their figures against the pipeline's own."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from solver import presets
from solver.arc import datasets
from solver.learn.ballot import Ballot
from solver.learn.canvas import task_canvas
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.model import Network
from solver.model.config import MODELS
from solver.probes import ablate, command
from solver.probes.bench import Bench, Key
from solver.probes.catalogue import PROBES
from solver.probes.crew import groups
from solver.probes.finding import Value
from solver.probes.loops import _settled
from solver.probes.measured import Marks, Measured, difference
from solver.probes.sample import Sample, choose, refuse_overlap
from solver.results.intervals import Estimate
from solver.run.job import run_job
from solver.run.schedule import Job
from solver.weights import checkpoint
from submission.document import fallback
from voting import RULES, Pool, two_attempts

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = 30  # they teach toy weights to draw grids, several candidates a test
CONFIG = replace(
    presets.cpu().of("random:toy"),
    adapt=AdaptConfig(steps=STEPS, batch=8, lr=2e-2, optimizer="adamw"),
    predict=PredictConfig(views=16, chunk=5),
)
ARMS: dict[str, set[Key]] = {
    "loops": {(1,), (2,)},
    "views": {("all",)},
    "steps": {("random:toy", n, "steps") for n in (0, 4, 8, 15, 30)},
    "identity": {(w, t) for w in ("before", "after") for t in ("correct", "mean", "swapped", "blank")},
    "ablate": {(n,) for n in ("full", "no colour", "no D4", "no offset", "no scale", "no conv")},
}
NORMAL: dict[str, Key] = {
    "loops": (2,),
    "views": ("all",),
    "steps": ("random:toy", STEPS, "steps"),
    "identity": ("after", "correct"),
    "ablate": ("full",),
}
needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="no matplotlib")


@pytest.fixture(scope="module")
def sample():
    data = datasets.load("arc1-train")
    return Sample("held-out", [task for task in data.tasks if task.id in ("27a28665", "a85d4709")], data)


@pytest.fixture(scope="module")
def network():
    return checkpoint.load("random:toy", 0)


@pytest.fixture(scope="module")
def bench():
    return Bench(CONFIG, None, 5, CPU, torch.float32)


@pytest.fixture(scope="module")
def pipeline(sample, network):
    """{task id: pools} as a job of the pipeline makes them."""
    pools: dict[str, list[Pool]] = {}
    for task in sample.tasks:
        job = Job((task.id,), task_canvas(task))
        (outcome,) = run_job(network, [task], job, CONFIG, seed=5, device=CPU, dtype=torch.float32)
        assert outcome.pools is not None
        pools[task.id] = outcome.pools
    assert all(len(pool) > 2 for task_pools in pools.values() for pool in task_pools)
    return pools


@pytest.fixture(scope="module")
def measured(sample, network, bench, pipeline):
    """Every probe's arms, measured in this process."""
    arms = {name: probe.measure(bench, network, sample.tasks) for name, probe in PROBES.items()}
    return {name: Measured(sample, "product", 64, by_task, {}) for name, by_task in arms.items()}


def believed(sample, pipeline, rule="product"):
    """The sample, had the pipeline's first attempts been the truth."""
    truth = {
        task.id: [
            two_attempts(pool, rule, fallback(grid))[0]
            for pool, grid in zip(pipeline[task.id], task.test_inputs, strict=True)
        ]
        for task in sample.tasks
    }
    return replace(sample, data=replace(sample.data, solutions=truth))


def value(cell: Value) -> float:
    """Of an estimate in a table."""
    assert isinstance(cell, Estimate)
    return cell.value


@pytest.mark.parametrize("name", PROBES)
def test_the_arm_that_changes_nothing_is_the_pipeline(name, measured, sample, pipeline):
    assert set(measured[name].keys) == ARMS[name]
    for task in sample.tasks:
        ballots = measured[name].arms[task.id][NORMAL[name]].ballots
        for ballot, expected, grid in zip(ballots, pipeline[task.id], task.test_inputs, strict=True):
            pool = ballot.pool()
            assert pool.total_views == expected.total_views == 16
            for ours, theirs in zip(pool.candidates, expected.candidates, strict=True):
                np.testing.assert_array_equal(ours.grid, theirs.grid)
                assert ours.views == theirs.views
                assert ours.log_prob_sum == pytest.approx(theirs.log_prob_sum, rel=1e-4)
                assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-4)
                assert ours.scored_views == 16
            for rule in RULES:
                pairs = zip(*(two_attempts(p, rule, fallback(grid)) for p in (pool, expected)), strict=True)
                assert all(np.array_equal(a, b) for a, b in pairs)


def test_views_at_all_views_are_the_vote_and_at_one_view_the_share_that_is_right(measured, sample, pipeline):
    for rule in RULES:
        exact = replace(measured["views"], sample=believed(sample, pipeline, rule))
        finding = PROBES["views"].report(exact)
        both, first, oracle = finding.tables
        column = first.columns.index(rule)
        assert [row[0] for row in both.rows] == [1, 2, 4, 8, 16]
        assert value(both.rows[-1][column]) == value(first.rows[-1][column]) == value(oracle.rows[-1][1]) == 1.0
        shares = []
        for task in sample.tasks:
            rows = []
            for ballot, truth in zip(exact.arms[task.id]["all",].ballots, exact.sample.outputs(task), strict=True):
                right = [v >= 0 and np.array_equal(ballot.grids[v], truth) for v in ballot.votes]
                rows.append(np.mean(right))
            shares.append(np.mean(rows))
        assert value(first.rows[0][column]) == pytest.approx(np.mean(shares))
        assert 0 < value(first.rows[0][column]) < 1


def test_the_last_loop_step_scores_as_the_normal_prediction(measured, sample, pipeline):
    finding = PROBES["loops"].report(replace(measured["loops"], sample=believed(sample, pipeline)))
    by_step, settling = finding.tables
    assert [row[0] for row in by_step.rows] == [1, 2]
    assert value(by_step.rows[-1][2]) == value(by_step.rows[-1][3]) == 1.0
    final = sum(int((b.votes >= 0).sum()) for arms in measured["loops"].arms.values() for b in arms[2,].ballots)
    views = [row[1] for row in settling.rows if isinstance(row[1], int)]
    assert len(views) == len(settling.rows)
    assert sum(views) == final


def test_arms_differ_where_they_should(measured, sample):
    def likelihoods(name, key):
        return [b.likelihood for task in sample.tasks for b in measured[name].arms[task.id][key].ballots]

    def equal(name, a, b):
        pairs = zip(likelihoods(name, a), likelihoods(name, b), strict=True)
        return all(x.shape == y.shape and np.array_equal(x, y) for x, y in pairs)

    for name in ("loops", "steps", "ablate"):
        others = ARMS[name] - {NORMAL[name]}
        assert not any(equal(name, NORMAL[name], other) for other in others), name
    for tokens in ("mean", "swapped", "blank"):
        assert not equal("identity", ("after", "correct"), ("after", tokens))


def test_settling_is_the_last_change_of_a_view():
    a, b = np.zeros((1, 2), np.uint8), np.ones((2, 1), np.uint8)

    def ballot(grids, votes):
        votes = np.array(votes)
        return Ballot(grids, votes, np.zeros(len(votes)), np.zeros((len(grids), len(votes))))

    ballots = [ballot([b, a], [1, 0, -1, 1, 0]), ballot([a, b], [0, 1, 1, 1, 0]), ballot([b, a], [1, 0, 0, 1, -1])]
    assert _settled(ballots, a) == [(1, True), (1, False), (2, False), (3, True)]


def test_failed_tasks_count_as_missed(measured, sample, pipeline):
    task = sample.tasks[0]
    arms = {task.id: measured["loops"].arms[task.id]}
    halved = Measured(believed(sample, pipeline), "product", 64, arms, {sample.tasks[1].id: "why"})
    assert [row.both for row in halved.marks((2,))] == [1.0, 0.0]
    with pytest.raises(ValueError, match="every task failed"):
        _ = Measured(sample, "product", 64, {}, {"x": "why"}).keys


def test_differences_are_paired_and_never_certain_of_nothing():
    marks = [Marks(both=value) for value in (1.0, 0.0, 0.5, 1.0)]
    same = difference(marks, marks)
    assert same.value == 0.0
    assert same.low == -same.high < -0.4
    other = difference([Marks()] * 4, marks)
    assert other.value == pytest.approx(-0.625)
    assert other.low <= -0.625 <= other.high <= 0.0


def test_groups_leave_no_task_alone():
    tasks: list[Any] = list("abcde")
    assert [len(g) for g in groups(tasks, 2)] == [2, 3]
    assert [len(g) for g in groups(tasks, 1)] == [1] * 5
    assert [len(g) for g in groups(tasks[:4], 2)] == [2, 2]


def test_samples_are_small_first_and_never_trained_on(tmp_path, network):
    first = choose("held-out", 16)
    assert first.tasks[0].id == choose("held-out", 1).tasks[0].id
    assert max(task.largest_side for task in first.tasks) <= datasets.SMALL_SIDE
    assert [t.id for t in choose("arc1-eval", 5).tasks] == [
        t.id for t in datasets.demo_tasks(datasets.load("arc1-eval"), 5)
    ]
    from solver.arc.hashing import pair_hashes

    task = first.tasks[3]
    hashes = np.array(pair_hashes([task], first.data.solutions)[task.id], dtype=np.uint64)
    bundle = checkpoint.save_bundle(tmp_path, "seen", Network(MODELS["toy"], tasks=1), {}, hashes)
    with pytest.raises(ValueError, match=rf"trained on pairs of 1 of the tasks, {task.id}"):
        refuse_overlap(str(bundle.path), first)
    refuse_overlap("random:toy", first)


@needs_matplotlib
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_end_to_end(name, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "choose", lambda *_: sample)
    weights, arms = "random:toy", set(ARMS[name])
    if name == "steps":  # from a bundle, so that random weights are a second start
        toy = checkpoint.save_bundle(tmp_path, "toy", Network(MODELS["toy"]), {}, np.zeros(1, np.uint64))
        weights = str(toy.path)
        arms = {(w, n, "steps") for w in ("toy", "random") for n in (0, 1, 2, 3)}
    out = tmp_path / "out"
    options = {"weights": weights, "steps": 3, "views": 8, "device": "cpu", "workers": 1, "out": out}
    text = command.run_probe(name, **options)
    assert "2 held-out tasks of arc1-train" in text
    assert "failed" not in text
    assert "2/2 tasks" in capsys.readouterr().err
    record = orjson.loads((out / f"probe-{name}.json").read_bytes())
    assert record["sample"]["tasks"] == ["27a28665", "a85d4709"]
    assert record["errors"] == {}
    for row in record["per_task"].values():
        assert set(row) == {" ".join(map(str, key)) for key in arms}
        assert all(0 <= marks[what] <= 1 for marks in row.values() for what in ("both", "first", "oracle", "views"))
    assert ElementTree.parse(out / f"probe-{name}.svg").getroot().tag.endswith("svg")
    with pytest.raises(ValueError, match="already holds"):
        command.run_probe(name, **options)


def test_what_a_user_gets_wrong_is_one_line(tmp_path, monkeypatch):
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("nonsense", {}, "no probe is called"),
        ("loops", {"seconds": 0}, "--seconds 0"),
        ("loops", {"views": -1}, "--views -1"),
        ("loops", {"steps": 1, "seconds": 1.0}, "exclude"),
    ]
    if importlib.util.find_spec("matplotlib"):
        wrong += [
            ("loops", {"sample": "nonsense"}, "set called 'nonsense'"),
            ("loops", {"limit": 0}, "--limit 0"),
            ("loops", {"limit": 1000}, "has 64 tasks"),
            ("identity", {"limit": 1}, "at least 2 tasks"),
            ("loops", {"weights": "nonsense"}, "no bundled weights"),
            ("loops", {"weights": "random:nonsense"}, "no model size"),
        ]
    for name, options, message in wrong:
        with pytest.raises(ValueError, match=message) as caught:
            command.run_probe(name, out=tmp_path / "out", device="cpu", **{"weights": "random:toy", **options})
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install matplotlib"):
        command.run_probe("loops", weights="random:toy", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_ablation_changes_its_part_alone(network):
    for name, change in ablate.ARMS.items():
        config = change(CONFIG)
        assert (config == CONFIG) == (name in ("full", "no conv"))
    off = ablate.ARMS["no D4"](CONFIG)
    assert (off.adapt.augmentation.turn, off.predict.turn) == (False, False)
    assert ablate.ARMS["no scale"](CONFIG).predict == CONFIG.predict
    before, after = network.state_dict(), ablate.without_conv(network).state_dict()
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"recursion.blocks.0.mlp.conv"}
