"""Further copies of other weights: how they are named, that a worker makes each copy of the right ones, the record."""

import json
from dataclasses import replace

import orjson
import pytest

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import challenge_json, load_challenges
from solver.cli import main
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.model import MODELS
from solver.results.report.build import report_data
from solver.results.trial import trained_on
from solver.run.canvases import canvases
from solver.run.job import run_job
from solver.run.pipeline import solve
from solver.run.read import read_run
from solver.run.work import Means, Work
from voting import load_copies

BOTH = "random:toy,random:nano"


def test_names_behind_the_first_are_for_further_copies_alone():
    assert presets.chosen("cpu").networks == {"": "nano", "small": "small"}
    assert presets.chosen("cuda").networks == {"": "small", "nano": "nano"}
    assert presets.chosen("cuda", "nano").networks == {"": "nano"}
    assert presets.chosen("cpu", BOTH).networks == {"": "random:toy", "random:nano": "random:nano"}
    for wrong in ("nano,nano", "nano,", ",nano", ""):
        with pytest.raises(ValueError, match="name each once"):
            presets.chosen("cpu", wrong)


def test_without_a_budget_there_is_one_copy_of_the_first_weights_as_it_is():
    config = presets.chosen("cpu", BOTH)
    assert config.within(9.0) == config
    assert config.within(None).networks == {"": "random:toy"}
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 2, largest_side=6)
    zoomable = presets.chosen("cpu", "nano")
    assert canvases(tasks, zoomable).zoomed
    assert not canvases(tasks, zoomable.within(None)).zoomed


def test_weights_for_one_canvas_size_stand_alone():
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 2, largest_side=6)
    alone = presets.chosen("cpu", "random:trm-mlp-nano")
    assert canvases(tasks, alone).own
    for config in (replace(alone, also=("nano",)), presets.chosen("cpu", "nano,random:trm-mlp-nano")):
        with pytest.raises(ValueError, match="random:trm-mlp-nano: is for canvases of"):
            canvases(tasks, config)


def test_a_score_is_fair_only_if_all_weights_are():
    data = datasets.load("arc1-train")
    tasks = datasets.demo_tasks(data, 8)
    assert not trained_on(["random:nano"], data, tasks)
    assert trained_on(["random:nano", "nano"], data, tasks) == trained_on(["nano"], data, tasks) != []


def watched(network, tasks, job, config, **rest):
    """Runs in the workers: as ever, if the network is the one that the job names."""
    assert network.config == MODELS["nano" if job.weights else "toy"]
    return run_job(network, tasks, job, config, **rest)


@pytest.mark.slow
def test_a_copy_is_made_of_the_weights_that_its_row_and_its_pool_name(tmp_path):
    given, run = tmp_path / "challenges.json", tmp_path / "run"
    given.write_bytes(orjson.dumps(challenge_json(datasets.demo_tasks(datasets.load("arc1-eval"), 2, largest_side=6))))
    run.mkdir()
    config = replace(
        presets.chosen("cpu", BOTH),
        adapt=AdaptConfig(batch=2),
        predict=PredictConfig(views=8, chunk=8),
        budget_steps=3,
        max_copies=12,
    )
    work, means = Work(load_challenges(given)), Means(60.0, device="cpu", workers=1)
    solve(work, config, run, means, runner=watched)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert not [row["error"] for row in rows if "error" in row]
    made_of = {(row["task"], row["copy"]): row["weights"] for row in rows}
    assert sorted(copy for _, copy in made_of) == sorted([*range(12)] * 2)
    assert {weights for (_, copy), weights in made_of.items() if not copy} == {""}
    assert set(made_of.values()) == {"", "random:nano"}
    for (task_id, _), copies in load_copies(run / "pools.jsonl").items():
        assert {copy: pool.weights for copy, pool in copies.items()} == {n: made_of[task_id, n] for n in range(12)}
    for task in report_data(read_run(run))["tasks"]:
        others = sum(weights != "" for (task_id, _), weights in made_of.items() if task_id == task["id"])
        assert task["kinds"] == ([f"{others} of random:nano"] if others else [])
    record = json.loads((run / "config.json").read_text())
    assert (record["weights"], record["also"]) == ({"name": "random:toy"}, [{"name": "random:nano"}])
    with pytest.raises(ValueError, match="was run with also random:nano, not none"):
        solve(work, replace(config, also=()), run, means, resume=True)


def test_other_weights_that_are_not_there_are_one_line_before_anything_is_written(tmp_path, capsys):
    given, out = tmp_path / "challenges.json", tmp_path / "out.json"
    given.write_bytes(orjson.dumps(challenge_json(datasets.demo_tasks(datasets.load("arc1-eval"), 1, largest_side=6))))
    assert main(["solve", str(given), "--weights", BOTH, "--steps", "1", "--run-dir", str(tmp_path / "run")]) == 2
    assert "those behind the first are for runs with a --budget" in capsys.readouterr().err
    for weights, said in (("random:toy,gone", "gone"), ("random:toy,random:toy", "name each once")):
        command = ["solve", str(given), "--weights", weights, "--out", str(out), "--run-dir", str(tmp_path / "run")]
        assert main([*command, "--budget", "9s"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not out.exists()
