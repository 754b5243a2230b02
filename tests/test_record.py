"""What a run folder says about its run: every start, which rows are whose, and what a resume may not change."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from fake_run import small_tasks, write_run

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import challenge_json, load_challenges
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.provenance import commit
from solver.results.judge import job_counts
from solver.results.report.build import report_data
from solver.run.log import LogRow
from solver.run.pipeline import solve
from solver.run.read import read_run
from solver.run.record import earlier, new_record, resuming
from solver.run.work import Means, Work

TOY = replace(
    presets.cpu().of("random:toy"),
    loops=2,
    adapt=AdaptConfig(steps=2, batch=2, lr=0.003),
    predict=PredictConfig(views=8, chunk=8),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=6)
    path = tmp_path_factory.mktemp("data") / "challenges.json"
    path.write_bytes(orjson.dumps(challenge_json(tasks)))
    return Work(load_challenges(path), dataset="arc1-eval")


@pytest.fixture
def begun(work, tmp_path):
    """A run folder as it is when its first start has written what it is about."""
    (tmp_path / "config.json").write_bytes(orjson.dumps(new_record(work, TOY, None, 0) | {"starts": [{"budget": 5.0}]}))
    return tmp_path


@pytest.mark.slow
def test_a_resumed_run_has_an_entry_and_rows_for_each_start_on_one_clock(work, tmp_path):
    one = Means(device="cpu", workers=1)
    said: list[str] = []
    solve(Work(work.challenges, work.tasks[:2]), TOY, tmp_path, one, say=said.append)
    assert not said
    solve(work, TOY, tmp_path, one, resume=True, say=said.append)
    assert said == [f"{tmp_path}: start 2 of this run"]
    record = json.loads((tmp_path / "config.json").read_text())
    first, second = record["starts"]
    assert [first["tasks"], second["tasks"]] == [2, 4]
    assert first["commit"] == second["commit"] == commit()
    assert first["finished"] <= second["started"]
    run = read_run(tmp_path)
    rows = [row for rows in run.log.values() for row in rows]
    assert sorted(row["start"] for row in rows) == [0, 0, 1, 1]
    assert run.offsets == [0.0, first["seconds"]]
    assert len(job_counts(run)) == 4
    data = report_data(run)
    spans = sorted((job["start"], job["end"]) for job in data["jobs"])
    assert all(end <= start + 0.02 for (_, end), (start, _) in pairwise(spans))
    assert data["resumed"] == [round(first["seconds"], 2)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rule": "product"}, "rule confidence, not product"),
        ({"loops": 1}, "loops 2, not 1"),
        ({"also": ("small",)}, "also none, not small"),
        ({"leave_one_out": True}, "leave_one_out False, not True"),
        ({"adapt": replace(TOY.adapt, lr=0.5)}, "adapt.lr 0.003, not 0.5"),
        ({"predict": replace(TOY.predict, views=16)}, "predict.views 8, not 16"),
    ],
)
def test_a_resume_under_another_recipe_is_refused(begun, work, change, named):
    with pytest.raises(ValueError, match=named):
        earlier(begun, new_record(work, replace(TOY, **change), None, 0))


def test_a_resume_may_share_out_time_and_memory_anew_and_a_fresh_budget_is_said(begun, work):
    other = replace(TOY, stack=4, first_share=0.5, max_copies=2)
    before = earlier(begun, new_record(work, other, None, 0))
    assert before == [{"budget": 5.0}]
    assert "start 2 of this run, with a fresh budget of 60 s" in resuming(begun, before, 60.0)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        earlier(begun, new_record(work, TOY, None, 1))
    with pytest.raises(ValueError, match="steps 2, not None"):
        earlier(begun, new_record(work, TOY, 60.0, 0))


def test_a_run_folder_from_before_there_were_starts_can_be_read_and_resumed(begun, work, tmp_path):
    record = new_record(work, TOY, None, 0)
    del record["starts"], record["adapt"]["batch"]
    (begun / "config.json").write_bytes(orjson.dumps(record | {"command": "tinyarc solve x", "seconds": 3.0}))
    assert earlier(begun, new_record(work, TOY, None, 0)) == [{"command": "tinyarc solve x", "seconds": 3.0}]
    tasks, solutions = small_tasks(3)
    old = read_run(write_run(tmp_path / "old", tasks, solutions, ["hit", "missed", "failed"]))
    assert old.offsets == [0.0]
    assert old.starts[0]["device"] == "cpu"


def test_rows_of_a_start_that_the_record_does_not_know_are_refused(tmp_path):
    tasks, solutions = small_tasks(2)
    directory = write_run(tmp_path / "run", tasks, solutions, ["hit", "hit"])
    log = (directory / "log.jsonl").read_bytes()
    (directory / "log.jsonl").write_bytes(log.replace(b'"copy":0', b'"copy":0,"start":1', 1))
    with pytest.raises(ValueError, match=r"log\.jsonl: names start 2 of the run, config\.json has 1"):
        read_run(directory)


def test_the_documented_log_has_every_field():
    text = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    assert [field for field in LogRow.__annotations__ if f"`{field}`" not in text] == []
