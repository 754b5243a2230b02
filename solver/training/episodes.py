"""Episodes: which pairs of its own task a network is shown while it predicts another, for systems with a program."""

from __future__ import annotations

from dataclasses import replace

import torch

from solver.learn.augment import Plan, choose_examples, completed
from solver.model import ModelConfig
from solver.training.corpus import Bucket, Corpus


class Episodes:
    """Finds, for one canvas size, the other pairs of a task that fit it. Places count within a task's pairs."""

    def __init__(self, corpus: Corpus, size: int) -> None:
        bucket: Bucket = corpus.buckets[size]
        device = bucket.pairs.device
        self.tasks, self.pairs, self.first, self.count = corpus.tasks, bucket.pairs, bucket.first, bucket.count
        row = corpus.tasks[bucket.pairs[bucket.first]]
        self.entry = torch.full((len(corpus.names),), -1, dtype=torch.int64, device=device)
        self.entry[row] = torch.arange(len(row), device=device)
        self.position = torch.zeros(len(corpus.tasks), dtype=torch.int64, device=device)
        self.position[bucket.pairs] = torch.arange(len(bucket.pairs), device=device)

    def completed(self, plan: Plan, model: ModelConfig, generator: torch.Generator) -> Plan:
        """The plan with other pairs of each one's task to be shown, and with noise, where `model` needs them."""
        entry = self.entry[self.tasks[plan.which]]
        place = self.position[plan.which] - self.first[entry]
        plan = completed(plan, model, generator, self.count[entry], place)
        return plan if plan.shown is None else replace(plan, shown=self._pairs(plan.shown, entry))

    def examples(self, tasks: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` pairs of each of `tasks`, rows of the task table (B,): int64 (B, count), -1 where there is none."""
        entry = self.entry[tasks]
        total = torch.where(entry < 0, 0, self.count[entry])
        return self._pairs(choose_examples(total, count, generator), entry)

    def _pairs(self, place: torch.Tensor, entry: torch.Tensor) -> torch.Tensor:
        """Pair numbers (B, E) of places (B, E) in the tasks with these entries of the bucket (B,)."""
        number = self.pairs[self.first[entry][:, None] + place.clamp(min=0)]
        return torch.where(place < 0, -1, number)
