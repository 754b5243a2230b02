"""The same run by several processes under torchrun: the same submission, also when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import torch.distributed as dist

from solver.arc import datasets
from solver.arc.tasks import challenge_json, load_challenges
from solver.run.job import Outcome, failure
from solver.run.log import read_log
from solver.run.team import Team
from solver.run.wire import Channel, pack_outcome, unpack_outcome
from submission.validate import check
from voting import Pool, append_lines

SOLVE = ["--weights", "random:toy", "--views", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def challenges(tmp_path_factory):
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 8, largest_side=7)
    path = tmp_path_factory.mktemp("data") / "challenges.json"
    path.write_bytes(orjson.dumps(challenge_json(tasks)))
    return path


def start(challenges, directory, *, steps, processes=None, restarts=0):
    launch = []
    if processes:
        options = ["--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
        launch = ["torch.distributed.run", *options, "-m"]
    command = [sys.executable, "-m", *launch, "solver", "solve", str(challenges), *SOLVE]
    command += ["--steps", str(steps), "--run-dir", str(directory)]
    if not processes:
        command += ["--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors


def rows(directory):
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def children(pid):
    return [int(own) for own in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes through /proc")
def test_several_processes_give_what_one_gives_also_when_one_is_killed(challenges, tmp_path):
    steps = 60
    finish(start(challenges, tmp_path / "one", steps=steps))
    expected = (tmp_path / "one" / "submission.json").read_bytes()
    directory = tmp_path / "four"
    finish(start(challenges, directory, steps=steps, processes=4))
    assert (directory / "submission.json").read_bytes() == expected
    assert len({row["worker"] for row in rows(directory)}) > 1
    assert json.loads((directory / "config.json").read_text())["starts"][0]["workers"] == 4

    directory = tmp_path / "killed"
    process = start(challenges, directory, steps=steps, processes=2, restarts=1)
    deadline = time.monotonic() + 100
    while not (directory / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    check(directory / "submission.json", load_challenges(challenges).test_inputs)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    finish(process)
    assert (directory / "submission.json").read_bytes() == expected
    copies = [(row["task"], row["copy"]) for row in rows(directory)]
    assert len(copies) == len(set(copies)) == 8  # nothing was lost, nothing done twice


def test_messages_keep_their_order_and_outcomes_survive_the_way(tmp_path):
    store = dist.HashStore()
    here, there = Channel(store, "1/0", "down", "up"), Channel(store, "1/0", "up", "down")
    assert there.poll() is None
    for n in range(3):
        here.send({"n": n})
    assert [there.poll() for _ in range(4)] == [{"n": 0}, {"n": 1}, {"n": 2}, None]
    there.PART = 7  # a message longer than the store takes goes in parts
    there.send({"text": "x" * 50})
    assert here.poll() == {"text": "x" * 50}
    there.send({"back": True})
    assert here.poll() == {"back": True}
    pool = Pool(7, True)
    pool.add(datasets.load("arc1-eval").tasks[0].test_inputs[0], -0.5)
    outcome = Outcome("a", {"task": "a", "copy": 2, "steps": 7}, [pool])
    append_lines(tmp_path / "rank-1.jsonl", [pack_outcome(outcome)])
    back = unpack_outcome(read_log(tmp_path / "rank-1.jsonl")[0])
    assert pack_outcome(back) == pack_outcome(outcome)
    assert (back.pools[0].steps, back.pools[0].settled) == (7, True)
    assert unpack_outcome(pack_outcome(failure("a", 0, "no"))).pools is None


def test_a_leader_that_comes_back_finds_its_folder_and_the_time_that_is_gone(tmp_path):
    store = dist.HashStore()
    first = Team(store, 0, 2)
    assert not first.began
    assert first.remember(tmp_path) == tmp_path
    again = Team(store, 0, 2)
    assert again.began
    assert again.remember(None) == tmp_path
    assert 0 <= again.spent < 60
    first.end()
    assert not again.store.check(["end"])  # a message to the first attempt says nothing to the second
