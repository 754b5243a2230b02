"""Downstream of the network every system is like any other: it solves, shows its steps in the report, and is probed."""

import numpy as np
import orjson
import pytest
import torch
from small import CPU, SYSTEMS, given, shaken, supports
from torch.utils.flop_counter import FlopCounterMode

from solver.arc.tasks import Pair, Task, challenge_json
from solver.cli import main
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.model import Network
from solver.model.flops import forward_flops
from solver.model.fused import plain
from solver.presets import SolveConfig
from solver.probes.bench import Bench
from solver.probes.catalogue import PROBES
from solver.results.report.build import report_data
from solver.run.job import run_job
from solver.run.read import read_run
from solver.run.schedule import Job
from solver.weights import checkpoint

TASKS = [Task(f"copy{n}", tuple(supports(10 * n)), (supports(10 * n + 5)[0].input,)) for n in range(2)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """{system: weights file}, untrained."""
    directory, files = tmp_path_factory.mktemp("bundles"), {}
    for name, config in SYSTEMS.items():
        torch.manual_seed(0)
        stem = name.replace(" ", "-").replace(",", "")
        files[name] = str(checkpoint.save_bundle(directory, stem, Network(config), {}, np.zeros(1, np.uint64)).path)
    return files


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_job_of_the_pipeline_and_the_probes_work_with_a_system(name, bundles):
    config = SolveConfig(bundles[name], adapt=AdaptConfig(steps=3, batch=2), predict=PredictConfig(views=4))
    network = checkpoint.load(config.weights)
    job = Job(tuple(task.id for task in TASKS), 8)
    outcomes = run_job(network, TASKS, job, config, seed=0, device=CPU, dtype=torch.float32)
    for outcome in outcomes:
        assert "error" not in outcome.row
        assert [len(strip) for strip in outcome.row["trace"]] == [network.config.loops]
        assert outcome.pools is not None
        assert outcome.pools[0].total_views == 8
    bench = Bench(config, None, 0, CPU, torch.float32)
    loops = PROBES["loops"].measure(bench, network, TASKS[:1])
    assert list(loops["copy0"]) == [(n + 1,) for n in range(network.config.loops)]
    assert len(PROBES["steps"].measure(bench, network, TASKS[:1])["copy0"]) > 4
    if network.config.task_tokens:
        assert len(PROBES["identity"].measure(bench, network, TASKS)["copy1"]) == 8
    else:
        with pytest.raises(ValueError, match="no task tokens"):
            PROBES["identity"].measure(bench, network, TASKS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_dry_run_counts_the_operations_of_a_system(name):
    network = shaken(SYSTEMS[name]).requires_grad_(False)
    views, how = given(network.config, batch=1)
    with plain(), FlopCounterMode(display=False) as counter:  # in bfloat16, where attention is written out
        list(network(*views, **how, dtype=torch.bfloat16))
    assert forward_flops(network.config, 8) == counter.get_total_flops()


@pytest.mark.slow
def test_trm_solves_a_file_its_halting_reaches_the_vote_and_its_steps_the_report(bundles, tmp_path, capsys):
    source, run = tmp_path / "challenges.json", tmp_path / "run"
    source.write_bytes(orjson.dumps(challenge_json(TASKS)))
    solve = ["solve", str(source), "--weights", bundles["trm"], "--run-dir", str(run), "--workers", "2"]
    assert main([*solve, "--steps", "40", "--views", "8", "--rule", "halt"]) == 0
    rows = [orjson.loads(line) for line in (run / "log.jsonl").read_bytes().splitlines()]
    assert [len(row["trace"][0]) for row in rows] == [3, 3]
    pools = [orjson.loads(line) for line in (run / "pools.jsonl").read_bytes().splitlines()]
    candidates = [candidate for pool in pools for candidate in pool["candidates"]]
    assert candidates
    assert all(0.0 < candidate["halt_sum"] <= candidate["views"] for candidate in candidates if candidate["views"])
    assert main(["vote", str(run)]) == 0
    assert "halt" in capsys.readouterr().out
    shown = report_data(read_run(run))
    assert shown["stepName"] == "supervision step"
    assert [len(test["loop"]) for task in shown["tasks"] for test in task["tests"]] == [3, 3]


def test_bad_use_is_one_line_and_exit_code_2(bundles, tmp_path, capsys):
    large = Task("large", (Pair(*[np.ones((9, 9), np.uint8)] * 2),), (np.ones((9, 9), np.uint8),))
    source = tmp_path / "challenges.json"
    source.write_bytes(orjson.dumps(challenge_json([large])))
    for arguments, message in (
        (["solve", str(source), "--weights", bundles["trm-mlp"]], "large: has a grid side of 9"),
        (["solve", str(source), "--weights", "random:hrm"], "no model size is called 'hrm'"),
        (["train", "--preset", "hrm", "--budget", "1s"], "hrm"),
    ):
        code: str | int | None
        try:
            code = main(arguments)
        except SystemExit as exit:  # argparse's own
            code = exit.code
        heard = capsys.readouterr().err.strip().splitlines()
        assert code == 2
        assert message in heard[-1]
