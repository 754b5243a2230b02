"""Fused passes have the values and the gradients of the plain code, in float32 and bfloat16, alone and in stacks."""

import pytest
import torch
import torch.nn.functional as F
from small import inputs, shaken

from solver.model import MODELS, Network, blocks, fused, stack
from solver.model.blocks import depthwise, rotary_table

pytestmark = pytest.mark.slow  # compiling the passes is

TYPES = {torch.float32: 2e-5, torch.bfloat16: 4e-2}
"""Number type -> largest error, as a share of the largest value."""


def plain_gate(up, conv, side):
    gate, value = up.chunk(2, dim=-1)
    prefix = value.shape[2] - side * side
    cells = value[:, :, prefix:]
    cells = cells + depthwise(cells, conv, side)
    return F.silu(gate) * torch.cat([value[:, :, :prefix], cells], dim=2)


def results(function, arguments):
    """What a function returns and the gradients of a weighted sum of it, by every tensor that has one."""
    leaves = [a.detach().clone().requires_grad_() for a in arguments]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = torch.Generator().manual_seed(1)
    sum((o.float() * torch.randn(o.shape, generator=weights)).sum() for o in outputs).backward()
    return [o.float() for o in outputs] + [leaf.grad.float() for leaf in leaves]


def assert_same(function, plain, arguments, dtype):
    with fused.plain():
        expected = results(plain, arguments)
    for a, b in zip(results(function, arguments), expected, strict=True):
        assert (a - b).abs().max() <= TYPES[dtype] * b.abs().max()


@pytest.fixture(params=TYPES)
def dtype(request):
    return request.param


@pytest.fixture(params=[1, 2])
def tasks(request):
    torch.manual_seed(0)
    return request.param


def test_norms(dtype, tasks):
    x, added = (torch.randn(tasks, 3, 23, 32).to(dtype) for _ in range(2))
    step = torch.randn(32) if tasks == 1 else torch.randn(tasks, 32)
    assert_same(lambda x: fused.norm(x, 7), lambda x: blocks.norm(x, 7), [x], dtype)
    assert_same(fused.branch, blocks.branch, [x], dtype)
    assert_same(fused.inject, blocks.inject, [x, added, step], dtype)


@pytest.mark.parametrize("side", [3, 4])
def test_the_gate(dtype, tasks, side):
    up, conv = torch.randn(tasks, 3, side * side + 7, 96).to(dtype), torch.randn(tasks, 48, 3, 3)
    conv = conv[0] if tasks == 1 else conv
    assert_same(lambda u, c: fused.gate(u, c, side), lambda u, c: plain_gate(u, c, side), [up, conv], dtype)


def test_attention(dtype, tasks):
    module = blocks.Attention(MODELS["toy"])
    rotary = rotary_table(4, 7, 16, dtype, torch.device("cpu"))
    x = torch.randn(tasks, 3, 23, 32).to(dtype)
    weights = [0.2 * torch.randn(tasks, 32, 96), 0.5 + 2 * torch.rand(tasks, 2), 0.2 * torch.randn(tasks, 32, 32)]
    weights = [w[0] if tasks == 1 else w for w in weights]

    def attention(x, *weights):
        names = ("qkv", "sharpness", "out")
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, rotary))

    assert_same(attention, attention, [x, *weights], dtype)


@pytest.mark.parametrize("name", ["nano", "toy", "trm-nano", "ierm-nano"])
def test_the_whole_network(name):
    stacked = stack(shaken(MODELS[name]), 2)
    batch = inputs(2, 2, 8)
    how = {"examples": torch.randint(0, 12, (2, 2, 3, 2, 8, 8))} if MODELS[name].program_tokens else {}

    def gradients():
        stacked.zero_grad()
        logits = list(stacked(*batch, loops=2, **how))
        sum(step.square().mean() for step in logits).backward()
        return [logits[-1], *(p.grad for p in stacked.parameters() if p.grad is not None)]

    with fused.plain():
        expected = gradients()
    found = gradients()
    assert len(found) == len(expected) > 10
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-7


def test_views_need_no_gradient():
    network = Network(MODELS["toy"])
    with torch.inference_mode():
        *_, logits = network(*inputs(1, 2, 8))
        with fused.plain():
            *_, expected = network(*inputs(1, 2, 8))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_a_number_that_is_none_stays_so():
    """A copy that diverges is known by its loss."""
    x = torch.randn(1, 1, 23, 96)
    x[0, 0, 3, 70] = float("nan")
    rotary = rotary_table(4, 7, 16, torch.float32, torch.device("cpu"))
    assert fused.attention(x, torch.ones(2), *rotary).isnan().any()
    assert fused.gate(x, torch.ones(48, 3, 3), 4).isnan().any()
