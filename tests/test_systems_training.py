"""The systems of the field, trained: fine-tuning in stacks, pretraining that resumes exactly, halting, the targets of
Deep Improvement Supervision, examples for a program, bundles."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import CPU, SYSTEMS, given, shaken, supports

from solver.arc.datasets import PackedPairs
from solver.arc.hashing import pack_pairs
from solver.arc.tasks import Task
from solver.learn.adapt import adapt
from solver.learn.augment import Augmentation, draw_plan, render_examples
from solver.learn.batches import Slot
from solver.learn.objective import improving_targets
from solver.learn.predict import PredictConfig, predict, trace
from solver.learn.recipe import AdaptConfig
from solver.model import Network, unstack
from solver.training.corpus import Corpus
from solver.training.episodes import Episodes
from solver.training.loop import save
from solver.training.presets import TRAIN_PRESETS, TrainConfig
from solver.training.pretrain import Trainer
from solver.training.sources import Sources
from solver.weights import checkpoint

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_adapted_in_a_stack_exactly_as_alone_and_looks_at_a_test(name):
    network = shaken(SYSTEMS[name])
    slots = [Slot(supports(10 * s)[: 3 - s], seed=s) for s in range(3)]  # the last has no other pair to show
    config = AdaptConfig(steps=4, batch=2)
    together = adapt(network, slots, 8, config, device=CPU)
    assert together.failed == [False] * 3
    for n, slot in enumerate(slots):
        alone = adapt(network, [slot], 8, config, device=CPU)
        assert alone.loss[0] == pytest.approx(together.loss[n], rel=1e-3)
        for a, b in zip(unstack(alone.network, 0).parameters(), unstack(together.network, n).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)
    tuned, task = unstack(together.network, 0), Task("copy", tuple(slots[0].pairs), (slots[0].pairs[0].input,))
    pool = predict(tuned, task, 0, 8, PredictConfig(views=6, chunk=4), seed=1, device=CPU)
    assert pool.total_views == 6
    assert len(trace(tuned, task, 0, 8, device=CPU)) == network.config.loops
    whole = predict(tuned, task, 0, 8, PredictConfig(views=6, chunk=6), seed=1, device=CPU)
    assert [(c.grid.tolist(), c.views) for c in whole.candidates] == [
        (c.grid.tolist(), c.views) for c in pool.candidates
    ]


@pytest.fixture(scope="module")
def sources():
    """Three tasks of three small pairs each."""
    sides = [(3, 3), (4, 2), (2, 5)] * 3
    rng = np.random.default_rng(0)
    grids = [rng.integers(0, 10, side).astype(np.uint8) for side in sides]
    shapes, cells, offsets = pack_pairs([(grid, grid) for grid in grids])
    pairs = PackedPairs(np.array(["a", "b", "c"]), np.repeat(np.arange(3), 3), shapes, cells, offsets)
    return Sources(pairs, np.zeros(0, np.uint64), pairs, {}, {}, {})


def preset(name):
    return TrainConfig(name=name, model=SYSTEMS[name], mix={8: 1.0}, batch_cells=512, half_loops=0.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_trains_resumes_exactly_and_leaves_a_bundle_that_loads_strictly(name, sources, tmp_path):
    whole, begun, resumed = (Trainer(preset(name), sources, CPU, seed=1) for _ in range(3))
    for trainer in (whole, begun):
        for _ in range(3):
            trainer.train_step(0.6)
    save(begun, tmp_path / "latest.pt")
    resumed.load_state(torch.load(tmp_path / "latest.pt", weights_only=True))
    for _ in range(3):
        assert torch.equal(whole.train_step(0.7), resumed.train_step(0.7))
    assert resumed.samples == whole.samples
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert 0.0 <= whole.validate(whole.config.model.loops) <= 1.0
    tokens = whole.average.conditioning.tasks
    tokens.copy_(tokens.mean(dim=0).expand_as(tokens))  # which is what a bundle keeps
    bundle = checkpoint.save_bundle(tmp_path, "system", whole.average, {}, np.arange(3, dtype=np.uint64))
    again = checkpoint.load(str(bundle.path))
    assert again.config == SYSTEMS[name]
    views, how = given(again.config)
    for a, b in zip(whole.average(*views, **how), again(*views, **how), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "name", ["trm-nano", "trm-mlp-nano", "dis-nano", "ierm-nano", "trm", "trm-mlp", "dis-small", "ierm"]
)
def test_a_named_system_takes_a_training_step(name, sources):
    size = min(TRAIN_PRESETS[name]().mix)
    config = replace(TRAIN_PRESETS[name](), mix={size: 1.0}, batch_cells=size**2, optimizer="adamw")
    trainer = Trainer(config, sources, CPU)
    before = trainer.network.head.clone()
    assert bool(trainer.train_step(0.5).isfinite())
    assert not torch.equal(trainer.network.head, before)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_batch_for_which_memory_is_short_is_worked_in_parts_with_the_same_gradients(
    name, sources, monkeypatch, capsys
):
    whole, parted = (Trainer(preset(name), sources, CPU, seed=1) for _ in range(2))
    steps, seen = Network.steps, []

    def full(network, canvas, *rest, **named):
        seen.append(canvas.shape[1])
        if canvas.shape[1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return steps(network, canvas, *rest, **named)

    expected = whole.train_step(0.3)
    monkeypatch.setattr(Network, "steps", full)
    torch.testing.assert_close(parted.train_step(0.3), expected, rtol=1e-4, atol=1e-5)
    for a, b in zip(whole.network.parameters(), parted.network.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5)
    assert parted.running.keys() == whole.running.keys()
    for size, mine in parted.running.items():  # with a halting head
        theirs = whole.running[size]
        for one in ("taken", "least", "over"):
            assert torch.equal(getattr(mine, one), getattr(theirs, one))
        for state, state_of_whole in zip(mine.states or (), theirs.states or (), strict=True):
            torch.testing.assert_close(state, state_of_whole, rtol=1e-3, atol=1e-4)
    assert bool(parted.train_step(0.6).isfinite())  # in as many parts, at once
    assert seen == [8, 4, *[2] * 8]
    assert (parted.parts.count, parted.step) == (4, 2)
    assert parted.samples == (8 if parted.running else 16)
    assert capsys.readouterr().out.count("not enough memory for") == 2


def test_memory_for_not_even_one_sample_ends_a_training(sources, monkeypatch):
    trainer = Trainer(preset("trm"), sources, CPU)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Network, "steps", full)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train_step(0.5)


def test_weights_and_checkpoints_of_another_system_are_refused_in_a_line(sources, tmp_path):
    trm, dis = (Trainer(preset(name), sources, CPU) for name in ("trm", "dis"))
    bundle = checkpoint.save_bundle(tmp_path, "dis", dis.average, {}, np.arange(3, dtype=np.uint64))
    for refuse in (lambda: trm.start_from(bundle), lambda: trm.load_state(dis.state())):
        with pytest.raises(ValueError, match=r"holds another model: .*supervision dis, not halting; ") as error:
            refuse()
        assert "\n" not in str(error.value)


def test_a_sample_that_halts_is_replaced_and_others_go_on(sources):
    trainer = Trainer(preset("trm"), sources, CPU, seed=1)
    loops = trainer.config.model.loops
    for _ in range(loops):  # the head starts sure that nothing is exact
        before = trainer.running.get(8)
        trainer.train_step(0.6)
    assert trainer.samples == 8
    assert before is not None
    assert not before.over.any()
    assert trainer.running[8].over.all()
    assert trainer.running[8].taken.tolist() == [loops] * 8
    assert trainer.network.halting is not None
    with torch.no_grad():
        trainer.network.halting.bias.fill_(1e3)  # now everything halts, after its least number of steps
    trainer.train_step(0.6)
    running = trainer.running[8]
    assert trainer.samples == 16
    assert running.over.tolist() == (running.taken >= running.least).tolist()
    assert running.over.sum() > 0


def test_targets_of_dis_go_from_the_input_to_the_truth_and_never_back():
    canvas, target = torch.randint(0, 12, (2, 1, 3, 8, 8)).unbind(0)
    noise = torch.rand(1, 3)
    steps = improving_targets(canvas, target, noise, 4, "input")
    assert torch.equal(steps[-1], target)
    right = [(step == target) for step in steps]
    for fewer, more in itertools.pairwise(right):
        assert bool((more | ~fewer).all())
    taken = [float(((step == canvas) & (canvas != target)).float().mean()) for step in steps]
    for share, expected in zip(taken, (0.75, 0.5, 0.25, 0.0), strict=True):
        assert share == pytest.approx(expected * float((canvas != target).float().mean()), abs=0.06)
    noisy = improving_targets(canvas, target, noise, 4, "noise")[0]
    assert bool(((noisy == target) | ((target < 10) & (noisy < 10))).all())
    assert len(noisy[noisy != target].unique()) == 10


def test_examples_are_other_pairs_of_the_same_task(sources):
    corpus = Corpus(sources.pairs, (8,), CPU)
    generator = torch.Generator().manual_seed(0)
    plan = draw_plan(corpus.table, corpus.draw(8, 64, generator), 8, generator, Augmentation())
    shown = Episodes(corpus, 8).completed(plan, SYSTEMS["ierm"], generator).shown
    assert shown is not None
    assert shown.shape == (64, 2)
    for which, pairs in zip(plan.which.tolist(), shown.tolist(), strict=True):
        assert sorted([which, *pairs]) == [which // 3 * 3 + i for i in range(3)]
    examples = render_examples(corpus.table, shown, plan.views, plan.place, 8)
    assert torch.equal(examples[:, :, 0], examples[:, :, 1])  # in these tasks the output is the input
    one = render_examples(corpus.table, torch.full((64, 1), -1), plan.views, plan.place, 8)
    assert set(one.unique().tolist()) == {10}


def test_a_mix_of_two_sizes_is_refused_for_a_mixer_over_tokens():
    with pytest.raises(ValueError, match="canvases of 16 alone, the mix has 12, 16"):
        replace(TRAIN_PRESETS["trm-mlp-nano"](), mix={12: 0.5, 16: 0.5})
