"""Pairs on the device, and augmented batches of them: D4, colours, offset and scale, drawn as gathers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from solver.arc.tasks import Pair
from solver.learn.canvas import BACKGROUND, Packed, Placement, pack, random_placement, render
from solver.model import ModelConfig
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
    """What may be varied."""

    max_scale: int = 4  # largest integer enlargement; the canvas may allow less
    fix_zero: bool = True  # colour 0 stays 0
    turn: bool = True  # pairs are turned and flipped
    recolor: bool = True  # pairs are recoloured
    move: bool = True  # pairs are placed anywhere on the canvas, not at its top left
    viewed: float = 1.0  # share of the draws that are turned and recoloured; the others are seen as they are
    zoom: int = 1  # canvas cells that a grid cell is a side at least, where there is room; see `solver.learn.canvas`


@dataclass(frozen=True)
class Plan:
    """B draws: pair `which` int64 (B,), seen under view b at place b; input and output share both. Only for networks
    that use them: `shown` int64 (B, E), pairs to be shown as examples, -1 for a blank; `noise` float32 (B,), in [0, 1),
    see `solver.learn.objective.improving_targets`."""

    which: torch.Tensor
    views: Views
    place: Placement
    shown: torch.Tensor | None = None
    noise: torch.Tensor | None = None

    def tensors(self) -> list[torch.Tensor]:
        """Every tensor there is, in a fixed order; each has B rows."""
        always = [self.which, self.views.elements, self.views.palettes]
        always += [self.place.top, self.place.left, self.place.scale]
        return always + [extra for extra in (self.shown, self.noise) if extra is not None]

    def rebuilt(self, tensors: Sequence[torch.Tensor]) -> Plan:
        """A plan like this one of other `tensors`, in their order."""
        which, elements, palettes, top, left, scale, *extras = tensors
        shown = extras.pop(0) if self.shown is not None else None
        noise = extras.pop(0) if self.noise is not None else None
        return Plan(which, Views(elements, palettes), Placement(top, left, scale), shown, noise)

    def moved(self, first: int) -> Plan:
        """The same plan for a table in which the pairs begin at `first`."""
        shown = None if self.shown is None else torch.where(self.shown < 0, -1, self.shown + first)
        return replace(self, which=self.which + first, shown=shown)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Plan:
        """The plan whose every tensor is `change` of this one's."""
        return self.rebuilt([change(tensor) for tensor in self.tensors()])


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
    room = (torch.maximum(height, width) + 1) * augmentation.zoom <= size
    zoom = torch.where(room, augmentation.zoom, 1)
    place = random_placement(
        height, width, size, generator, max_scale=augmentation.max_scale, move=augmentation.move, zoom=zoom
    )
    return Plan(which, views, place)


def render_plan(pairs: PairTable, plan: Plan, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The input and the output canvases of a plan, int64 (B, size, size) each."""
    canvas = render(pairs.inputs, plan.which, plan.views, plan.place, size)
    return canvas, render(pairs.outputs, plan.which, plan.views, plan.place, size)


def choose_examples(
    total: torch.Tensor, count: int, generator: torch.Generator, but: torch.Tensor | None = None
) -> torch.Tensor:
    """Examples for B queries from tasks of `total` int64 (B,) pairs each: int64 (B, count), places from 0 below total,
    beginning anywhere and going round. Never `but` (B,), the place of the query itself; -1 where there is no other."""
    others = total if but is None else total - 1
    start = (torch.rand(len(total), generator=generator, device=total.device) * others).long()
    turn = (start[:, None] + torch.arange(count, device=total.device)) % others.clamp(min=1)[:, None]
    place = turn if but is None else (but[:, None] + 1 + turn) % total[:, None]
    return torch.where(others[:, None] > 0, place, -1)


def completed(
    plan: Plan, model: ModelConfig, generator: torch.Generator, total: torch.Tensor, but: torch.Tensor
) -> Plan:
    """The plan with what `model` needs besides views: examples, as places within tasks of `total` pairs, all but the
    pair `but` itself, and noise. Nothing is drawn for a model that needs neither."""
    if model.program_tokens:
        plan = replace(plan, shown=choose_examples(total, model.examples, generator, but))
    if model.supervision == "dis":
        plan = replace(plan, noise=torch.rand(len(but), generator=generator, device=but.device))
    return plan


def render_examples(pairs: PairTable, shown: torch.Tensor, views: Views, place: Placement, size: int) -> torch.Tensor:
    """Canvases int64 (B, E, 2, size, size), inputs and outputs, of the pairs `shown` int64 (B, E) under the views of B
    queries; blank for -1. They sit at the top left, as large as the query at `place`, or as there is room for."""
    count = shown.shape[1]
    which = shown.clamp(min=0).flatten()
    views = views.each(lambda tensor: tensor.repeat_interleave(count, dim=0))
    sides = torch.stack([t[which] for grids in (pairs.inputs, pairs.outputs) for t in (grids.height, grids.width)])
    scale = torch.minimum(place.scale.repeat_interleave(count), (size // (sides.amax(0) + 1)).clamp(min=1))
    corner = torch.zeros_like(scale)
    canvases = [
        render(grids, which, views, Placement(corner, corner, scale), size) for grids in (pairs.inputs, pairs.outputs)
    ]
    examples = torch.stack(canvases, dim=1).unflatten(0, shown.shape)
    return torch.where((shown < 0)[..., None, None, None], BACKGROUND, examples)


def rendered_examples(pairs: PairTable, plan: Plan, size: int) -> torch.Tensor | None:
    """The examples of a plan, None if it has none."""
    return None if plan.shown is None else render_examples(pairs, plan.shown, plan.views, plan.place, size)
