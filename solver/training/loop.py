"""The training loop: time or steps as budget, and checkpoints that resume exactly."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from solver.progress import ProgressBar, say
from solver.training.pretrain import Trainer
from submission.files import write_whole


@dataclass(frozen=True)
class Limit:
    """How long to train in all, resumed pieces included: `seconds` or `steps`, exactly one of them."""

    seconds: float | None = None
    steps: int | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is used, 0 to 1."""
        if self.steps:
            return min(1.0, step / self.steps)
        assert self.seconds is not None
        return min(1.0, seconds / self.seconds)


def train(
    trainer: Trainer,
    limit: Limit,
    directory: Path,
    *,
    piece: float | None = None,
    log: Callable[[str], None] = say,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Trains until `limit`, or for `piece` seconds of it, writing `latest.pt` as it goes and `undecayed.pt` where
    the rate begins to fall, from which a longer schedule can continue. Compiling counts for the piece and not for
    the limit. Returns whether the limit was reached;
    `trainer.rows` has the log, one row per validation. The limit's seconds are those of `clock`."""
    directory.mkdir(parents=True, exist_ok=True)
    config, rows, world = trainer.config, trainer.rows, trainer.world
    started = time.monotonic()
    trainer.warm_up()  # compiles: the blocks on a GPU, the fused passes on a CPU
    begun, before = clock(), trainer.seconds
    validated = saved = begun
    recent: list[torch.Tensor] = []
    kept = limit.progress(trainer.step, trainer.seconds) > 1.0 - config.decay
    shown = begun
    layout = f"{config.name} {{percentage:3.0f}}% |{{bar}}| {{elapsed}} gone, {{remaining}} left{{postfix}}"
    with ProgressBar(1000, layout=layout, hidden=not world.leads) as bar:
        while (progress := world.agree(limit.progress(trainer.step, trainer.seconds))) < 1.0:
            if world.leads and not kept and progress >= 1.0 - config.decay:
                save(trainer, directory / "undecayed.pt")
                kept = True
            if world.agree(piece is not None and time.monotonic() - started >= piece):
                break
            recent.append(trainer.train_step(progress))
            now = clock()
            trainer.seconds = before + now - begun
            if bar.live and now - shown > 2.0:
                rate = trainer.samples / trainer.seconds
                bar.show(int(1000 * progress), f"loss {float(recent[-1]):.3f}", f"{rate:.0f} samples/s")
                shown = now
            if world.leads and now - validated > config.validate_seconds:
                rows.append(_row(trainer, recent, trainer.loops(progress)))
                recent.clear()
                log(_line(rows[-1]))
                validated = clock()
            if world.leads and now - saved > config.checkpoint_seconds:
                save(trainer, directory / "latest.pt")
                saved = clock()
    if world.leads:
        rows.append(_row(trainer, recent, trainer.loops(progress)))
        log(_line(rows[-1]))
        trainer.ended = progress >= 1.0
        save(trainer, directory / "latest.pt")
    return progress >= 1.0


def save(trainer: Trainer, path: Path) -> None:
    """Writes a checkpoint as a whole. FloatingPointError, and the old one stays, if weights are not finite."""
    if not all(bool(p.isfinite().all()) for p in trainer.network.parameters()):
        raise FloatingPointError(f"step {trainer.step}: the weights are no longer finite; {path.name} is kept")
    content = io.BytesIO()
    torch.save(trainer.state(), content)
    write_whole(path, content.getvalue())


def _row(trainer: Trainer, recent: list[torch.Tensor], loops: int) -> dict[str, Any]:
    return {
        "step": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "samples": trainer.samples,
        "loss": round(float(torch.stack(recent).mean()), 4) if recent else None,
        "exact": round(trainer.validate(loops), 4),
    }


def _line(row: dict[str, Any]) -> str:
    rate = row["samples"] / max(row["seconds"], 1e-9)
    loss = "-" if row["loss"] is None else f"{row['loss']:.4f}"
    return (
        f"step {row['step']:6d}  {row['seconds']:7.0f} s  {rate:6.0f} samples/s  loss {loss}  "
        f"exact on validation pairs {row['exact']:.1%}"
    )
