"""The same run on a Dask cluster: the same submission as by one process, also when a worker is killed or hangs."""

import contextlib
import json
import logging
import os
import re
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
from solver.arc.tasks import challenge_json, load_challenges
from solver.cli import main
from solver.learn.adapt import AdaptConfig
from solver.learn.predict import PredictConfig
from solver.model import MODELS
from solver.run.job import run_job
from solver.run.pipeline import solve
from solver.run.work import Means, Progress, Work
from solver.run.workers import Workers
from submission.validate import check

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")

from solver.run import cluster_worker  # noqa: E402
from solver.run.cluster import CONNECT, Cluster, of_death  # noqa: E402

TOY = replace(
    presets.cpu().of("random:toy"),
    adapt=AdaptConfig(steps=8, batch=4),
    predict=PredictConfig(views=8, chunk=8),
)


@pytest.fixture(scope="module")
def challenges(tmp_path_factory):
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 6, largest_side=7)
    path = tmp_path_factory.mktemp("data") / "challenges.json"
    path.write_bytes(orjson.dumps(challenge_json(tasks)))
    return load_challenges(path)


@pytest.fixture(scope="module")
def expected(challenges, tmp_path_factory):
    """What one process with one thread answers on this machine."""
    directory = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("solver.device.cpu_count", lambda: 1)
        solve(Work(challenges), TOY, directory, Means(device="cpu"))
    return (directory / "submission.json").read_bytes()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A real scheduler, and one worker process with its nanny."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    options["resources"] = {"CPU": 1}  # announced, so every job takes it
    # The nanny is in this process, where a `Cluster` silences Dask; in one of its own it notes what it is asked for.
    logging.getLogger("distributed.nanny").setLevel(logging.INFO)
    with distributed.LocalCluster(**options, local_directory=str(tmp_path_factory.mktemp("dask"))) as dask:
        yield dask


def rows(directory):
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def slowly(network, tasks, job, config, **rest):
    """Runs in the workers: a job that takes a while."""
    time.sleep(1.0)
    return run_job(network, tasks, job, config, **rest)


@pytest.mark.slow
def test_workers_that_join_and_one_that_is_killed_change_nothing_in_the_file(challenges, expected, dask, tmp_path):
    reports: list[Progress] = []
    first: list[str] = []
    with Cluster(dask.scheduler_address, "cpu") as cluster:

        def interfere(progress):
            reports.append(progress)
            if len(reports) == 1:
                first.extend(cluster.places.values())
                dask.scale(2)
                while len(cluster.places) < 2:
                    time.sleep(0.1)
                cluster.client.run(cluster_worker.about, "cpu")  # imports what it needs, before the others are done
            if len(reports) == 3:
                os.kill(cluster.client.run(os.getpid)[first[0]], signal.SIGKILL)  # the one that joined goes on

        means = Means(device="cpu", cluster=cluster)
        solve(Work(challenges), TOY, tmp_path, means, listen=interfere, runner=slowly)
    assert (tmp_path / "submission.json").read_bytes() == expected
    done = rows(tmp_path)
    assert {row["worker"] for row in done} == {0, 1}
    assert sorted((row["task"], row["copy"]) for row in done) == sorted((task.id, 0) for task in challenges.tasks)
    start = json.loads((tmp_path / "config.json").read_text())["starts"][0]
    assert (start["device"], start["workers"]) == ("cpu", 1)


def faulty(network, tasks, job, config, *, fails, hangs, dies, **rest):
    """Runs in the workers: with one task there is a bug, with another a job does not end the first time, and with a
    third the worker is killed the first time."""
    if tasks[0].id == dies and not job.tries:
        os.kill(os.getpid(), signal.SIGKILL)
    if tasks[0].id == fails:
        raise KeyError("a bug")
    if tasks[0].id == hangs and not job.tries:
        time.sleep(600)
    return run_job(network, tasks, job, config, **rest)


@pytest.mark.slow
def test_what_fails_hangs_or_is_killed_is_tried_again_by_a_fresh_process(challenges, dask, tmp_path, monkeypatch):
    tasks = challenges.tasks[:3]
    runner = partial(faulty, fails=tasks[0].id, hangs=tasks[1].id, dies=tasks[2].id)
    monkeypatch.setattr(Workers, "GRACE", 1.0)
    config = replace(TOY, max_copies=1, budget_steps=3)
    with Cluster(dask.scheduler_address, "cpu") as cluster:
        before = set(cluster.client.run(os.getpid).values())
        means = Means(budget=100.0, device="cpu", cluster=cluster)
        solve(Work(challenges, tasks), config, tmp_path, means, runner=runner)
        after = set(cluster.client.run(os.getpid).values())
    errors = {row["task"]: row["error"] for row in rows(tmp_path) if "error" in row}
    assert errors == {tasks[0].id: "the worker process died (KeyError: 'a bug'), 2 times"}
    assert {row["task"] for row in rows(tmp_path)} == {task.id for task in tasks}
    assert before - after
    [killed] = [row["earlier_error"] for row in rows(tmp_path) if row["task"] == tasks[2].id]
    gone = r"the worker process died \(the Dask worker at tcp://\S+ is gone: it was killed by signal 9\)"
    assert re.fullmatch(gone, killed)


def watched(network, tasks, job, config, **rest):
    """Runs in the workers: as ever, if the network is the one that the job names."""
    assert network.config == MODELS["nano" if job.weights else "toy"]
    return run_job(network, tasks, job, config, **rest)


@pytest.mark.slow
def test_a_worker_there_makes_copies_of_all_weights_of_a_run(challenges, dask, tmp_path):
    config = replace(TOY.of("random:toy,random:nano"), max_copies=12, budget_steps=3)
    with Cluster(dask.scheduler_address, "cpu") as cluster:
        means = Means(budget=100.0, device="cpu", cluster=cluster)
        solve(Work(challenges, challenges.tasks[:1]), config, tmp_path, means, runner=watched)
    assert not [row["error"] for row in rows(tmp_path) if "error" in row]
    assert {row["weights"] for row in rows(tmp_path)} == {"", "random:nano"}


def test_what_a_nanny_notes_of_the_end_of_its_worker():
    noted = "2026-01-01 00:00:00,000 - distributed.nanny - INFO - "
    assert of_death(f"{noted}Worker process 12 was killed by signal 9", 12) == "was killed by signal 9"
    assert of_death(f"{noted}Worker process 12 exited with status 1", 12) == "exited with status 1"
    memory = f"{noted}Worker tcp://127.0.0.1:34 (pid=12) exceeded 95% memory budget. Restarting..."
    assert of_death(memory, 12) == "exceeded 95% memory budget"
    assert of_death(memory, 34) is None
    assert of_death(f"{noted}Worker process 123 was killed by signal 9", 12) is None
    assert of_death(f"{noted}Unregistering worker (status=Status.running)", 12) is None


@pytest.mark.slow
def test_other_versions_are_refused_in_one_line(dask, monkeypatch):
    monkeypatch.setattr(cluster_worker, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"the worker at tcp://.* has tinyarc .*; here it is tinyarc 9\.9"):
        Cluster(dask.scheduler_address, "cpu")


def test_a_scheduler_that_is_not_there_is_one_line(challenges, tmp_path, capfd, monkeypatch):
    assert CONNECT <= 5.0  # seconds that a user waits
    monkeypatch.setattr("solver.run.cluster.CONNECT", 1.0)
    begun = time.monotonic()
    for address, complaint in (
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("nowhere.json", "is neither an address such as tcp://HOST:8786 nor a scheduler file"),
        (str(challenges.path), "is no scheduler file"),
    ):
        command = ["solve", str(challenges.path), "--run-dir", str(tmp_path / "run"), "--cluster", address]
        assert main(command) == 2
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"tinyarc: --cluster {address}: {complaint}")
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "run").exists()


@contextlib.contextmanager
def dask_process(what, *options):
    """A scheduler or a worker as a process of its own, killed at the end."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_scheduler_that_is_killed_leaves_a_run_that_goes_on(challenges, tmp_path, capsys, monkeypatch):
    file, run = tmp_path / "scheduler.json", tmp_path / "run"
    options = ["--steps", "8", "--views", "8", "--weights", "random:toy", "--device", "cpu"]
    killed = []  # when
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(dask_process("scheduler", "--port", "0", "--scheduler-file", file))
        while not file.exists():
            time.sleep(0.05)
        one = ("--nthreads", "1", "--local-directory", tmp_path, "--scheduler-file", file)
        stack.enter_context(dask_process("worker", *one))

        def kill(bar, done, *facts):
            scheduler.kill()
            killed.append(time.monotonic())

        with monkeypatch.context() as patch:
            patch.setattr("solver.progress.ProgressBar.show", kill)  # at the first answer
            assert main(["solve", str(challenges.path), "--run-dir", str(run), "--cluster", str(file), *options]) == 1
        took = time.monotonic() - killed[0]
    assert took < 30.0
    assert capsys.readouterr().err == "tinyarc: no worker process can be started (the scheduler is gone)\n"
    before = rows(run)
    assert 0 < len(before) < len(challenges.tasks)
    check(run / "submission.json", challenges.test_inputs)
    assert main(["solve", str(challenges.path), "--resume", str(run), "--workers", "1", *options]) == 0
    assert rows(run)[: len(before)] == before
    assert len(rows(run)) == len(challenges.tasks)


def test_torchrun_is_told_where_to_go(challenges, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert main(["solve", str(challenges.path), "--run-dir", str(tmp_path / "run")]) == 2
    assert "--cluster" in capsys.readouterr().err


@pytest.mark.slow
def test_a_job_takes_what_its_worker_announces(dask):
    with distributed.Client(dask) as client:
        assert client.submit(cluster_worker.announced, pure=False).result(timeout=60) == {"CPU": 1.0}
