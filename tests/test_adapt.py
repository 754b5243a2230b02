"""Adaptation: stacked equals one by one; a rule is learned; an early stop settles; a diverging copy is named."""

import numpy as np
import pytest
import torch
from test_model import shaken

from solver.adapt import AdaptConfig, Slot, StackedAdamW, adapt, leave_one_out
from solver.augment import Augmentation
from solver.model import MODELS, unstack
from solver.predict import PredictConfig, predict, trace
from solver.tasks import Pair, Task

CPU = torch.device("cpu")


def copy_task(seed, size=3):
    """Supports of the rule "the output is the input"."""
    rng = np.random.default_rng(seed)
    grids = [rng.integers(0, 10, (size, size)).astype(np.uint8) for _ in range(3)]
    return [Pair(g, g) for g in grids]


def test_stacked_adaptation_equals_one_by_one():
    network = shaken(MODELS["toy"])
    slots = [Slot(copy_task(s), seed=s) for s in range(3)]
    slots[1] = Slot(slots[1].pairs[:2], seed=1)  # stacks hold tasks of different numbers of supports
    config = AdaptConfig(steps=20, batch=3)
    together = adapt(network, slots, 8, config, device=CPU)
    for n, slot in enumerate(slots):
        alone = adapt(network, [slot], 8, config, device=CPU)
        for a, b in zip(
            unstack(alone.network, 0).parameters(), unstack(together.network, n).parameters(), strict=True
        ):
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
        self.parameters[0].grad[0] = float("nan")
        whole(self, factor)

    monkeypatch.setattr(StackedAdamW, "step", spoil)
    spoiled = adapt(shaken(MODELS["toy"]), slots, 8, config, device=CPU)
    assert healthy.failed == [False, False]
    assert spoiled.failed == [True, False]
    assert spoiled.loss[1] == pytest.approx(healthy.loss[1], rel=1e-4)


def test_leave_one_out_leaves_each_out_once():
    pairs = copy_task(0)
    slots = leave_one_out(pairs, seed=5)
    assert [len(slot.pairs) for slot in slots] == [2, 2, 2]
    assert [next(p for p in pairs if p not in slot.pairs) for slot in slots] == pairs
    assert len({slot.seed for slot in slots}) == 3
