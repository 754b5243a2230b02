"""The whole pipeline on real tasks with untrained toy weights, and what happens when parts of it die."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import orjson
import pytest

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Task, challenge_json, load_challenges
from solver.cli import main
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.run.answers import Answers
from solver.run.job import Outcome, run_job
from solver.run.log import LogRow, read_log
from solver.run.pipeline import solve
from solver.run.process import LocalProcess, WorkerSettings
from solver.run.schedule import Job, Line
from solver.run.work import Means, Progress, Work
from solver.run.workers import Workers
from solver.seeds import stable_seed
from solver.text import parse_duration
from submission.document import read
from submission.validate import check
from voting import Pool, load_pools

pytestmark = pytest.mark.slow

TOY = replace(
    presets.cpu().of("random:toy"),
    adapt=AdaptConfig(steps=3, batch=2),
    predict=PredictConfig(views=8, chunk=8),
)
TWO = Means(device="cpu", workers=2)


@pytest.fixture(scope="module")
def challenges(tmp_path_factory):
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=6)
    path = tmp_path_factory.mktemp("data") / "challenges.json"
    path.write_bytes(orjson.dumps(challenge_json(tasks)))
    return path


def test_a_run_is_complete_valid_and_repeats_exactly(challenges, tmp_path):
    loaded = load_challenges(challenges)
    texts = []
    for name, workers in (("a", 2), ("b", 1)):
        directory = tmp_path / name
        directory.mkdir()
        heard: list[Progress] = []
        means = Means(device="cpu", workers=workers)
        path = solve(Work(loaded), TOY, directory, means, out=tmp_path / f"{name}.json", seed=5, listen=heard.append)
        check(path, loaded.test_inputs)
        texts.append(path.read_bytes())
        assert heard[-1].done == heard[-1].total == 4
        rows = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
        assert {row["task"] for row in rows} == {task.id for task in loaded.tasks}
        assert all(row["steps"] == 3 and row["views"][0] == 8 and row["trace"][0] for row in rows)
        pools = load_pools(directory / "pools.jsonl")
        assert set(pools) == {(i, n) for i, grids in loaded.test_inputs.items() for n in range(len(grids))}
        record = json.loads((directory / "config.json").read_text())
        assert record["starts"][0]["finished"]
        assert record["challenges"]["sha256"] == loaded.sha256
    assert texts[0] == texts[1]


def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(challenges, tmp_path):
    loaded = load_challenges(challenges)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for directory in (whole, parts):
        directory.mkdir()
    expected = solve(Work(loaded), TOY, whole, TWO).read_bytes()
    solve(Work(loaded, loaded.tasks[:2]), TOY, parts, TWO)
    with open(parts / "log.jsonl", "ab") as log:
        log.write(b'{"task": "half a li')  # as a kill would leave it
    path = solve(Work(loaded), TOY, parts, TWO, resume=True)
    assert path.read_bytes() == expected
    rows = (parts / "log.jsonl").read_text().count('"views"')
    assert rows == 4  # nothing was done twice
    with pytest.raises(ValueError, match="seed 0, not 1"):
        solve(Work(loaded), TOY, parts, TWO, seed=1, resume=True)


def sabotaged(network, tasks, job, config, **rest):
    """Runs in the workers: the task named in FAIL raises, those in DIE and CRASH take their process with them."""
    if tasks[0].id == os.environ["DIE"]:
        print("last words", file=sys.stderr, flush=True)
        os._exit(9)
    if tasks[0].id == os.environ["CRASH"]:
        if not job.tries:
            os.kill(os.getpid(), signal.SIGSEGV)
        raise ZeroDivisionError("a bug of the runner")
    if tasks[0].id == os.environ["FAIL"]:
        tasks = [Task(task.id, (), task.test_inputs) for task in tasks]  # no supports: adaptation raises
    return run_job(network, tasks, job, config, **rest)


def test_a_failing_task_and_a_dying_worker_cost_nobody_else(challenges, tmp_path, monkeypatch):
    loaded = load_challenges(challenges)
    ids = [task.id for task in loaded.tasks]
    monkeypatch.setenv("FAIL", ids[0])
    monkeypatch.setenv("DIE", ids[1])
    monkeypatch.setenv("CRASH", ids[2])
    directory = tmp_path / "run"
    directory.mkdir()
    path = solve(Work(loaded), TOY, directory, TWO, runner=sabotaged)
    check(path, loaded.test_inputs)
    rows = {row["task"]: row for row in map(json.loads, (directory / "log.jsonl").read_text().splitlines())}
    assert rows[ids[0]]["error"].startswith("ValueError")
    assert "in adapt" in rows[ids[0]]["traceback"]
    assert "died (exit code 9), 2 times" in rows[ids[1]]["error"]
    assert "last words" in rows[ids[1]]["traceback"]
    assert "ZeroDivisionError: a bug of the runner" in rows[ids[2]]["error"]
    assert "in sabotaged" in rows[ids[2]]["traceback"]
    assert "SIGSEGV" in rows[ids[2]]["earlier_error"]
    assert {task_id for task_id, _ in load_pools(directory / "pools.jsonl")} == set(ids[3:])


def crippled(network, tasks, job, config, **rest):
    """Runs in the workers: never answers."""
    time.sleep(600)


def test_whoever_does_not_answer_is_stopped_when_the_budget_is_over(challenges, tmp_path, start_seconds):
    loaded = load_challenges(challenges)
    directory = tmp_path / "run"
    directory.mkdir()
    begun, budget = time.monotonic(), 5.0 + 3 * start_seconds
    path = solve(Work(loaded), TOY, directory, Means(budget, "cpu", workers=2), runner=crippled)
    assert time.monotonic() - begun < budget + 16
    check(path, loaded.test_inputs)
    errors = [json.loads(line)["error"] for line in (directory / "log.jsonl").read_text().splitlines()]
    assert len(errors) == 4
    assert {e for e in errors} == {"no answer by the end of the budget", "no time left in the budget"}


def stuck_once(network, tasks, job, config, **rest):
    """Runs in the workers: the first try of the task named in HANG never ends, the second does."""
    if tasks[0].id == os.environ["HANG"] and not job.tries:
        time.sleep(600)
    return run_job(network, tasks, job, config, **rest)


def test_a_job_that_hangs_is_tried_again_long_before_the_budget_is_over(challenges, tmp_path, monkeypatch):
    loaded = load_challenges(challenges)
    monkeypatch.setenv("HANG", loaded.tasks[0].id)
    monkeypatch.setattr(Workers, "GRACE", 1.0)
    directory = tmp_path / "run"
    directory.mkdir()
    begun, config = time.monotonic(), replace(TOY, max_copies=1, budget_steps=3)
    solve(Work(loaded), config, directory, Means(100.0, "cpu", workers=2), runner=stuck_once)
    assert time.monotonic() - begun < 80
    assert not [row for row in read_log(directory / "log.jsonl") if "error" in row]
    assert len(load_pools(directory / "pools.jsonl")) == sum(map(len, loaded.test_inputs.values()))


def test_workers_that_cannot_start_are_an_error_not_a_loop(challenges, tmp_path):
    loaded = load_challenges(challenges)
    with (
        pytest.raises(RuntimeError, match="no worker process can be started"),
        Workers([partial(LocalProcess, WorkerSettings(replace(TOY, weights="gone"), 0, "cpu", 1))]) as crew,
    ):
        list(crew.run(Line([Job((loaded.tasks[0].id,), 8)]), {}))


def test_a_killed_run_leaves_a_valid_submission(challenges, tmp_path):
    loaded = load_challenges(challenges)
    command = [
        sys.executable,
        "-m",
        "solver",
        "solve",
        str(challenges),
        "--weights",
        "random:toy",
        "--steps",
        "4",
        "--views",
        "8",
        "--workers",
        "1",
        "--device",
        "cpu",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    submission, log = tmp_path / "run" / "submission.json", tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        if submission.exists():
            check(submission, loaded.test_inputs)
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    check(submission, loaded.test_inputs)
    assert len(read(submission)) == 4


def test_bad_tasks_get_a_fallback_with_keep_going_and_an_error_without(challenges, tmp_path, capsys):
    broken = json.loads(challenges.read_text())
    bad = next(iter(broken))
    broken[bad]["train"][0]["output"][0][0] = 10
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    assert main(["solve", str(path), "--run-dir", str(tmp_path / "none")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "broken.json" in message
    assert bad in message
    assert "10" in message
    out = tmp_path / "submission.json"
    arguments = ["--weights", "random:toy", "--steps", "2", "--views", "8", "--device", "cpu", "--limit", "1"]
    run = ["--keep-going", "--run-dir", str(tmp_path / "run"), "--out", str(out)]
    assert main(["solve", str(path), *arguments, *run]) == 0
    check(out, load_challenges(path, keep_going=True).test_inputs)
    assert "failed" in capsys.readouterr().out


def test_what_a_user_gets_wrong_is_one_line(tmp_path, capsys, challenges):
    for arguments in (
        ["solve", str(tmp_path)],
        ["solve", str(challenges), "--weights", "nonsense"],
        ["solve", str(challenges), "--tasks", "nonsense"],
        ["solve", str(challenges), "--device", "nonsense"],
        ["solve", str(challenges), "--rule", "nonsense"],
        ["export", "nonsense", str(tmp_path)],
        ["weights", "verify", "nonsense", "--against", "arc1-eval"],
    ):
        assert main([*arguments, *(["--run-dir", str(tmp_path / "r")] if arguments[0] == "solve" else [])]) == 2
        message = capsys.readouterr().err
        assert message.startswith("tinyarc: ")
        assert message.count("\n") == 1


def test_views_that_agree_count_only_if_the_supports_were_learned(challenges, tmp_path):
    loaded = load_challenges(challenges)
    task_id = loaded.tasks[0].id
    inputs = len(loaded.test_inputs[task_id])
    for number, (loss, settled, agreement) in enumerate([(0.8, False, 0), (0.05, False, 1), (1.0, True, 1)]):
        directory = tmp_path / str(number)
        directory.mkdir()
        answers = Answers(directory, loaded, "count")
        pool = Pool()
        pool.add(loaded.tasks[0].test_inputs[0], -0.1)
        row: LogRow = {"task": task_id, "copy": 0, "steps": 5, "loss": loss, "settled": settled}
        answers.take(Outcome(task_id, row, [pool] * inputs), row)
        again = Answers(directory, loaded, "count", keep=True)
        again.restore()
        assert answers.agreement(task_id) == again.agreement(task_id) == agreement


def test_durations_and_seeds():
    assert [parse_duration(t) for t in ("90", "90s", "6m", "11h40m", "1.5m")] == [90, 90, 360, 42000, 90]
    assert stable_seed(0, "a", 1) == stable_seed(0, "a", 1) != stable_seed(0, "a", 2)
