"""What a device allows: number types, kernels, memory; float16 with its loss scale; stacks that fit."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import CPU, copy_task, shaken

from solver import presets
from solver.arc.tasks import Task
from solver.device import compute_dtype, has_kernels, lacking, pick_device, training_dtype, worker_devices
from solver.errors import explain
from solver.learn import adapt as adapting
from solver.learn import memory
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.memory import free_bytes
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.learn.stacked_adamw import ScaledAdamW, StackedAdamW
from solver.model import MODELS, Network, stack
from solver.run import job as jobs
from solver.run.schedule import Job

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("capability", "dtype", "training"),
    [
        ((6, 0), torch.float32, torch.float32),
        ((7, 0), torch.float16, torch.float32),
        ((7, 5), torch.float16, torch.float32),
        ((8, 0), torch.bfloat16, torch.bfloat16),
        ((12, 0), torch.bfloat16, torch.bfloat16),
    ],
)
def test_each_card_computes_in_what_it_is_fast_in(capability, dtype, training, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert compute_dtype(GPU) == dtype
    assert training_dtype(GPU) == training


def test_an_apple_gpu_is_taken_only_when_asked_for_in_float32_by_one_process(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no Apple GPU"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    where = pick_device("mps")
    assert pick_device("auto").type != "mps"
    assert (compute_dtype(where), training_dtype(where)) == (torch.float32, torch.float32)
    assert worker_devices(where, 4, 100) == (["mps"], 1)
    assert presets.chosen("mps", "nano") == presets.chosen("cpu", "nano")


def test_the_memory_of_an_apple_gpu_is_what_the_system_recommends(monkeypatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10_000)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 4_000)
    assert free_bytes(torch.device("mps")) == 6_000


def test_an_operation_that_torch_lacks_is_named(monkeypatch):
    with pytest.raises(RuntimeError, match="Cannot copy out of meta tensor") as other:
        torch.empty(1, device="meta").to("cpu")
    assert lacking(other.value) is None  # about no operation, though of the kind that torch raises for one
    kind = type(other.value)
    assert kind is not RuntimeError
    text = "The operator 'aten::_foo.out' is not currently implemented for the MPS device. If you want this op ..."

    def refuse(*_, **__):
        raise kind(text)

    monkeypatch.setattr(jobs, "adapt", refuse)
    task = Task("a", tuple(copy_task(1)), (np.ones((3, 3), np.uint8),))
    assert explain(kind(text)) == (f"tinyarc: {lacking(kind(text))}", 1)  # in training, which has no rows for tasks
    network = Network(MODELS["toy"], tasks=1)
    (outcome,) = jobs.run_job(network, [task], Job(("a",), 8), CONFIG, seed=0, device=CPU, dtype=torch.float32)
    assert outcome.row["error"].startswith(f"torch {torch.__version__} has no aten::_foo.out on mps; take --device cpu")


def test_a_card_this_torch_was_not_built_for_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"])
    assert pick_device() == CPU
    with pytest.raises(ValueError, match="not built for sm_60"):
        pick_device("cuda")
    for capability, built in (((7, 5), True), ((8, 9), True), ((7, 0), False), ((12, 1), True), ((10, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert has_kernels(GPU) == built


def losses(monkeypatch, dtype, slots, config, spoil=None):
    """Adapts toy; returns the outcome, and after every step the mean losses (N,) and the scales (N,)."""
    whole, step = adapting.backward, ScaledAdamW.step
    seen: list[torch.Tensor] = []
    scales: list[torch.Tensor] = []

    def backward(*arguments, **named):
        loss, logits = whole(*arguments, **named)
        seen.append(loss.mean(1))
        return loss, logits

    def scaled(self, factor):
        if spoil is not None:
            spoil(self, len(scales))
        step(self, factor)
        scales.append(self.scale)

    with monkeypatch.context() as patch:
        patch.setattr(adapting, "backward", backward)
        patch.setattr(ScaledAdamW, "step", scaled)
        adapted = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU, dtype=dtype)
    return adapted, seen, scales


SLOTS = [Slot(copy_task(s), s) for s in range(2)]


@pytest.mark.slow
def test_float16_learns_as_float32_does(monkeypatch):
    config = AdaptConfig(steps=40, batch=4)
    _, expected, none = losses(monkeypatch, torch.float32, SLOTS, config)
    half, got, scales = losses(monkeypatch, torch.float16, SLOTS, config)
    assert none == []
    assert len(scales) == 40
    assert expected[-1].max() < 0.6 * expected[0].min()
    torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=0.02, atol=0.01)
    assert half.failed == [False, False]
    assert half.network.cell.dtype == torch.float32


@pytest.mark.slow
def test_an_overflow_costs_its_copy_one_update_and_its_neighbour_nothing(monkeypatch):
    config = AdaptConfig(steps=30, batch=4)

    def overflow(optimizer, step):
        if step in (0, 9):
            optimizer.parameters[3].grad[0].flatten()[0] = float("inf")

    calm, expected, _ = losses(monkeypatch, torch.float16, SLOTS, config)
    hurt, got, scales = losses(monkeypatch, torch.float16, SLOTS, config, overflow)
    assert hurt.failed == [False, False]
    got, expected = torch.stack(got), torch.stack(expected)
    assert torch.equal(got[:, 1], expected[:, 1])
    for a, b in zip(calm.network.parameters(), hurt.network.parameters(), strict=True):
        assert torch.equal(a[1], b[1])
    start = ScaledAdamW.START
    assert [scale[0].item() for scale in scales] == [start / 2] * 9 + [start / 4] * 21
    assert {scale[1].item() for scale in scales} == {start}
    assert got.isfinite().all()
    assert got[-1, 0] < 0.7 * got[0, 0]


@pytest.mark.slow
def test_a_copy_whose_gradients_are_never_finite_fails_alone(monkeypatch):
    def overflow(optimizer, step):
        if len(optimizer.scale) == 2:
            optimizer.parameters[3].grad[0] = float("nan")

    hurt, _, _ = losses(monkeypatch, torch.float16, SLOTS, AdaptConfig(steps=30, batch=2), overflow)
    assert hurt.failed == [True, False]
    assert hurt.steps == [14, 30]  # from 2^13 below 1


def test_the_scale_grows_again_and_does_not_change_the_update(monkeypatch):
    monkeypatch.setattr(ScaledAdamW, "PATIENCE", 3)
    both = [stack(shaken(MODELS["toy"]), 2) for _ in range(2)]
    rates = [1e-3] * len(list(both[0].parameters()))
    plain, scaled = StackedAdamW(both[0], rates, 1.0), ScaledAdamW(both[1], rates, 1.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        for p, q in zip(plain.parameters, scaled.parameters, strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad * scaled.scale.view(-1, *[1] * (p.dim() - 1))
        for optimizer in (plain, scaled):
            optimizer.step(torch.tensor([1.0, 0.5]))
    assert scaled.scale.tolist() == [4 * ScaledAdamW.START] * 2
    for p, q in zip(plain.parameters, scaled.parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


GROWTH = """
import resource, sys
import numpy as np, torch
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.recipe import AdaptConfig
from solver.learn.memory import copy_bytes
from solver.model import MODELS, Network
from solver.arc.tasks import Pair
torch.set_num_threads(1)
name, dtype, size, copies = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
network, config, cpu = Network(MODELS[name]), AdaptConfig(steps=2), torch.device("cpu")
grid = np.random.default_rng(0).integers(0, 10, (size - 2, size - 2)).astype(np.uint8)
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
adapt(network, [Slot([Pair(grid, grid)], 0)] * copies, size, config, device=cpu, dtype=dtype)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
grown = int(status["VmHWM"].split()[0]) * 1024 - before
print(grown / copies / copy_bytes(network, size, config, cpu, dtype))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the sizes are told in other ways elsewhere")
@pytest.mark.parametrize(
    "case", ["toy float32 16 16", "nano float32 16 4", "nano bfloat16 16 4"], ids=lambda case: case.replace(" ", "-")
)
def test_the_estimate_of_a_copys_memory_is_right_within_a_factor_of_two(case):
    name, dtype, size, copies = case.split()
    for wanted in ((name, dtype, "8", "1"), (name, dtype, size, copies)):  # the first compiles, which takes memory too
        command = [sys.executable, "-c", GROWTH, *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    ratio = float(done.stdout)
    assert memory.SAFETY / 2 < ratio < memory.SAFETY


def test_a_gauge_learns_and_never_forgets():
    gauge, network, config = memory.Gauge(CPU), Network(MODELS["nano"]), AdaptConfig()
    first = gauge.fitting(network, 16, config, torch.float32)
    assert gauge.fitting(network, 32, config, torch.float32) < first
    model, other = network.config, MODELS["toy"]
    gauge.learn(model, 16, 1.0)
    gauge.learn(model, 16, 0.5)
    assert gauge.ratio(model, 16) == pytest.approx(1.1)
    assert gauge.ratio(model, 32) == gauge.ratio(other, 16) == memory.SAFETY
    with pytest.raises(MemoryError), gauge.measure(network, 16, config, torch.float32, 4):
        raise MemoryError
    assert gauge.ratio(model, 16) == pytest.approx(2.2)
    assert gauge.ratio(model, 32) == pytest.approx(2.2)
    with pytest.raises(ZeroDivisionError), gauge.measure(network, 16, config, torch.float32, 4):
        raise ZeroDivisionError
    assert gauge.ratio(model, 16) == pytest.approx(2.2)


CONFIG = replace(presets.cpu(), adapt=AdaptConfig(steps=2, batch=2), predict=PredictConfig(views=8, chunk=8))


@pytest.mark.parametrize(("room", "stacks"), [(100, [7]), (4, [4, 3]), (3, [3, 3, 1]), (1, [1] * 7)])
def test_a_job_is_divided_into_stacks_that_fit(room, stacks, monkeypatch):
    network = shaken(MODELS["toy"])
    one = memory.copy_bytes(network, 8, CONFIG.adapt, CPU, torch.float32) * memory.SAFETY
    monkeypatch.setattr(memory, "free_bytes", lambda device: (room + 0.5) * one / memory.USABLE)
    memory.gauge.cache_clear()
    seen = []

    def watch(network, slots, *arguments, **named):
        seen.append(len(slots))
        return adapt(network, slots, *arguments, **named)

    monkeypatch.setattr(jobs, "adapt", watch)
    grid = np.ones((3, 3), np.uint8)
    tasks = [Task(str(n), tuple(copy_task(n)), (grid,)) for n in range(7)]
    job = Job(tuple(task.id for task in tasks), 8)
    outcomes = jobs.run_job(network, tasks, job, CONFIG, seed=0, device=CPU, dtype=torch.float32)
    assert seen == stacks
    assert [outcome.task_id for outcome in outcomes] == [task.id for task in tasks]
    assert all(outcome.pools and outcome.pools[0].total_views == 8 for outcome in outcomes)
