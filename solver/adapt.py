"""Test-time fine-tuning: for each task an independent copy of all weights, trained on its support pairs.

The copies are stacked along a leading task axis, so that one step of one optimizer serves them all; what is
drawn for a task depends on its own seed alone, so its copy is the same (to float tolerance) whatever stack it
is in. Following VARC, every weight is trained; the new task's tokens start from the mean of the trained ones
and learn faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from solver.augment import Augmentation, Plan, draw_plan, pack_pairs, render_plan
from solver.canvas import Placement
from solver.model import Network, stack
from solver.objective import backward, exact
from solver.tasks import Pair
from tta import Views


@dataclass(frozen=True)
class AdaptConfig:
    """`steps` at most, `batch` augmented pairs a step and copy. Rates rise over `warmup` steps, stay, and fall
    to zero over the last `decay` share; a copy whose last `patience` batches were all exact, with every loss
    below `margin` nats, goes straight to its decay, over `settle` steps."""

    steps: int = 300
    batch: int = 8
    lr: float = 2e-3
    task_lr: float = 1e-2
    clip: float = 1.0
    warmup: int = 5
    decay: float = 0.4
    patience: int = 12
    margin: float = 0.02
    settle: int = 16
    supervision: str = "all"
    augmentation: Augmentation = Augmentation(max_scale=2)


@dataclass(frozen=True)
class Slot:
    """One copy to be trained: the pairs it sees and the seed of everything drawn for it."""

    pairs: Sequence[Pair]
    seed: int


@dataclass(frozen=True)
class Adapted:
    """The trained stack, and per slot: optimizer `steps` taken, `loss` (mean over the last batches, nats) and
    whether it was `settled` early, its supports solved, or `failed`. `seconds`: wall time of the whole stack."""

    network: Network
    steps: list[int]
    loss: list[float]
    settled: list[bool]
    failed: list[bool]
    seconds: float


def leave_one_out(pairs: Sequence[Pair], seed: int) -> list[Slot]:
    """One slot per pair, each without that pair (with a single pair: one slot with it)."""
    if len(pairs) == 1:
        return [Slot(pairs, seed)]
    return [Slot([p for j, p in enumerate(pairs) if j != i], seed + i) for i in range(len(pairs))]


def adapt(
    network: Network,
    slots: Sequence[Slot],
    size: int,
    config: AdaptConfig,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Adapted:
    """Trains one copy of `network` (plain, with one task row) per slot on canvases of `size`.

    Ends after `config.steps` steps or, where given, about when `seconds` are over, whichever comes first; the
    rates follow whichever is further. A copy whose loss is not finite has `failed` and stops; the others go on.
    """
    begun = last = clock()
    count = len(slots)
    stacked = stack(network, count).to(device)
    optimizer = StackedAdamW(stacked, config)
    feed = _Feed(slots, size, config, device)
    first_row = torch.zeros(count, config.batch, dtype=torch.int64, device=device)
    progress = torch.zeros(count, dtype=torch.float64)
    settled, failed = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    streak, taken = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    smooth = None
    while (active := (progress < 1.0 - 1e-9) & ~failed).any():
        canvas, target, views = feed.next()
        steps = stacked(
            canvas,
            first_row,
            views.elements.view(count, -1),
            views.palettes.view(count, -1, 10),
            detach=config.supervision == "detached",
            dtype=dtype,
        )
        loss, logits = backward(steps, stacked.config.loops, target, config.supervision)
        optimizer.step((active * _rate(progress, taken, config)).to(device))
        right = exact(logits, target).all(1).cpu()
        mean, worst = loss.mean(1).cpu(), loss.amax(1).cpu()
        failed |= active & ~mean.isfinite()
        smooth = mean if smooth is None else torch.where(active, smooth.lerp(mean, 0.1), smooth)
        streak = torch.where(right & (worst < config.margin), streak + 1, torch.where(active, 0, streak))
        taken += active
        now = clock()
        pace = max(1.0 / config.steps, (now - last) / seconds if seconds else 0.0)
        last = now
        early = (streak >= config.patience) & (progress < 1.0 - config.decay)
        settled |= early
        progress[early] = 1.0 - config.decay
        progress += torch.where(settled, max(pace, config.decay / config.settle), pace)
    seconds = clock() - begun
    return Adapted(stacked, taken.tolist(), smooth.tolist(), settled.tolist(), failed.tolist(), seconds)


def _rate(progress: torch.Tensor, taken: torch.Tensor, config: AdaptConfig) -> torch.Tensor:
    """Share of the peak rate for each copy: float32 (N,)."""
    rising = (taken + 1) / config.warmup if config.warmup else torch.ones_like(progress)
    return torch.minimum(rising, (1.0 - progress) / config.decay).clamp(0.0, 1.0).float()


class _Feed:
    """Augmented batches for a stack, drawn ahead on the CPU, each slot from its own generator."""

    AHEAD = 16

    def __init__(self, slots: Sequence[Slot], size: int, config: AdaptConfig, device: torch.device) -> None:
        self.size, self.config, self.device = size, config, device
        self.tables = [pack_pairs(slot.pairs) for slot in slots]
        self.generators = [torch.Generator().manual_seed(slot.seed) for slot in slots]
        self.table = pack_pairs([pair for slot in slots for pair in slot.pairs], device)
        self.firsts = [sum(len(s.pairs) for s in slots[:i]) for i in range(len(slots))]
        self.drawn = 0
        self.plans: list[Plan] = []

    def next(self) -> tuple[torch.Tensor, torch.Tensor, Views]:
        """Canvases and targets (N, B, size, size) of the next step, and their N * B views, slot by slot."""
        if not self.plans:
            self.plans = self._draw()
        plan = self.plans.pop(0)
        canvas, target = render_plan(self.table, plan, self.size)
        count = len(self.tables)
        return canvas.unflatten(0, (count, -1)), target.unflatten(0, (count, -1)), plan.views

    def _draw(self) -> list[Plan]:
        """Plans for the next AHEAD steps. Every slot goes round its pairs in turn, so all are seen equally."""
        batch, total = self.config.batch, self.config.batch * self.AHEAD
        own = []
        for table, generator, first in zip(self.tables, self.generators, self.firsts, strict=True):
            which = (torch.arange(total) + self.drawn) % len(table.inputs.start)
            plan = draw_plan(table, which, self.size, generator, self.config.augmentation)
            own.append(replace(plan, which=plan.which + first))
        self.drawn += total

        def step(pick) -> list[torch.Tensor]:
            stacked = torch.stack([pick(plan) for plan in own]).to(self.device)
            return [part.flatten(0, 1) for part in stacked.split(batch, dim=1)]

        return [
            Plan(which, Views(elements, palettes), Placement(top, left, scale))
            for which, elements, palettes, top, left, scale in zip(
                step(lambda p: p.which),
                step(lambda p: p.views.elements),
                step(lambda p: p.views.palettes),
                step(lambda p: p.place.top),
                step(lambda p: p.place.left),
                step(lambda p: p.place.scale),
                strict=True,
            )
        ]


class StackedAdamW:
    """AdamW without decay for a stack: rate, clipping and momentum of each copy are its own."""

    BETAS, EPS = (0.9, 0.98), 1e-8

    def __init__(self, stacked: Network, config: AdaptConfig) -> None:
        named = list(stacked.named_parameters())
        self.parameters = [p for _, p in named]
        self.peaks = [config.task_lr if name == "conditioning.tasks" else config.lr for name, _ in named]
        self.clip = config.clip
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.count = 0

    @torch.no_grad()
    def step(self, factor: torch.Tensor) -> None:
        """One update with rates `factor` (N,) times the peaks; clears the gradients."""
        self.count += 1
        gradients = [p.grad for p in self.parameters]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        gradients = [g * scale.view(-1, *[1] * (g.dim() - 1)) for g in gradients]
        first, second = self.BETAS
        torch._foreach_lerp_(self.mean, gradients, 1 - first)
        torch._foreach_mul_(self.square, second)
        torch._foreach_addcmul_(self.square, gradients, gradients, 1 - second)
        root = torch._foreach_sqrt(self.square)
        torch._foreach_div_(root, (1 - second**self.count) ** 0.5)
        torch._foreach_add_(root, self.EPS)
        for p, mean, divisor, peak in zip(self.parameters, self.mean, root, self.peaks, strict=True):
            rate = (factor * (peak / (1 - first**self.count))).view(-1, *[1] * (p.dim() - 1))
            p.sub_(rate * mean / divisor)
            p.grad = None
