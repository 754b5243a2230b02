"""How a network is told that it is wrong: a loss per sample, and which loop steps it is applied to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from solver.learn.canvas import BACKGROUND

SUPERVISIONS = ("last", "all", "detached")
"""`last` loop step only; `all` steps with the gradient through all; `detached`: all, each step on its own
(Deep Improvement Supervision, 2025). Weights of several steps rise linearly and sum to one."""


def sample_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N, B) in nats over the whole canvas, per grid or border cell: the sum over all cells,
    divided by the number of grid and border cells plus a tenth of the background's, so that small grids
    count as much as large ones. `logits` (N, B, S, S, 12), `target` int64 (N, B, S, S)."""
    loss = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view_as(target)
    cells = torch.where(target == BACKGROUND, 0.1, 1.0)
    return loss.sum((-1, -2)) / cells.sum((-1, -2))


def backward(
    steps: Iterable[torch.Tensor],
    loops: int,
    target: torch.Tensor,
    supervision: str,
    scale: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds the gradient of the loss to the weights; the loss is a mean over B and a *sum* over the N tasks of a
    stack, so that no task feels another. `steps` yields logits for `loops` loop steps; for `detached` it must
    have been made with `detach=True`. `scale` (N,) multiplies the loss of each task, and so its gradient, but not
    the loss returned. Returns the last step's loss (N, B) and logits, both without gradient."""
    total, loss, logits = None, None, None
    for index, logits in enumerate(steps, start=1):
        last = index == loops
        if supervision == "last" and not last:
            continue
        loss = sample_loss(logits, target)
        weight = 1.0 if supervision == "last" else 2 * index / (loops * (loops + 1))
        mean = loss.mean(dim=1)
        term = weight * (mean if scale is None else mean * scale).sum()
        if supervision == "detached":
            term.backward()
        else:
            total = term if total is None else total + term
    if total is not None:
        total.backward()
    return loss.detach(), logits.detach()


def exact(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Bool (N, B): every grid and border cell right; what is outside them does not count."""
    right = (logits.argmax(-1) == target) | (target == BACKGROUND)
    return right.flatten(2).all(-1)
