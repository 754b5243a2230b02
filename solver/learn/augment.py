"""Pairs on the device, and augmented batches of them: D4, colours, offset and scale, drawn as gathers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from solver.arc.tasks import Pair
from solver.learn.canvas import Packed, Placement, pack, random_placement, render
from tta import Views, random_views, view_size


@dataclass(frozen=True)
class PairTable:
    """P pairs: grid i of `inputs` belongs to grid i of `outputs`."""

    inputs: Packed
    outputs: Packed

    def to(self, device: torch.device | str) -> PairTable:
        return PairTable(self.inputs.to(device), self.outputs.to(device))


def pair_table(pairs: Sequence[Pair], device: torch.device | str = "cpu") -> PairTable:
    """A table of pairs, in order."""
    return PairTable(pack([p.input for p in pairs], device), pack([p.output for p in pairs], device))


@dataclass(frozen=True)
class Augmentation:
    """What may be varied. `max_scale` is the largest integer enlargement; the canvas may allow less. `viewed`:
    the share of the draws that are turned and recoloured, the others are seen as they are."""

    max_scale: int = 4
    fix_zero: bool = True
    turn: bool = True
    recolor: bool = True
    move: bool = True
    viewed: float = 1.0


@dataclass(frozen=True)
class Plan:
    """B draws: pair `which` int64 (B,), seen under view b at place b; input and output share both."""

    which: torch.Tensor
    views: Views
    place: Placement

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Plan:
        """The plan whose every tensor is `change` of this one's."""
        return Plan(change(self.which), self.views.each(change), self.place.each(change))


def draw_plan(
    pairs: PairTable,
    which: torch.Tensor,
    size: int,
    generator: torch.Generator,
    augmentation: Augmentation,
    views: Views | None = None,
) -> Plan:
    """A random view (or the given ones) and a random place on a canvas of `size` for each of pairs `which`."""
    device = which.device
    if views is None:
        drawn = random_views(len(which), generator, fix_zero=augmentation.fix_zero, device=device)
        views = drawn.restricted(turn=augmentation.turn, recolor=augmentation.recolor)
        if augmentation.viewed < 1.0:
            viewed = torch.rand(len(which), generator=generator, device=device) < augmentation.viewed
            plain = torch.arange(10, device=device)
            views = Views(views.elements * viewed, torch.where(viewed[:, None], views.palettes, plain))
    height = torch.maximum(pairs.inputs.height[which], pairs.outputs.height[which])
    width = torch.maximum(pairs.inputs.width[which], pairs.outputs.width[which])
    height, width = view_size(views.elements, height, width)
    place = random_placement(height, width, size, generator, max_scale=augmentation.max_scale, move=augmentation.move)
    return Plan(which, views, place)


def render_plan(pairs: PairTable, plan: Plan, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The input and the output canvases of a plan, int64 (B, size, size) each."""
    canvas = render(pairs.inputs, plan.which, plan.views, plan.place, size)
    return canvas, render(pairs.outputs, plan.which, plan.views, plan.place, size)
