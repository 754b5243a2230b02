"""Dry runs: the real planner, driven on a simulated clock by fixed costs; one small measured run from the command."""

import itertools
from dataclasses import replace

import numpy as np
import orjson
import pytest
import torch
from fake_run import small_tasks, write_run
from torch.utils.flop_counter import FlopCounterMode

from solver import presets
from solver.cli import main
from solver.model import MODELS, Network
from solver.model.flops import forward_flops
from solver.model.fused import plain
from solver.run.dryrun import costs, profiles
from solver.run.dryrun.costs import Cost
from solver.run.dryrun.machine import _speeds
from solver.run.dryrun.outlook import EASY, Outlook, assumed
from solver.run.dryrun.simulate import Fault, Simulation
from solver.run.dryrun.work import Machine, SimTask, do
from solver.run.read import read_run
from solver.run.schedule import Job
from solver.weights import checkpoint

CPU, GPU = presets.cpu(), presets.gpu()
SIZES = [8, 12, 16, 24, 32]


def machine(factor=1.0, *, startup=5.0, fits=None, step=0.0):
    """Costs that grow with the cells: a step of 60 ms and a view of 4 ms on a canvas of 16, times `factor`."""
    found = {
        ("", s): Cost(copy=factor * 0.06 * (s / 16) ** 2, view=factor * 0.004 * (s / 16) ** 2, step=step, setup=0.1)
        for s in SIZES
    }
    return Machine(found, startup, fits or {})


def tasks(count, easy=0.15):
    outlooks = assumed([f"t{n}" for n in range(count)], easy)
    return [
        SimTask(name, SIZES[n % 5], 1 + (n % 7 == 0), 1, outlook) for n, (name, outlook) in enumerate(outlooks.items())
    ]


def steps(result):
    return sum(row["steps"] for row in result.rows if "error" not in row)


@pytest.mark.parametrize(("config", "workers"), [(CPU, 2), (GPU, 4)], ids=["cpu", "gpu"])
@pytest.mark.parametrize("budget", [1200.0, 12000.0])
def test_the_budget_is_kept_and_the_first_round_is_early(config, workers, budget):
    sixty = tasks(60)
    result = Simulation(sixty, config, machine(step=0.01), workers, budget).run()
    assert result.end <= budget - 1.0
    assert not result.unanswered
    assert result.first_round <= 0.151 * budget  # a job ends with the step and the views that it has begun
    assert result.idle(workers) < 0.1
    again = {row["task"] for row in result.rows if row["copy"]}
    assert again == {task.id for task in sixty if task.outlook is not EASY}
    assert all(box.end <= budget for box in result.boxes)
    lanes = [sorted((b.start, b.end) for b in result.boxes if b.worker == w) for w in range(workers)]
    assert all(a[1] <= b[0] + 1e-9 for lane in lanes for a, b in itertools.pairwise(lane))


def test_zoomed_copies_cost_what_their_canvas_does_and_come_after_the_first():
    sixty = [replace(task, zoomed=24 if task.size == 12 else None) for task in tasks(60)]
    result = Simulation(sixty, CPU, machine(), 2, 12000.0).run([Fault("parent", 6000.0)])
    zoomed = [row for row in result.rows if row.get("zoom", 1) > 1]
    assert {row["task"] for row in zoomed} == {t.id for t in sixty if t.zoomed and t.outlook is not EASY}
    assert all(row["copy"] and row["canvas"] == 24 for row in zoomed)
    assert min(row["adapt_seconds"] / row["steps"] for row in zoomed) > 0.9 * 0.06 * (24 / 16) ** 2
    assert result.end > 0.95 * 12000.0


def test_copies_of_other_weights_cost_what_those_do_and_come_after_the_first():
    models = {key: checkpoint.running(name) for key, name in CPU.networks.items()}
    box, sixty = machine(), tasks(60)
    costs = box.costs | {("small", size): machine(6.0).costs["", size] for size in SIZES}
    result = Simulation(sixty, CPU, replace(box, costs=costs), 2, 24000.0, models).run()
    other = [row for row in result.rows if row.get("weights")]
    assert {row["task"] for row in other} <= {task.id for task in sixty if task.outlook is not EASY}
    assert {row["canvas"] for row in other} >= {8, 12, 16}
    assert all(row["copy"] for row in other)
    assert min(row["adapt_seconds"] / row["steps"] / (row["canvas"] / 16) ** 2 for row in other) > 0.9 * 0.36
    assert 0.95 * 24000.0 < result.end <= 24000.0


def test_a_slow_device_gets_fewer_steps_and_not_a_late_end():
    plain, slow, slower = (Simulation(tasks(60), CPU, machine(f), 2, 2400.0).run() for f in (1.0, 2.0, 20.0))
    assert slow.end <= 2400.0
    assert slower.end <= 2400.0
    assert not slower.unanswered
    assert 0.4 * steps(plain) < steps(slow) < 0.7 * steps(plain)  # above a half: the most steps a copy takes are 1000
    assert steps(slower) < 0.1 * steps(plain)


def test_a_t4_takes_about_twice_as_long_as_an_l4_and_gets_fewer_steps():
    model, counted = MODELS["base"], costs.Operations(100, 3000, 600, 5.0, 1000.0, 100.0)
    total = []
    for name in ("l4x4", "t4x2"):
        profile = profiles.find(name)
        found = {("", s): costs.estimate(profile, model, counted, GPU, s) for s in SIZES}
        total.append(steps(Simulation(tasks(60), GPU, Machine(found, 5.0, {}), 2, 3600.0).run()))
    assert 0.4 * total[0] < total[1] < 0.7 * total[0]


def test_a_dead_worker_costs_its_job_and_its_start():
    plain = Simulation(tasks(40), CPU, machine(), 2, 3000.0).run()
    result = Simulation(tasks(40), CPU, machine(), 2, 3000.0).run([Fault("worker1", 200.0)])
    assert not result.unanswered
    assert result.end <= 3000.0
    lost = [box for box in result.boxes if box.lost]
    assert [(box.worker, box.end) for box in lost] == [(1, 200.0)]
    assert result.hit == [Fault("worker1", 200.0)]
    assert f"lost {lost[0].end - lost[0].start:.0f} s of a job of 1 task on worker 1" in result.faults[0]
    assert steps(plain) - steps(result) < 3 * (lost[0].end - lost[0].start + 5.0) / 0.06
    assert all("error" not in row for row in result.rows)


def test_a_stack_that_lost_its_worker_is_put_back_one_task_at_a_time():
    result = Simulation(tasks(40), GPU, machine(step=0.01), 1, 3000.0).run([Fault("worker", 100.0)])
    [lost] = [box for box in result.boxes if box.lost]
    assert lost.tasks > 1
    after = sorted((b for b in result.boxes if b.start >= 100.0 and b.copy is not None), key=lambda b: b.start)
    assert [box.tasks for box in after[: lost.tasks]] == [1] * lost.tasks
    assert not result.unanswered


def test_a_task_whose_workers_die_twice_is_given_up():
    only = [SimTask("a", 16, 1, 1, Outlook())]
    result = Simulation(only, CPU, machine(), 1, None).run([Fault("worker", 10.0), Fault("worker", 20.0)])
    assert [row["error"] for row in result.rows] == ["the worker process died (in this dry run), 2 times"]
    assert not result.unanswered  # heard of, but without an answer
    assert result.first_round is None


def test_after_the_parent_has_died_answers_are_kept_and_the_end_is_the_same():
    result = Simulation(tasks(40), CPU, machine(), 2, 3000.0).run([Fault("parent", 300.0)])
    assert not result.unanswered
    assert result.end <= 3000.0
    assert sum(box.lost for box in result.boxes) == 2
    good = [(row["task"], row["copy"]) for row in result.rows]
    assert len(good) == len(set(good))  # nothing that had an answer was done again
    pause = [box for box in result.boxes if box.copy is None and box.start == 305.0]
    assert [box.end for box in pause] == [310.0, 310.0]


def test_without_a_budget_every_task_has_its_steps_once():
    config = replace(GPU, adapt=replace(GPU.adapt, steps=30))
    result = Simulation(tasks(20, easy=0.0), config, machine(step=0.01), 2, None).run()
    assert sorted(row["task"] for row in result.rows) == sorted(task.id for task in tasks(20))
    assert {row["steps"] for row in result.rows} == {30}
    assert {view for row in result.rows for view in row["views"]} == {256}


def test_a_job_does_what_its_seconds_allow():
    cost = Cost(copy=0.1, view=0.05, setup=0.5)
    box = Machine({("", 16): cost}, 0.0, {})
    one = [SimTask("a", 16, 1, 1, Outlook())]
    seconds, [row] = do(Job(("a",), 16, seconds=10.0), one, CPU, box)
    assert row["steps"] == 83  # 8.8 s, half a second of it before the first step
    assert row["views"] == [32]  # the second chunk of 16 was begun in time
    assert seconds == pytest.approx(8.8 + 1.6)
    seconds, [row] = do(Job(("a",), 16, seconds=1000.0), one, CPU, box)
    assert row["steps"] == CPU.budget_steps
    stack = [SimTask(name, 16, 1, 1, outlook) for name, outlook in (("a", EASY), ("b", EASY), ("c", Outlook()))]
    _, rows = do(Job(("a", "b", "c"), 16, seconds=None), stack, CPU, box)
    assert [(row["steps"], row["settled"]) for row in rows] == [(60, True), (60, True), (300, False)]
    assert rows[0]["adapt_seconds"] == pytest.approx((0.5 + 60 * 0.3 + 240 * 0.1) / 3)
    _, divided = do(Job(("a", "b", "c"), 16, seconds=None), stack, CPU, replace(box, fits={("", 16): 2}))
    assert [row["steps"] for row in divided] == [60, 60, 300]
    assert divided[0]["adapt_seconds"] == pytest.approx((0.5 + 60 * 0.2) / 2)


def test_the_speed_of_an_earlier_run_is_that_of_weights_with_the_same_name(tmp_path):
    questions, truth = small_tasks(3)
    run = read_run(write_run(tmp_path / "run", questions, truth, ["hit"] * 3))
    rows = [row for rows in run.log.values() for row in rows]
    assert run.config["weights"]["name"] == "nano"
    rows[0]["weights"] = "small"
    both, own = presets.chosen("cpu"), presets.chosen("cpu", "small")
    models = {key: checkpoint.running(name) for key, name in both.networks.items()}
    assert _speeds(run, both, models)[1] == {"", "small"}
    speeds, made_of = _speeds(run, own, {"": models["small"]})
    assert made_of == {""}
    assert speeds.seconds("step", rows[0]["canvas"]) == pytest.approx(rows[0]["adapt_seconds"] / rows[0]["steps"])
    with pytest.raises(ValueError, match="its log, of nano, says nothing about the speed of random:toy"):
        _speeds(run, presets.chosen("cpu", "random:toy"), {"": MODELS["toy"]})


@pytest.mark.parametrize("size", [8, 12])
def test_counted_flops_are_those_that_torch_counts(size):
    model = MODELS["toy"]
    network = Network(model)
    canvas = torch.randint(0, 12, (1, 1, size, size))
    zero = torch.zeros(1, 1, dtype=torch.int64)
    with plain(), FlopCounterMode(display=False) as counter:
        # In bfloat16 attention is written out on a CPU; the fused kernel there is one that torch does not count.
        list(network(canvas, zero, zero, torch.arange(10).view(1, 1, 10), dtype=torch.bfloat16))
    assert forward_flops(model, size) == counter.get_total_flops()


@pytest.mark.slow
def test_the_command_measures_simulates_and_draws(tmp_path, capsys):
    rng = np.random.default_rng(0)
    grid = lambda: rng.integers(0, 10, (3, 3)).tolist()  # noqa: E731
    file = {f"{n:08x}": {"train": [{"input": grid(), "output": grid()}], "test": [{"input": grid()}]} for n in range(3)}
    source, svg = tmp_path / "challenges.json", tmp_path / "plan.svg"
    source.write_bytes(orjson.dumps(file))
    command = ["dry-run", str(source), "--weights", "random:toy", "--budget", "10m", "--svg", str(svg)]
    assert main([*command, "--device", "cpu", "--workers", "1", "--fault", "worker@30s", "--fault", "parent@2h"]) == 0
    out = capsys.readouterr().out
    assert "3 tasks, weights random:toy, budget 10m00s" in out
    assert "measured with 1 worker at once on cpu" in out
    assert "ESTIMATE" not in out
    assert "answered        3 of 3 tasks" in out
    assert "fault           worker died at 30.0 s: lost" in out
    assert "parent at 2h00m: after the end" in out
    assert svg.read_text(encoding="utf-8").count("<svg") == 1
    assert "; no task is zoomed" in out
    assert main([*command, "--weights", "random:nano,random:toy"]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 tasks may be zoomed; further copies of random:toy too" in out
    assert "12, zoomed" in out
    assert "8, random:toy" in out
    assert main([*command, "--weights", "nano,random:toy", "--profile", "l4x4"]) == 0
    out = capsys.readouterr().out
    assert "8, random:toy" in out
    assert "ESTIMATE: a device does" in out
    assert main([*command, "--fault", "worker7@1m"]) == 2
    assert "worker7" in capsys.readouterr().err
    assert main([*command, "--profile", "tpu"]) == 2
    assert "no profile is called 'tpu'" in capsys.readouterr().err
