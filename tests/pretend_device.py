"""What would go wrong on a GPU only, seen on a pretend device: tensors left on the CPU, and hidden waits for the device
within a step."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
import torch
from small import copy_task
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from solver.arc.datasets import PackedPairs
from solver.arc.hashing import pack_pairs
from solver.arc.tasks import Task
from solver.learn import adapt as adapting
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.predict import predict, trace
from solver.learn.stacked_adamw import ScaledAdamW, StackedAdamW
from solver.model import MODELS, Network, unstack
from solver.model.blocks import rotary_table
from solver.model.fused import plain
from solver.presets import gpu
from solver.training import pretrain
from solver.training.presets import base
from solver.training.pretrain import Trainer
from solver.training.sources import Sources

pretending = pytest.importorskip("pretend", reason="this torch has no devices made in Python", exc_type=ImportError)
import train_memory as counting  # noqa: E402

SHORT = replace(MODELS["base"], loops=2)


@pytest.fixture
def there():
    with pretending.pretend() as mode:
        yield mode


def sources():
    """A pair of every size."""
    sides = (3, 9, 13, 20, 29)
    shapes, cells, offsets = pack_pairs([(np.ones((s, s), np.uint8),) * 2 for s in sides])
    names = np.array([f"task {s}" for s in sides])
    pairs = PackedPairs(names, np.arange(len(sides)), shapes, cells, offsets)
    return Sources(pairs, np.zeros(0, np.uint64), pairs, {}, {}, {})


@pytest.fixture
def trainer(there, monkeypatch):
    monkeypatch.setattr(pretrain, "training_dtype", lambda device: torch.bfloat16)

    def build(**changes):
        config = replace(base(), **changes)
        for size in config.mix:  # these are made once for a process, with a copy
            rotary_table(size // 2, 14, 64, torch.bfloat16, there.device, "2d")
        built = Trainer(config, sources(), there.device)
        there.waits.clear()
        return built

    return build


@pytest.mark.parametrize(("optimizer", "sizes"), [("muon", (12, 32)), ("adamw", (16, 24))])
@pytest.mark.parametrize("supervision", ["last", "all", "detached", "dis"])
def test_a_training_step_of_base_stays_on_the_device_and_never_waits(supervision, optimizer, sizes, there, trainer):
    built = trainer(model=replace(MODELS["base"], supervision=supervision), optimizer=optimizer)
    assert sum(p.numel() for p in built.network.parameters()) > 5e6
    for progress, size in zip((0.1, 0.9), sizes, strict=True):
        built.config = replace(built.config, mix={size: 1.0})
        assert built.batch(size) == 262144 // size**2
        loss = built.train_step(progress)
        assert loss.device == there.device
        assert there.waits == []
    assert {p.grad.device for p in built.network.parameters()} == {there.device}
    assert {p.device for p in built.average.parameters()} == {there.device}


def test_warming_up_never_waits_and_validation_waits_for_its_counts_only(there, trainer):
    built = trainer(model=SHORT)
    built.warm_up()
    assert there.waits == []
    assert built.validate(loops=2) > 0
    assert there.waits
    assert all("tolist()" in line or "int(exact(" in line or "torch.tensor(chosen" in line for line in there.waits)


def marked(monkeypatch, there, owner, name, mark):
    """Notes `mark` among the waits whenever a method begins."""
    whole = getattr(owner, name)

    def method(*arguments, **named):
        there.waits.append(mark)
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("size", "dtype", "optimizer"), [(16, torch.bfloat16, StackedAdamW), (32, torch.float16, ScaledAdamW)]
)
def test_adapting_a_stack_waits_only_to_look_at_it(size, dtype, optimizer, there, monkeypatch):
    monkeypatch.setattr(adapting, "look_every", lambda device: 4)

    def told(tensor):  # of 32 copies, eight have failed at the first look
        values = torch.ones(tensor.shape)
        values[..., :8] = values[..., :8] if tensor.shape[-1] < 32 else float("nan")
        return values

    there.reads = told
    network = Network(SHORT)
    rotary_table(size // 2, 14, 64, dtype, there.device, "2d")
    slots = [Slot(copy_task(seed), seed) for seed in range(32)]
    marked(monkeypatch, there, Network, "steps", "begin")
    marked(monkeypatch, there, optimizer, "step", "end")
    adapted = adapt(network, slots, size, replace(gpu().adapt, steps=8), device=there.device, dtype=dtype)
    assert gpu().adapt.batch == 16
    assert adapted.failed == [True] * 8 + [False] * 24
    assert adapted.steps == [1] * 8 + [8] * 24
    steps = [list(run) for mark, run in groupby(there.waits, lambda line: line in ("begin", "end")) if mark]
    assert steps == [["begin", "end"] * 4] * 2
    assert {p.device for p in adapted.network.parameters()} == {there.device}
    assert adapted.network.cell.shape == (32, 48, 512)


@pytest.mark.parametrize(("size", "dtype"), [(16, torch.bfloat16), (16, torch.float32), (32, torch.float16)])
def test_views_wait_for_what_they_decoded_only(size, dtype, there):
    stacked = adapting.stack(Network(SHORT).to(there.device), 2)
    task = Task("one", tuple(copy_task(0)), (np.ones((5, 6), np.uint8),))
    rotary_table(size // 2, 14, 64, dtype, there.device, "2d")
    there.waits.clear()
    network = unstack(stacked, 1)
    assert there.waits == []
    config = replace(gpu().predict, views=80)
    pool = predict(network, task, 0, size, config, seed=0, device=there.device, dtype=dtype)
    assert pool.total_views == 80
    # Every canvas "says" that its grid is one cell of colour 1, which the views undo to other colours.
    assert len(pool.candidates) > 1
    assert all(candidate.scored_views == 80 for candidate in pool.candidates)
    chunks = -(-80 // {16: 64, 32: 16}[size])
    assert sum("place.scale.max()" in line for line in there.waits) == chunks
    copies = (".cpu()", "to(device)", "device=device", "place.scale.max()")
    assert [line for line in there.waits if not any(kind in line for kind in copies)] == []
    assert len(trace(network, task, 0, size, device=there.device, dtype=dtype)) == 2


def test_a_value_that_is_read_within_a_step_is_noticed(there, trainer, monkeypatch):
    built, draw = trainer(), pretrain.draw_plan

    def reading(table, which, *rest):
        which.max().item()
        return draw(table, which, *rest)

    monkeypatch.setattr(pretrain, "draw_plan", reading)
    built.train_step(0.1)
    assert len(there.waits) == 1
    assert "which.max().item()" in there.waits[0]
    there.waits.clear()
    monkeypatch.setattr(pretrain, "draw_plan", lambda table, which, *rest: draw(table, which.cpu(), *rest))
    with pytest.raises(RuntimeError, match="mixes a tensor of the CPU"):
        built.train_step(0.1)
    assert len(there.waits) == 1


def test_a_shape_that_depends_on_data_is_noticed(there):
    x = torch.ones(3, device=there.device)
    for change in (lambda: x[x > 0], lambda: x.nonzero(), lambda: x.unique()):
        with pytest.raises(DynamicOutputShapeException):
            change()
    assert bool(x.all())
    assert len(there.waits) == 1


def test_a_tensor_left_on_the_cpu_is_noticed(there, trainer):
    built = trainer()
    built.corpus.tasks = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(RuntimeError, match=r"episodes.py:\d+: .* = corpus.tasks\[.*mixes a tensor"):
        built.train_step(0.1)


def test_the_arithmetic_of_a_step_is_what_it_is_by_hand():
    config = replace(base(), model=SHORT, optimizer="adamw", batch_cells=16 * 32**2)
    side, length = 16, 16 * 16 + 14
    products = 2 * length * 512 * (4 * 512 + 3 * 1024) * 3
    attention = 4 * length**2 * 512 * 3.5  # the backward pass computes the weights again
    convolution = 2 * 9 * 1024 * side**2 * 3
    head = 2 * side**2 * 512 * 48 * 3
    by_hand = 16 * 2 * (2 * (products + attention + convolution) + head)
    assert counting.step_cost(config, sources(), 32).flops == by_hand


def test_base_trains_on_two_cards_of_15_gigabytes_in_float32(there, trainer, monkeypatch):
    monkeypatch.setattr(pretrain, "training_dtype", lambda device: torch.float32)
    built = trainer(batch_cells=base().batch_cells // 2, mix={12: 0.5, 32: 0.5})
    there.room = 14e9
    built.warm_up()
    assert built.parts.count == 2
    there.peak = there.live
    built.train_step(0.9)
    assert there.peak < there.room


@pytest.mark.parametrize("supervision", ["all", "detached"])
def test_the_memory_counted_is_what_autograd_saves_on_the_cpu(supervision, monkeypatch):
    model = replace(MODELS["toy"], supervision=supervision)
    config = replace(base(), model=model, mix={16: 1.0}, batch_cells=32 * 256)
    counted = counting.step_cost(config, sources(), 16, torch.float32)
    monkeypatch.setattr(pretrain, "training_dtype", lambda device: torch.float32)
    built = Trainer(config, sources(), torch.device("cpu"))
    weights = {p.untyped_storage().data_ptr() for p in built.network.parameters()}
    saved, most, whole = {}, [], torch.Tensor.backward

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def backward(loss):
        most.append(sum(saved.values()))
        whole(loss)
        saved.clear()

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with plain(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):  # as a GPU computes
        built.train_step(0.9)
    assert len(most) == (2 if supervision == "detached" else 1)
    assert max(most) < counted.kept < 1.08 * max(most)  # the batch, the state and the logits are there besides
    state = sum(p.numel() for p in built.network.parameters()) * 4
    assert counted.peak > counted.before + counted.kept > 3 * state + counted.kept
