"""Test-time fine-tuning: for each task an independent copy of all weights, trained on its support pairs.

The copies are stacked along a leading task axis, so that one step of one optimizer serves them all; what is
drawn for a task depends on its own seed alone, so its copy is the same (to float tolerance) whatever stack it
is in. Copies that have ended are taken out, and the stack goes on without them. Following VARC, every weight is
trained; the new task's tokens start from the mean of the trained ones and learn faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from solver.arc.tasks import Pair
from solver.learn.batches import Batch, Batches, Slot
from solver.learn.objective import backward, exact, improving_targets, supervision_of
from solver.learn.progress import SlotProgress, statistics_of
from solver.learn.recipe import AdaptConfig
from solver.learn.stacked_adamw import ScaledAdamW, StackedAdamW
from solver.model import Network, pick, stack


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
    named = list(working.named_parameters())
    rates = [config.task_lr if name == "conditioning.tasks" else config.lr for name, _ in named]
    muon = [config.optimizer == "muon" and p.dim() == 3 and ".blocks." in name for name, p in named]
    optimizer = (
        ScaledAdamW(working, rates, config.clip, muon)
        if dtype == torch.float16
        else StackedAdamW(working, rates, config.clip, muon, products=dtype)
    )
    supervision = supervision_of(network.config, config.supervision)
    batches = Batches(slots, size, config, network.config, device)
    progress = SlotProgress(count, config, seconds, begun)
    held = torch.arange(count)  # the slots whose copies are in `working`
    while (active := progress.active()).any():
        if active[held].sum() <= (1 - ENDED) * len(held):
            _write_back(result, working, held.to(device))
            copies = active[held].nonzero().flatten()
            held = held[copies]
            batches.keep(copies)
            copies = copies.to(device)
            working = pick(working, copies)
            optimizer.keep(working, copies)
        statistics = []
        for factor in progress.rates(every)[:, held].to(device):
            batch = batches.next()
            loss, logits = _gradients(working, batch, supervision, optimizer, factor, dtype)
            optimizer.step(factor)
            statistics.append(statistics_of(loss, exact(logits, batch.target), optimizer.lost()))
        progress.record(held, torch.stack(statistics).cpu(), clock())
    _write_back(result, working, held.to(device))
    assert progress.smooth is not None
    return Adapted(
        result,
        progress.taken.tolist(),
        progress.smooth.tolist(),
        progress.settled.tolist(),
        progress.failed.tolist(),
        clock() - begun,
    )


ENDED = 0.25
"""Share of a stack that must have ended before it is made smaller: no step costs more than a third too much, and
making it smaller, which costs about as much as a step of the optimizer, is done 12 times at most from 32 copies."""


def look_every(device: torch.device) -> int:
    """Steps between looks at how the copies do. Each look waits for the device, so a GPU is asked less often."""
    return 4 if device.type == "cuda" else 1


@torch.no_grad()
def _write_back(result: Network, working: Network, held: torch.Tensor) -> None:
    """Puts the copies of the `working` stack in their places, `held`, in the `result`."""
    if working is not result:
        for whole, part in zip(result.parameters(), working.parameters(), strict=True):
            whole[held] = part


def _gradients(
    working: Network,
    batch: Batch,
    supervision: str,
    optimizer: StackedAdamW,
    factor: torch.Tensor,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Leaves the gradients of a batch in the weights; loss (N, B) and logits of the last loop step. With `halting`
    every supervision step but the last has had its own update, at `factor` (N,) of the peak rates."""
    model = working.config
    steps = working.steps(
        batch.canvas,
        torch.zeros_like(batch.elements),
        batch.elements,
        batch.palettes,
        examples=batch.examples,
        detach=supervision not in ("last", "all"),
        dtype=dtype,
    )
    targets, update = None, None
    if supervision == "dis":
        assert batch.noise is not None
        targets = improving_targets(batch.canvas, batch.target, batch.noise, model.loops, model.corruption)
    if supervision == "halting":

        def update() -> torch.Tensor | None:
            optimizer.step(factor)
            return optimizer.scale

    return backward(steps, model.loops, batch.target, supervision, optimizer.scale, targets=targets, update=update)
