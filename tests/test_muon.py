"""Muon: in bfloat16 the same as torch's, whose state it takes over; in float32 a polynomial of the singular values."""

import copy

import pytest
import torch

from solver.training.muon import QUINTIC, ROUNDS, Muon, orthogonalize


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
