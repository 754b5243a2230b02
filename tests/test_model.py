"""The network: a stack is the same as its copies one by one; patches; what detaching cuts."""

import pytest
import torch
from small import inputs, shaken

from solver.model import MODELS, ModelConfig, Network, stack, unstack

TOY = MODELS["toy"]


@pytest.mark.parametrize("patch", [1, 2])
def test_a_stack_gives_what_its_copies_give_alone(patch):
    config = ModelConfig(width=32, heads=2, hidden=48, blocks=1, loops=3, patch=patch, task_tokens=2)
    stacked = stack(shaken(config, tasks=3), 4)
    with torch.no_grad():
        for p in stacked.parameters():
            p.add_(0.1 * torch.randn_like(p))
    batch = inputs(4, 3, 8, tasks=3)
    together = list(stacked(*batch))
    assert len(together) == 3
    assert together[0].shape == (4, 3, 8, 8, 12)
    for n in range(4):
        alone = list(unstack(stacked, n)(*(part[n : n + 1] for part in batch)))
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[n], rtol=1e-4, atol=1e-4)


def test_the_views_and_the_task_reach_the_logits():
    network = shaken(TOY, tasks=2)
    canvas, _, _, palettes = inputs(1, 1, 8)
    zero = torch.zeros(1, 1, dtype=torch.int64)
    base = list(network(canvas, zero, zero, palettes))[-1]
    for changed in ((zero + 1, zero, palettes), (zero, zero + 3, palettes), (zero, zero, palettes.roll(1, -1))):
        assert not torch.allclose(base, list(network(canvas, *changed))[-1], atol=1e-3)


def test_detached_steps_have_graphs_of_their_own_and_the_same_values():
    network = shaken(TOY)
    batch = inputs(1, 2, 8)
    through = list(network(*batch))
    for step, logits in enumerate(network(*batch, detach=True)):
        torch.testing.assert_close(logits, through[step])
        logits.square().mean().backward()  # would fail on a shared, freed graph
    detached = network.recursion.blocks[0].mlp.up.grad.clone()
    network.zero_grad()
    sum(logits.square().mean() for logits in network(*batch)).backward()
    assert not torch.allclose(detached, network.recursion.blocks[0].mlp.up.grad, rtol=1e-2)


def test_patches_keep_cells_where_they_are():
    """A change in one cell moves, before any mixing, only the logits of its own patch."""
    config = ModelConfig(width=32, heads=2, hidden=48, blocks=1, loops=1, patch=2, task_tokens=1)
    network = Network(config)  # its blocks start as the identity
    canvas, task, elements, palettes = inputs(1, 1, 8)
    other = canvas.clone()
    other[0, 0, 5, 2] = (other[0, 0, 5, 2] + 1) % 12
    a, b = (list(network(c, task, elements, palettes))[-1] for c in (canvas, other))
    moved = (a != b).any(-1)[0, 0].nonzero()
    assert {tuple(p) for p in moved.tolist()} == {(4, 2), (4, 3), (5, 2), (5, 3)}


def test_named_sizes_are_as_large_as_they_say():
    count = {name: sum(p.numel() for p in Network(c, 0).parameters()) for name, c in MODELS.items()}
    assert count["nano"] < 1e6
    assert 4e6 < count["base"] < 8e6
