"""Augmented batches for a stack of copies, each from its own seed, whatever stack it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from solver.arc.tasks import Pair
from solver.learn.augment import Plan, completed, draw_plan, pair_table, render_plan, rendered_examples
from solver.learn.recipe import AdaptConfig
from solver.model import ModelConfig


@dataclass(frozen=True)
class Slot:
    """One copy to be trained: the pairs it sees and the seed of everything drawn for it."""

    pairs: Sequence[Pair]
    seed: int


@dataclass(frozen=True)
class Batch:
    """B samples for each of N copies. `canvas`, `target` int64 (N, B, size, size); `elements` int64 (N, B) and
    `palettes` int64 (N, B, 10): their views; for networks that use them, `examples` int64 (N, B, E, 2, size, size)
    and `noise` float32 (N, B)."""

    canvas: torch.Tensor
    target: torch.Tensor
    elements: torch.Tensor
    palettes: torch.Tensor
    examples: torch.Tensor | None
    noise: torch.Tensor | None


class Batches:
    """Drawn ahead on the CPU, each slot from its own generator."""

    AHEAD = 16

    def __init__(
        self, slots: Sequence[Slot], size: int, config: AdaptConfig, model: ModelConfig, device: torch.device
    ) -> None:
        self.size, self.config, self.model, self.device = size, config, model, device
        self.tables = [pair_table(slot.pairs) for slot in slots]
        self.generators = [torch.Generator().manual_seed(slot.seed) for slot in slots]
        self.table = pair_table([pair for slot in slots for pair in slot.pairs], device)
        self.firsts = [sum(len(s.pairs) for s in slots[:i]) for i in range(len(slots))]
        self.drawn = 0
        self.plans: list[Plan] = []

    def keep(self, copies: torch.Tensor) -> None:
        """Goes on with the slots of these indices (on the CPU) only. What was drawn ahead for them stays."""
        wanted, count = copies.tolist(), len(self.tables)
        for name in ("tables", "generators", "firsts"):
            setattr(self, name, [getattr(self, name)[i] for i in wanted])
        copies = copies.to(self.device)
        self.plans = [plan.each(lambda t: t.unflatten(0, (count, -1))[copies].flatten(0, 1)) for plan in self.plans]

    def next(self) -> Batch:
        """The batch of the next step."""
        if not self.plans:
            self.plans = self._draw()
        plan = self.plans.pop(0)
        shape = (len(self.tables), -1)

        def stacked(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.unflatten(0, shape)

        canvas, target = render_plan(self.table, plan, self.size)
        return Batch(
            canvas.unflatten(0, shape),
            target.unflatten(0, shape),
            plan.views.elements.unflatten(0, shape),
            plan.views.palettes.unflatten(0, shape),
            stacked(rendered_examples(self.table, plan, self.size)),
            stacked(plan.noise),
        )

    def _draw(self) -> list[Plan]:
        """Plans for the next AHEAD steps. Every slot goes round its pairs in turn, so all are seen equally."""
        batch, total = self.config.batch, self.config.batch * self.AHEAD
        plans = []
        for table, generator, first in zip(self.tables, self.generators, self.firsts, strict=True):
            pairs = len(table.inputs.start)
            which = (torch.arange(total) + self.drawn) % pairs
            plan = draw_plan(table, which, self.size, generator, self.config.augmentation)
            plan = completed(plan, self.model, generator, torch.full_like(which, pairs), which)
            plans.append(plan.moved(first))
        self.drawn += total
        stacked = [
            torch.stack(parts).to(self.device) for parts in zip(*(plan.tensors() for plan in plans), strict=True)
        ]
        steps = [[part.flatten(0, 1) for part in tensor.split(batch, dim=1)] for tensor in stacked]
        return [plans[0].rebuilt(tensors) for tensors in zip(*steps, strict=True)]
