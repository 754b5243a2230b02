"""Test-time fine-tuning: for each task an independent copy of all weights, trained on its support pairs.

The copies are stacked along a leading task axis, so that one step of one optimizer serves them all; what is
drawn for a task depends on its own seed alone, so its copy is the same (to float tolerance) whatever stack it
is in. Copies that have ended are taken out, and the stack goes on without them. Following VARC, every weight is
trained; the new task's tokens start from the mean of the trained ones and learn faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from solver.arc.tasks import Pair
from solver.learn.augment import Augmentation, Plan, draw_plan, pair_table, render_plan
from solver.learn.canvas import Placement
from solver.learn.objective import backward, exact
from solver.learn.stacked_adamw import ScaledAdamW, StackedAdamW
from solver.model import Network, pick, stack
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
    With float16 the losses are scaled (see `ScaledAdamW`), and a copy whose scale is lost has `failed` too.
    """
    begun = clock()
    count, every = len(slots), look_every(device)
    result = working = stack(network, count, device)
    rates = [config.task_lr if name == "conditioning.tasks" else config.lr for name, _ in working.named_parameters()]
    optimizer = (ScaledAdamW if dtype == torch.float16 else StackedAdamW)(working, rates, config.clip)
    feed = _Feed(slots, size, config, device)
    ledger = _Ledger(count, config, seconds, begun)
    held = torch.arange(count)  # the slots whose copies are in `working`
    while (active := ledger.active()).any():
        if active[held].sum() <= (1 - ENDED) * len(held):
            _write_back(result, working, held.to(device))
            copies = active[held].nonzero().flatten()
            held = held[copies]
            feed.keep(copies)
            copies = copies.to(device)
            working = pick(working, copies)
            optimizer.keep(working, copies)
        told = []
        for factor in ledger.rates(every)[:, held].to(device):
            canvas, target, views = feed.next()
            steps = working(
                canvas,
                torch.zeros(len(held), config.batch, dtype=torch.int64, device=device),
                views.elements.view(len(held), -1),
                views.palettes.view(len(held), -1, 10),
                detach=config.supervision == "detached",
                dtype=dtype,
            )
            loss, logits = backward(steps, working.config.loops, target, config.supervision, optimizer.scale)
            optimizer.step(factor)
            told.append(_tell(loss, exact(logits, target), optimizer.lost()))
        ledger.record(held, torch.stack(told).cpu(), clock())
    _write_back(result, working, held.to(device))
    lists = (t.tolist() for t in (ledger.taken, ledger.smooth, ledger.settled, ledger.failed))
    return Adapted(result, *lists, clock() - begun)


ENDED = 0.25
"""Share of a stack that must have ended before it is made smaller: no step costs more than a third too much, and
making it smaller, which costs about as much as a step of the optimizer, is done 12 times at most from 32 copies."""

NEARLY = 1e-6
"""What a progress may lack of 1 at its end: a step's share is rounded to float32, and 400 may come to a little less."""


def look_every(device: torch.device) -> int:
    """Steps between looks at how the copies do. Each look waits for the device, so a GPU is asked less often."""
    return 4 if device.type == "cuda" else 1


@torch.no_grad()
def _write_back(result: Network, working: Network, held: torch.Tensor) -> None:
    """Puts the copies of the `working` stack in their places, `held`, in the `result`."""
    if working is not result:
        for whole, part in zip(result.parameters(), working.parameters(), strict=True):
            whole[held] = part


def _tell(loss: torch.Tensor, right: torch.Tensor, lost: torch.Tensor | None) -> torch.Tensor:
    """What is to be known of a step, float32 (3, N): mean and worst `loss` (N, B), and 1 where all of `right`
    (N, B) hold. The loss of a copy that is `lost` is not a number."""
    mean = loss.mean(1)
    if lost is not None:
        mean = mean.masked_fill(lost, float("nan"))
    return torch.stack([mean, loss.amax(1), right.all(1).float()])


class _Ledger:
    """How far every slot is, from 0 to 1, and how it does; on the CPU."""

    def __init__(self, count: int, config: AdaptConfig, seconds: float | None, now: float) -> None:
        self.config, self.seconds, self.last, self.pace = config, seconds, now, 1.0 / config.steps
        self.progress = torch.zeros(count, dtype=torch.float64)
        self.settled, self.failed = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        self.streak, self.taken = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
        self.smooth: torch.Tensor | None = None

    def active(self) -> torch.Tensor:
        """Bool (N,): slots that have not ended."""
        return (self.progress < 1.0 - NEARLY) & ~self.failed

    def rates(self, many: int) -> torch.Tensor:
        """Shares of the peak rates for the next `many` steps, as far as can be foreseen: float32 (K, N), with K below
        `many` where all will have ended before. At least one slot must be active."""
        progress, taken, table = self.progress.clone(), self.taken.clone(), []
        while len(table) < many:
            active = (progress < 1.0 - NEARLY) & ~self.failed
            if table and not active.any():
                break
            table.append(active * self._rate(progress, taken))
            progress += self._paces()
            taken += active
        return torch.stack(table)

    def record(self, held: torch.Tensor, told: torch.Tensor, now: float) -> None:
        """Enters K steps of the slots `held`, `told` (K, 3, M) by `_tell`, done by the time `now`."""
        config, spent = self.config, (now - self.last) / len(told)
        self.pace = max(1.0 / config.steps, spent / self.seconds if self.seconds else 0.0)
        self.last = now
        for step in told:
            mean, worst, right = torch.zeros(3, len(self.progress)).index_copy_(1, held, step)
            active = self.active()
            self.failed |= active & ~mean.isfinite()
            self.smooth = mean if self.smooth is None else torch.where(active, self.smooth.lerp(mean, 0.1), self.smooth)
            good = (right > 0) & (worst < config.margin)
            self.streak = torch.where(good, self.streak + 1, torch.where(active, 0, self.streak))
            self.taken += active
            early = (self.streak >= config.patience) & (self.progress < 1.0 - config.decay)
            self.settled |= early
            self.progress[early] = 1.0 - config.decay
            self.progress += self._paces()

    def _paces(self) -> torch.Tensor:
        """What a step adds to the progress of each slot: float64 (N,)."""
        config = self.config
        return torch.where(self.settled, max(self.pace, config.decay / config.settle), self.pace).double()

    def _rate(self, progress: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        """Share of the peak rate at a `progress`, after steps `taken`: float32 (N,)."""
        config = self.config
        rising = (taken + 1) / config.warmup if config.warmup else torch.ones_like(progress)
        return torch.minimum(rising, (1.0 - progress) / config.decay).clamp(0.0, 1.0).float()


class _Feed:
    """Augmented batches for a stack, drawn ahead on the CPU, each slot from its own generator."""

    AHEAD = 16

    def __init__(self, slots: Sequence[Slot], size: int, config: AdaptConfig, device: torch.device) -> None:
        self.size, self.config, self.device = size, config, device
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
