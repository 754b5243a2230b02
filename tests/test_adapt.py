"""Adaptation: stacked equals one by one, also when copies end early and leave the stack; a rule is learned; an early
stop settles; a diverging copy is named."""

import numpy as np
import pytest
import torch
from small import CPU, copy_task, shaken

from solver.arc.tasks import Pair, Task
from solver.learn import adapt as adapting
from solver.learn.adapt import adapt, leave_one_out
from solver.learn.augment import Augmentation
from solver.learn.batches import Slot
from solver.learn.predict import PredictConfig, predict, trace
from solver.learn.recipe import AdaptConfig
from solver.learn.stacked_adamw import StackedAdamW
from solver.model import MODELS, unstack


@pytest.mark.slow
def test_stacked_adaptation_equals_one_by_one():
    network = shaken(MODELS["toy"])
    slots = [Slot(copy_task(s), seed=s) for s in range(3)]
    slots[1] = Slot(slots[1].pairs[:2], seed=1)  # stacks hold tasks of different numbers of supports
    config = AdaptConfig(steps=20, batch=3)
    together = adapt(network, slots, 8, config, device=CPU)
    for n, slot in enumerate(slots):
        alone = adapt(network, [slot], 8, config, device=CPU)
        for a, b in zip(unstack(alone.network, 0).parameters(), unstack(together.network, n).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)
        assert alone.loss[0] == pytest.approx(together.loss[n], rel=1e-3)
    before = list(network.parameters())[0]
    assert not torch.allclose(before, unstack(together.network, 0).cell)


@pytest.fixture(scope="module")
def learned():
    slot = Slot(copy_task(0), seed=0)
    config = AdaptConfig(
        steps=600, batch=8, lr=5e-3, patience=4, margin=0.2, augmentation=Augmentation(max_scale=1, move=False)
    )
    return adapt(shaken(MODELS["toy"]), [slot], 8, config, device=CPU), slot


@pytest.mark.slow
def test_a_copy_rule_is_learned_settles_early_and_carries_over(learned):
    adapted, slot = learned
    assert adapted.settled == [True]
    assert adapted.steps[0] < 600
    test = np.arange(9, dtype=np.uint8).reshape(3, 3)
    task = Task("copy", tuple(slot.pairs), (test,))
    network = unstack(adapted.network, 0)
    pool = predict(network, task, 0, 8, PredictConfig(views=16, chunk=5, move=False), seed=1, device=CPU)
    best = max(pool.candidates, key=lambda c: c.views)
    np.testing.assert_array_equal(best.grid, test)
    assert pool.total_views == 16
    assert best.scored_views == 16
    strip = trace(network, task, 0, 8, device=CPU)
    assert len(strip) == network.config.loops
    assert strip[-1][:3] == ["012#", "345#", "678#"]


@pytest.mark.slow
def test_seconds_end_adaptation_between_steps():
    clock = iter(range(1000))
    slot = Slot(copy_task(0), seed=0)
    adapted = adapt(
        shaken(MODELS["toy"]), [slot], 8, AdaptConfig(steps=500), device=CPU, seconds=10.0, clock=lambda: next(clock)
    )
    assert 8 <= adapted.steps[0] <= 11


def test_a_copy_that_diverges_fails_alone(monkeypatch):
    slots = [Slot(copy_task(0), 0), Slot(copy_task(1), 1)]
    config = AdaptConfig(steps=4, batch=2)
    healthy = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU)
    whole = StackedAdamW.step

    def spoil(self, factor):
        if self.updates == 0:
            self.parameters[0].grad[0] = float("nan")
        whole(self, factor)

    monkeypatch.setattr(StackedAdamW, "step", spoil)
    spoiled = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU)
    assert spoiled.steps == [2, 4]
    assert healthy.failed == [False, False]
    assert spoiled.failed == [True, False]
    assert spoiled.loss[1] == pytest.approx(healthy.loss[1], rel=1e-4)


STILL = Augmentation(max_scale=1, move=False)
EASY = AdaptConfig(steps=80, batch=8, lr=5e-3, patience=2, margin=0.25, settle=8, augmentation=STILL)


def mixed_slots():
    """Four tasks that end at different steps: two copy grids and settle, two have nothing to go by and do not."""
    rng = np.random.default_rng(5)
    hard = [[Pair(*rng.integers(0, 10, (2, 3, 3)).astype(np.uint8)) for _ in range(4)] for _ in range(2)]
    return [Slot(hard[0], 7), Slot(copy_task(0), 0), Slot(hard[1], 8), Slot(copy_task(0), 3)]


@pytest.mark.slow
def test_copies_that_end_leave_the_stack_and_the_others_do_not_notice(monkeypatch):
    slots, widths = mixed_slots(), []
    whole = StackedAdamW.step

    def watch(self, factor):
        widths.append(len(factor))
        whole(self, factor)

    monkeypatch.setattr(StackedAdamW, "step", watch)
    together = adapt(shaken(MODELS["toy"]), slots, 8, EASY, device=CPU)
    assert together.settled == [False, True, False, True]
    assert together.steps[0] == together.steps[2] == EASY.steps
    assert max(together.steps[1], together.steps[3]) < EASY.steps
    assert widths == [sum(step < taken for taken in together.steps) for step in range(EASY.steps)]
    monkeypatch.setattr(adapting, "ENDED", 1.0)
    uncompacted = adapt(shaken(MODELS["toy"]), slots, 8, EASY, device=CPU)
    assert widths[EASY.steps :] == [4] * EASY.steps
    assert together.steps == uncompacted.steps
    assert together.loss == pytest.approx(uncompacted.loss, rel=1e-3)
    for n, slot in enumerate(slots):
        alone = adapt(shaken(MODELS["toy"]), [slot], 8, EASY, device=CPU)
        assert alone.steps == [together.steps[n]]
        for a, b, c in zip(
            *(unstack(x.network, i).parameters() for x, i in ((alone, 0), (together, n), (uncompacted, n))), strict=True
        ):
            torch.testing.assert_close(b, c, rtol=2e-3, atol=2e-4)
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_looking_every_few_steps_only_changes_when_an_early_stop_is_seen(monkeypatch):
    slots, config = mixed_slots()[:2], AdaptConfig(steps=30, batch=3, patience=1000)
    each = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU)
    settled = adapt(shaken(MODELS["toy"]), slots, 8, EASY, device=CPU)
    monkeypatch.setattr(adapting, "look_every", lambda device: 4)
    fourth = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU)
    assert fourth.steps == each.steps == [30, 30]
    for a, b in zip(each.network.parameters(), fourth.network.parameters(), strict=True):
        assert torch.equal(a, b)
    late = adapt(shaken(MODELS["toy"]), slots, 8, EASY, device=CPU)
    assert late.settled == settled.settled
    assert abs(late.steps[1] - settled.steps[1]) <= 3
    clock = iter(range(0, 1000, 4))
    timed = adapt(
        shaken(MODELS["toy"]), slots, 8, AdaptConfig(steps=500), device=CPU, seconds=10.0, clock=lambda: next(clock)
    )
    assert 8 <= timed.steps[0] <= 16


def test_leave_one_out_leaves_each_out_once():
    pairs = copy_task(0)
    slots = leave_one_out(pairs, seed=5)
    assert [len(slot.pairs) for slot in slots] == [2, 2, 2]
    assert [next(p for p in pairs if p not in slot.pairs) for slot in slots] == pairs
    assert len({slot.seed for slot in slots}) == 3
