"""Muon: in bfloat16 the same as torch's, whose state it takes over; in float32 a polynomial of the singular values."""

import copy

import pytest
import torch

from solver.learn.orthogonal import FEWER, QUINTIC, ROUNDS, orthogonalize
from solver.learn.stacked_adamw import ScaledAdamW, StackedAdamW
from solver.model import MODELS, Network, stack
from solver.training.muon import Muon


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (40, 16)])
def test_orthogonalizing_is_a_polynomial_of_the_singular_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrix.double() / matrix.double().norm(), full_matrices=False)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonalize(matrix, torch.float32).double(), u @ s.diag() @ v, rtol=1e-3, atol=1e-4)


def test_muon_in_bfloat16_is_torchs_and_goes_on_from_its_state():
    torch.manual_seed(0)
    start = [torch.randn(16, 24), torch.randn(24, 16)]
    gradients = [[torch.randn_like(p) for p in start] for _ in range(4)]

    def run(optimizer, parameters, steps):
        for gradient in steps:
            for p, g in zip(parameters, gradient, strict=True):
                p.grad = g.clone()
            optimizer.step()

    theirs = [torch.nn.Parameter(p.clone()) for p in start]
    torchs = torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    run(torchs, theirs, gradients[:2])
    ours = [torch.nn.Parameter(p.detach().clone()) for p in theirs]
    muon = Muon(ours, lr=1e-2, weight_decay=0.1)
    muon.load_state_dict(copy.deepcopy(torchs.state_dict()))
    run(torchs, theirs, gradients[2:])
    run(muon, ours, gradients[2:])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [StackedAdamW, ScaledAdamW])
def test_matrices_of_a_stack_move_as_each_alone_and_as_muon_says(kind):
    torch.manual_seed(0)
    start = Network(MODELS["toy"])
    named = list(start.named_parameters())
    muon = [p.dim() == 2 and ".blocks." in name for name, p in named]
    gradients = [[torch.randn(2, *p.shape) for _, p in named] for _ in range(3)]
    factor = torch.tensor([1.0, 0.5])

    def moved(copies):
        stacked = stack(start, len(copies))
        optimizer = kind(stacked, [1e-2] * len(named), 1e9, muon)
        for step in gradients:
            for p, gradient in zip(stacked.parameters(), step, strict=True):
                p.grad = gradient[copies] * (1.0 if optimizer.scale is None else kind.START)
            optimizer.step(factor[copies])
        return list(stacked.parameters())

    both, first, second = moved([0, 1]), moved([0]), moved([1])
    for pair, a, b in zip(both, first, second, strict=True):
        torch.testing.assert_close(pair, torch.cat([a, b]), rtol=1e-4, atol=1e-6)
    # The first step alone, of a gradient g: Nesterov leaves its direction, which is all that counts.
    one = stack(start, 1)
    for p, gradient in zip(one.parameters(), gradients[0], strict=True):
        p.grad = gradient[:1] * (1.0 if kind is StackedAdamW else kind.START)
    kind(one, [1e-2] * len(named), 1e9, muon).step(torch.ones(1))
    for (_, p), after, gradient, is_matrix in zip(named, one.parameters(), gradients[0], muon, strict=True):
        if is_matrix:
            step = 0.2 * max(p.shape) ** 0.5 * orthogonalize(gradient[0], torch.float32, FEWER)
            torch.testing.assert_close(after[0], p.detach() - 1e-2 * step, rtol=1e-4, atol=1e-6)
