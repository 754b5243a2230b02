"""Samples that are being worked on: with a halting head a sample stays in the batch of its canvas size, one
supervision step and one update of the weights after another, until it halts and a new one takes its place (TRM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from solver.learn.augment import Plan
from solver.learn.canvas import Placement
from solver.model import Step
from tta import Views

EXPLORED = 0.1
"""Share of the samples that may not halt before a random number of steps, so that later steps are trained too."""


@dataclass(frozen=True)
class Running:
    """A batch of B samples: their `plan`; `states` of the network, each (1, B, L, D), None before the first step; int64
    (B,) the steps `taken` by each, and the `least` it has to take; `over` bool (B,), samples to be replaced."""

    plan: Plan
    states: tuple[torch.Tensor, ...] | None
    taken: torch.Tensor
    least: torch.Tensor
    over: torch.Tensor

    def part(self, rows: slice) -> Running:
        """Some of its samples."""
        states = None if self.states is None else tuple(state[:, rows] for state in self.states)
        plan = self.plan.each(lambda tensor: tensor[rows])
        return Running(plan, states, self.taken[rows], self.least[rows], self.over[rows])

    def renewed(self, fresh: Running) -> Running:
        """The batch with what is over replaced by the samples of `fresh` at the same places."""
        assert self.states is not None

        def renew(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
            return torch.where(self.over.view(-1, *[1] * (new.dim() - 1)), new, old)

        plan = self.plan.rebuilt(
            [renew(new, old) for new, old in zip(fresh.plan.tensors(), self.plan.tensors(), strict=True)]
        )
        states = tuple(state.masked_fill(self.over[None, :, None, None], 0.0) for state in self.states)
        taken, least = self.taken.masked_fill(self.over, 0), renew(fresh.least, self.least)
        return Running(plan, states, taken, least, torch.zeros_like(self.over))

    def after(self, step: Step, loops: int) -> Running:
        """The batch after one more supervision step; over is what has taken `loops` of them, or took its least number
        and holds its answer for exact."""
        assert step.halt is not None
        taken = self.taken + 1
        over = (taken >= loops) | ((step.halt.detach()[0] > 0) & (taken >= self.least))
        return Running(self.plan, tuple(state.detach() for state in step.states), taken, self.least, over)

    def state(self) -> dict[str, Any]:
        """Everything in tensors, for a checkpoint."""
        assert self.states is not None
        rest = {"taken": self.taken, "least": self.least, "over": self.over}
        return {"plan": self.plan.tensors(), "states": list(self.states), **rest}


def joined(parts: Sequence[Running]) -> Running:
    """The batch that consists of these parts, all of which have taken a step."""
    if len(parts) == 1:
        return parts[0]
    plan = parts[0].plan.rebuilt([torch.cat(rows) for rows in zip(*[p.plan.tensors() for p in parts], strict=True)])
    states = tuple(torch.cat(rows, dim=1) for rows in zip(*[p.states or () for p in parts], strict=True))
    taken, least, over = (torch.cat([getattr(p, name) for p in parts]) for name in ("taken", "least", "over"))
    return Running(plan, states, taken, least, over)


def restored(state: dict[str, Any], shown: bool) -> Running:
    """The batch that `state` was made of; `shown`: whether its plan has examples."""
    tensors = list(state["plan"])
    plan = Plan(tensors[0], Views(*tensors[1:3]), Placement(*tensors[3:6]), tensors[6] if shown else None)
    return Running(plan, tuple(state["states"]), state["taken"], state["least"], state["over"])


def begun(plan: Plan, loops: int, generator: torch.Generator) -> Running:
    """Fresh samples for a plan, of at most `loops` supervision steps each."""
    count, device = len(plan.which), plan.which.device
    draw = torch.rand(2, count, generator=generator, device=device)
    least = torch.where(draw[0] < EXPLORED, 1 + (draw[1] * loops).long().clamp(max=loops - 1), 1)
    taken = torch.zeros(count, dtype=torch.int64, device=device)
    return Running(plan, None, taken, least, torch.ones_like(taken, dtype=torch.bool))
