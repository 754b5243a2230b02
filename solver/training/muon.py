"""Muon (Jordan et al., 2024: kellerjordan.github.io/posts/muon) with a choice of number type inside.

`torch.optim.Muon` always multiplies in bfloat16. On a processor that cannot, its products cost more than the whole
gradient; in float32 they cost a twentieth of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's polynomial: a s + b s^3 + c s^5 brings every singular value s of (0, 1] near 1 within a few rounds."""

ROUNDS = 5

MOMENTUM = 0.95


def orthogonalize(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix (D, E) with its singular values replaced by some between 0.7 and 1.2, by Newton-Schulz iteration
    in `dtype`; returned in `dtype`."""
    a, b, c = QUINTIC
    x = matrix.to(dtype)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for matrices (D, E), scaled to the size of AdamW's updates (0.2 times the root
    of the longer side), with decoupled weight decay. State and updates are those of `torch.optim.Muon` with
    `adjust_lr_fn="match_rms_adamw"`, but for the products' `dtype`."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, weight_decay: float, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonalize(matrix.grad.lerp(mean, MOMENTUM), self.dtype)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-0.2 * max(matrix.shape) ** 0.5 * group["lr"])
