"""How a network is told that it is wrong: a loss per sample, which loop steps it is applied to, and with what they
are compared. `ModelConfig.supervision` chooses:

`last` loop step only; `all` steps, with the gradient through all; `detached`: all, each step on its own; `dis` (Deep
Improvement Supervision, 2025): detached, and each step has a target of its own, between a corrupted answer and the
truth; `halting` (TRM, 2025): detached, each step with an update of the weights of its own, and a head that learns to
say whether the answer is exact. Weights of several steps rise linearly and sum to one; with halting they are all one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from solver.learn.canvas import BACKGROUND, BORDER
from solver.model import ModelConfig, Step

HALTING_WEIGHT = 0.5
"""What the halting head's cross-entropy counts beside that of the cells, as in TRM."""

GOLDEN, SQUARE = 0.6180339887, 0.4142135624
"""Fractions of irrational numbers, whose multiples fill the unit interval evenly."""


def supervision_of(model: ModelConfig, asked: str | None = None) -> str:
    """The supervision `asked` for, or the model's own. ValueError, one line, if the network is not made for it."""
    if asked is None or asked == model.supervision:
        return model.supervision
    replace(model, supervision=asked)
    if "halting" in (asked, model.supervision):
        raise ValueError(f"supervision {asked!r}: the network was made for {model.supervision!r}")
    return asked


def sample_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N, B) in nats over the whole canvas, per grid or border cell: the sum over all cells,
    divided by the number of grid and border cells plus a tenth of the background's, so that small grids
    count as much as large ones. `logits` (N, B, S, S, vocabulary), `target` int64 (N, B, S, S)."""
    loss = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view_as(target)
    cells = torch.where(target == BACKGROUND, 0.1, 1.0)
    return loss.sum((-1, -2)) / cells.sum((-1, -2))


def improving_targets(
    canvas: torch.Tensor, target: torch.Tensor, noise: torch.Tensor, loops: int, corruption: str
) -> list[torch.Tensor]:
    """A target int64 (N, B, S, S) for each of `loops` steps: the truth `target`, with a share of its cells replaced
    that falls from step to step, to none in the last. A cell that shows the truth once shows it from then on.

    With `corruption` "input" what stands there instead is the cell of `canvas`, int64 (N, B, S, S); with "noise" a
    random colour, in those of a grid. `noise`, in [0, 1), (N, B), decides which cells come when, and the colours.
    """
    cell = torch.arange(target.shape[-1] ** 2, device=target.device).view(target.shape[-2:])
    threshold = (noise[..., None, None] + GOLDEN * cell).frac()
    wrong = canvas
    if corruption == "noise":  # of a grid's cells: what is outside of it stays
        colour = (10 * (7 * noise[..., None, None] + SQUARE * cell).frac()).long().clamp(max=9)
        wrong = torch.where((target == BACKGROUND) | (target == BORDER), target, colour)
    return [torch.where(threshold < 1 - step / loops, wrong, target) for step in range(1, loops + 1)]


def halting_loss(step: Step, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N, B), in nats, of the halting head against whether the answer of its own step is exact."""
    assert step.halt is not None
    right = exact(step.logits.detach(), target).float()
    return F.binary_cross_entropy_with_logits(step.halt, right, reduction="none")


def backward(
    steps: Iterable[Step],
    loops: int,
    target: torch.Tensor,
    supervision: str,
    scale: torch.Tensor | None = None,
    *,
    targets: Sequence[torch.Tensor] | None = None,
    update: Callable[[], torch.Tensor | None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds the gradient of the loss to the weights; the loss is a mean over B and a *sum* over the N tasks of a
    stack, so that no task feels another. `steps` yields `loops` steps; if each is trained on its own it must have been
    made with `detach=True`. `scale` (N,) multiplies the loss of each task, and so its gradient, but not the loss
    returned. `targets`: one for each step, for `dis`. `update` is called after each step but the last, for `halting`,
    to use the gradient and clear it; it returns the scale for the steps to come. Returns the last step's loss (N, B)
    and logits, both without gradient."""
    total, loss, logits = None, None, None
    for index, step in enumerate(steps, start=1):
        last, logits = index == loops, step.logits
        if supervision == "last" and not last:
            continue
        loss = sample_loss(logits, target if targets is None else targets[index - 1])
        weight = 1.0 if supervision in ("last", "halting") else 2 * index / (loops * (loops + 1))
        mean = loss.mean(dim=1)
        if supervision == "halting":
            mean = mean + HALTING_WEIGHT * halting_loss(step, target).mean(dim=1)
        term = weight * (mean if scale is None else mean * scale).sum()
        if supervision in ("last", "all"):
            total = term if total is None else total + term
            continue
        term.backward()
        if update is not None and not last:
            scale = update()
    if total is not None:
        total.backward()
    assert loss is not None
    assert logits is not None
    return loss.detach(), logits.detach()


def exact(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Bool (N, B): every grid and border cell right; what is outside them does not count."""
    right = (logits.argmax(-1) == target) | (target == BACKGROUND)
    return right.flatten(2).all(-1)
