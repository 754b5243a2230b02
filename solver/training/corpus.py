"""All pairs resident on the device, and batches of them drawn without leaving it.

A batch comes from one canvas size. Within it tasks are drawn first, a task with many pairs more often (by the
square root, up to 100 pairs), then a pair of the task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from solver.arc.datasets import PackedPairs
from solver.learn.augment import PairTable
from solver.learn.canvas import Packed


def device_table(pairs: PackedPairs, device: torch.device | str) -> PairTable:
    """Packed pairs as a `PairTable` whose inputs and outputs share one array of cells."""
    cells = torch.from_numpy(np.ascontiguousarray(pairs.cells)).to(device)
    shape = torch.from_numpy(pairs.shapes.astype(np.int64)).to(device)
    start = torch.from_numpy(pairs.offsets.astype(np.int64)).to(device)
    middle = start + shape[:, 0] * shape[:, 1]
    return PairTable(Packed(cells, start, shape[:, 0], shape[:, 1]), Packed(cells, middle, shape[:, 2], shape[:, 3]))


@dataclass(frozen=True)
class Bucket:
    """The pairs that fit one canvas size: `pairs` int64 (Q,) sorted by task; of each task that has any,
    `first` and `count` into it and the `weight` it is drawn with."""

    pairs: torch.Tensor
    first: torch.Tensor
    count: torch.Tensor
    weight: torch.Tensor


class Corpus:
    """Pairs by canvas size. `tasks` int64 (P,) holds each pair's row of the task table."""

    def __init__(self, pairs: PackedPairs, sizes: tuple[int, ...], device: torch.device | str) -> None:
        self.table = device_table(pairs, device)
        self.tasks = torch.from_numpy(pairs.task.astype(np.int64)).to(device)
        self.names = pairs.ids
        side = pairs.shapes.max(axis=1).astype(np.int64)
        self.buckets = {size: self._bucket(pairs.task, side < size, device) for size in sizes}

    @staticmethod
    def _bucket(task: np.ndarray, fits: np.ndarray, device: torch.device | str) -> Bucket:
        chosen = np.flatnonzero(fits)
        if not len(chosen):
            raise ValueError("a canvas size has no pair that fits it")
        chosen = chosen[np.argsort(task[chosen], kind="stable")]
        _, first, count = np.unique(task[chosen], return_index=True, return_counts=True)
        weight = np.sqrt(np.minimum(count, 100)).astype(np.float32)
        return Bucket(*(torch.from_numpy(a).to(device) for a in (chosen, first, count, weight)))

    def draw(self, size: int, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` pair numbers, int64, for a canvas of `size`."""
        bucket = self.buckets[size]
        task = torch.multinomial(bucket.weight, count, replacement=True, generator=generator)
        place = torch.rand(count, generator=generator, device=task.device) * bucket.count[task]
        return bucket.pairs[bucket.first[task] + torch.minimum(place.long(), bucket.count[task] - 1)]
