"""How far each copy of a stack is with its fine-tuning, how it does, and when it has ended."""

from __future__ import annotations

import torch

from solver.learn.recipe import AdaptConfig

NEARLY = 1e-6
"""What a progress may lack of 1 at its end: a step's share is rounded to float32, and 400 may come to a little less."""


def statistics_of(loss: torch.Tensor, right: torch.Tensor, lost: torch.Tensor | None) -> torch.Tensor:
    """What is to be known of a step, float32 (3, N): mean and worst `loss` (N, B), and 1 where all of `right`
    (N, B) hold. The loss of a copy that is `lost` is not a number."""
    mean = loss.mean(1)
    if lost is not None:
        mean = mean.masked_fill(lost, float("nan"))
    return torch.stack([mean, loss.amax(1), right.all(1).float()])


class SlotProgress:
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

    def rates(self, steps: int) -> torch.Tensor:
        """Shares of the peak rates for the next `steps` steps, as far as can be foreseen: float32 (K, N), with K below
        `steps` where all will have ended before. At least one slot must be active."""
        progress, taken = self.progress.clone(), self.taken.clone()
        table: list[torch.Tensor] = []
        while len(table) < steps:
            active = (progress < 1.0 - NEARLY) & ~self.failed
            if table and not active.any():
                break
            table.append(active * self._rate(progress, taken))
            progress += self._paces()
            taken += active
        return torch.stack(table)

    def record(self, held: torch.Tensor, statistics: torch.Tensor, now: float) -> None:
        """Enters K steps of the slots `held`, `statistics` (K, 3, M) by `statistics_of`, done by the time `now`."""
        config, spent = self.config, (now - self.last) / len(statistics)
        self.pace = max(1.0 / config.steps, spent / self.seconds if self.seconds else 0.0)
        self.last = now
        for step in statistics:
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
