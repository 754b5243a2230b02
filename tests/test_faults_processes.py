"""What happens to a run when the machine fails it: full disks, lost numbers and memory, signals, odd clocks.

This is longer than other files because every fault needs a program of its own that makes it happen.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import orjson
import pytest
import soak
import torch

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Task, challenge_json, load_challenges
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.run import folder as runfolder
from solver.run.job import run_job
from solver.run.log import read_log
from solver.run.pipeline import solve
from solver.run.work import Means, Work
from submission.validate import check
from voting import load_pools

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
TOY = replace(
    presets.cpu().of("random:toy"),
    adapt=AdaptConfig(steps=3, batch=2),
    predict=PredictConfig(views=8, chunk=8),
)
ONE = Means(device="cpu", workers=1)


LISTING = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
needs_proc = pytest.mark.skipif(not LISTING.exists(), reason="/proc lists no child processes here")


@pytest.fixture(scope="module")
def tasks():
    return datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=6)


@pytest.fixture(scope="module")
def challenges(tasks, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "challenges.json"
    path.write_bytes(orjson.dumps(challenge_json(tasks)))
    return path


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


def log(directory):
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def command(challenges, *arguments, steps=3):
    return [
        sys.executable,
        "-m",
        "solver",
        "solve",
        str(challenges),
        "--weights",
        "random:toy",
        "--steps",
        str(steps),
        "--views",
        "8",
        "--device",
        "cpu",
        *map(str, arguments),
    ]


def test_a_file_that_may_not_grow_ends_the_run_and_loses_nothing(challenges, directory):
    """The limit cuts a log row in half, as a full disk does; root is held to it like anybody."""
    loaded, log_path = load_challenges(challenges), directory / "log.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = []

    def limit(progress):
        kept.append((directory / "submission.json").read_bytes())
        if len(kept) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (log_path.stat().st_size + 10, before[1]))

    try:
        with pytest.raises(OSError, match="File too large") as caught:
            solve(Work(loaded), TOY, directory, ONE, listen=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(directory) in str(caught.value)
    check(directory / "submission.json", loaded.test_inputs)
    assert (directory / "submission.json").read_bytes() == kept[-1]
    assert len(kept) == 2
    path = solve(Work(loaded), TOY, directory, ONE, resume=True)
    check(path, loaded.test_inputs)
    assert sorted(row["task"] for row in log(directory)) == sorted(loaded.test_inputs)
    expected = {(i, n) for i, grids in loaded.test_inputs.items() for n in range(len(grids))}
    assert set(load_pools(directory / "pools.jsonl")) == expected
    first, last = json.loads(kept[-1]), json.loads(path.read_bytes())
    assert sum(first[i] == last[i] for i in first) >= 2  # the two answers from before the limit


FILLING = """
import os, shutil, sys
from pathlib import Path
from solver import cli
from solver.results import printing

folder, copy = Path(sys.argv[1]), sys.argv[2]
full = []

class Filling(printing.SolvingBar):
    def update(self, progress):
        super().update(progress)
        if not full:
            full.append((folder / "run" / "submission.json").read_bytes())
            with open(folder / "ballast", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass

printing.SolvingBar = Filling
code = cli.main(sys.argv[3:])
assert (folder / "run" / "submission.json").read_bytes() == full[0]
shutil.copytree(folder / "run", copy)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def namespace():
    """A command line that runs a shell line where file systems may be mounted for that line alone."""
    for start in (["unshare", "-m"], ["unshare", "-Urm"]):
        with tempfile.TemporaryDirectory() as place:
            trial = [*start, "sh", "-c", f"mount -t tmpfs -o size=64k none {place}"]
            if shutil.which("unshare") and subprocess.run(trial, capture_output=True).returncode == 0:
                return [*start, "sh", "-c"]
    pytest.skip("no file system may be mounted here")


def test_a_full_disk_ends_the_run_in_one_line_and_the_submission_stays(challenges, tmp_path, namespace):
    disk, copy, loaded = tmp_path / "disk", tmp_path / "copy", load_challenges(challenges)
    disk.mkdir()
    arguments = [str(disk), str(copy), *command(challenges, "--workers", 1, "--run-dir", disk / "run")[3:]]
    script = 'mount -t tmpfs -o size=512k none "$0" && exec "$@"'
    done = subprocess.run(
        [*namespace, script, str(disk), sys.executable, "-c", FILLING, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    complaint = [line for line in done.stderr.splitlines() if line.startswith("tinyarc: ")]
    assert len(complaint) == 1
    assert "No space left on device" in complaint[0]
    assert str(disk / "run") in complaint[0]
    assert "Traceback" not in done.stderr
    check(copy / "submission.json", loaded.test_inputs)
    finished = {row["task"] for row in read_log(copy / "log.jsonl")}
    assert 1 <= len(finished) < len(loaded.test_inputs)
    assert json.loads((copy / "config.json").read_text())["starts"][0]["finished"] is None
    assert not [path.name for path in copy.iterdir() if path.name.endswith(".tmp")]


def test_a_read_only_disk_is_found_before_solving_begins(challenges, tmp_path, namespace):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=512k,ro none "$0" && exec "$@"'
    places = ["--out", disk / "out.json", "--run-dir", tmp_path / "run"]
    done = subprocess.run(
        [*namespace, script, str(disk), *command(challenges, *places)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == f"tinyarc: {disk}/out.json: cannot be written: Read-only file system\n"
    assert not (tmp_path / "run" / "log.jsonl").exists()


def hanging(network, tasks, job, config, **rest):
    """Runs in the workers, whose wall clock jumps: the task named in HANG never gets done with its views."""
    time.time = lambda: 0.0
    if any(task.id == os.environ["HANG"] for task in tasks):
        time.sleep(600)
    return run_job(network, tasks, job, config, **rest)


def test_a_hanging_task_costs_only_itself_and_a_jumping_clock_no_budget(
    challenges, tasks, directory, monkeypatch, start_seconds
):
    """While one task hangs, the wall clock jumps hours ahead and back at every look."""
    monkeypatch.setenv("HANG", tasks[0].id)
    loaded, steady, jumps = load_challenges(challenges), time.time, [0]

    def jumping():
        jumps[0] += 1
        return steady() + (10 * 3600 if jumps[0] % 2 else -10 * 3600)

    monkeypatch.setattr(time, "time", jumping)
    config, budget = replace(TOY, max_copies=1, budget_steps=3), 3.0 + 3 * start_seconds
    begun = time.monotonic()
    path = solve(Work(loaded), config, directory, Means(budget, "cpu", workers=2), runner=hanging)
    took = time.monotonic() - begun
    assert budget <= took < budget + 12
    check(path, loaded.test_inputs)
    rows = {row["task"]: row for row in log(directory)}
    assert "no answer by the end of the budget" in rows[tasks[0].id]["error"]
    assert {task_id for task_id, _ in load_pools(directory / "pools.jsonl")} == {task.id for task in tasks[1:]}
    assert all(0 <= row["started"] <= row["ended"] <= took for row in rows.values())
    record = json.loads((directory / "config.json").read_text())
    assert record["starts"][0]["seconds"] == pytest.approx(took, abs=2)


def test_folders_of_one_second_or_of_a_clock_set_back_are_all_fresh(tmp_path, monkeypatch):
    hours = iter([12, 12, 8, 12])

    class Clock:
        @staticmethod
        def now():
            return datetime(2026, 1, 1, next(hours))

    monkeypatch.setattr(runfolder, "datetime", Clock)
    made = [runfolder.new_directory(tmp_path / "runs") for _ in range(4)]
    assert len(set(made)) == 4
    assert all(path.is_dir() and not list(path.iterdir()) for path in made)


class Running:
    """A run as a process of its own with one worker, whose pid is noted while it lives."""

    def __init__(self, challenges, directory, *arguments):
        self.directory, self.workers = directory, set()
        self.process = subprocess.Popen(
            command(challenges, "--workers", 1, *arguments, steps=20),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Who starts the tests in a shell's background ignores control-C, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stderr is not None
        self.stderr = self.process.stderr

    def until(self, condition):
        def met():
            self.workers.update(soak.workers_of(self.process.pid))
            return condition() or self.process.poll() is not None

        assert soak.wait_until(met, 90)
        assert self.process.poll() is None, self.stderr.read()

    def until_rows(self, count):
        """Waits for so many lines in the log; how many there are."""
        self.until(lambda: self.rows() >= count)
        return self.rows()

    def rows(self):
        path = self.directory / "log.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def ended(self):
        """Exit code and stderr, once neither the parent nor any worker is alive."""
        code = self.process.wait(30)
        assert soak.wait_until(lambda: not any(map(soak.alive, self.workers)), 15)
        return code, self.stderr.read()


@needs_proc
def test_signals_end_a_run_cleanly_and_leave_no_process(tmp_path):
    """One run folder: a worker is killed from outside, and the parent gets SIGTERM; resumed, it gets SIGINT before its
    worker can work. (What SIGKILL does to the parent, the soak below sees.)"""
    small = datasets.demo_tasks(datasets.load("arc1-eval"), 24, largest_side=7)
    challenges, directory = tmp_path / "challenges.json", tmp_path / "run"
    challenges.write_bytes(orjson.dumps(challenge_json(small)))
    inputs = load_challenges(challenges).test_inputs
    for send in (signal.SIGTERM, signal.SIGINT):
        run = Running(challenges, directory, "--run-dir" if send == signal.SIGTERM else "--resume", directory)
        if send == signal.SIGTERM:
            seen = run.until_rows(2)
            (first,) = run.workers
            os.kill(first, signal.SIGKILL)
            seen = run.until_rows(seen + 2)
            assert len(run.workers) == 2
        else:
            run.until(lambda run=run: run.workers)
            time.sleep(1.0)  # it imports torch now
        run.process.send_signal(send)
        code, said = run.ended()
        assert code == 130
        assert "Traceback" not in said
        assert said.splitlines()[-1] == "tinyarc: interrupted"
        check(directory / "submission.json", inputs)
        found = read_log(directory / "log.jsonl")
        assert not [row for row in found if "error" in row]
        assert max(Counter(row["task"] for row in found).values()) == 1
        assert len(found) >= seen


def snapshot(folder):
    """Every path below a folder, and the bytes of each file."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_nothing_is_written_outside_the_run_folder_and_out(tasks, tmp_path):
    """Task ids that look like paths or options do no harm either."""
    ids = ["../../escape", "/tmp/escape", "<b>\n\x1b[2J", "--out", "$(touch escape)", "x" * 5000]
    hostile = [Task(name, tasks[n % 4].support, tasks[n % 4].test_inputs) for n, name in enumerate(ids)]
    places = {name: tmp_path / name for name in ("cwd", "home", "tmp", "in", "run", "out")}
    for place in places.values():
        place.mkdir()
    challenges = places["in"] / "challenges.json"
    challenges.write_text(json.dumps(challenge_json(hostile)))
    before = snapshot(tmp_path)
    environment = {**os.environ, "HOME": str(places["home"]), "TMPDIR": str(places["tmp"]), "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    done = subprocess.run(
        command(challenges, "--workers", 1, "--run-dir", places["run"], "--out", places["out"] / "submission.json"),
        cwd=places["cwd"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    new = [Path(name) for name in after if name not in before]
    assert {path.parent for path in new} == {places["run"], places["out"]}
    assert {path.name for path in new if path.parent == places["out"]} == {"submission.json"}
    for folder in ("run", "out"):
        check(places[folder] / "submission.json", load_challenges(challenges).test_inputs)
    assert {row["task"] for row in log(places["run"])} == set(ids)


@needs_proc
def test_a_soak_of_two_killed_parents_finds_everything_in_order():
    options = ["--kills", "2", "--mode", "parent", "--tasks", "3", "--side", "6", "--steps", "3", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "soak.py"), *options],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every check held" in done.stdout
    together = next(line for line in done.stdout.splitlines() if line.startswith("together"))
    assert together.split()[1] == "2"
