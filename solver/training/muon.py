"""Muon (Jordan and others, 2024: kellerjordan.github.io/posts/muon) with a choice of number type inside.

`torch.optim.Muon` always multiplies in bfloat16. On a processor that cannot, its products cost more than the whole
gradient; in float32 they cost a twentieth of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from solver.learn.orthogonal import update

MOMENTUM = 0.95


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
                step = update(matrix.grad, mean, MOMENTUM, self.dtype)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(step, alpha=-group["lr"])
