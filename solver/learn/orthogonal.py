"""Matrices with their singular values brought near one, by Newton-Schulz iteration (Jordan and others, 2024, Muon:
kellerjordan.github.io/posts/muon): the direction of a step in which no part of a layer is moved more than another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's polynomial: a s + b s^3 + c s^5 brings every singular value s of (0, 1] near 1 within a few rounds."""

ROUNDS = 5

FEWER = 3
"""Rounds in fine-tuning: they leave singular values a little further from one, and cost 6 ms less of some 80 in a
step of `nano` on a CPU core; views are right as often (lab log, 30)."""


def orthogonalize(matrices: Tensor, dtype: torch.dtype, rounds: int = ROUNDS) -> Tensor:
    """A matrix (D, E), or each of a stack (N, D, E), with its singular values replaced by some between 0.7 and 1.2
    (after five rounds); computed and returned in `dtype`."""
    if matrices.dim() == 3 and len(matrices) == 1:
        return orthogonalize(matrices[0], dtype, rounds)[None]
    add: Callable[..., Tensor] = torch.addmm if matrices.dim() == 2 else torch.baddbmm
    a, b, c = QUINTIC
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.flatten(-2).norm(dim=-1)[..., None, None].clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = add(x, add(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def update(gradient: Tensor, mean: Tensor, momentum: float, dtype: torch.dtype, rounds: int = ROUNDS) -> Tensor:
    """Muon's step for matrices (..., D, E) at a rate of one: Nesterov momentum, orthogonalised, and scaled to the size
    of AdamW's updates, 0.2 times the root of the longer side. `mean`: the gradients' running mean, this one included.
    """
    size = 0.2 * max(gradient.shape[-2:]) ** 0.5
    step: Tensor = size * orthogonalize(gradient.lerp(mean, momentum), dtype, rounds).to(gradient.dtype)
    return step
