"""A batch in parts, one after another, where memory does not hold the activations of all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from solver.device import is_out_of_memory, release
from solver.progress import say

Result = TypeVar("Result")


class Parts:
    """Works batches in `count` parts, one until memory turns out to be short. `clear` throws gradients away. Every
    process of a joint training has parts of its own: each averages over its samples all the same."""

    def __init__(self, device: torch.device, clear: Callable[[], None]) -> None:
        self.device, self.clear, self.count = device, clear, 1

    def work(self, samples: int, gradients: Callable[[slice, torch.Tensor | None], Result]) -> list[Result]:
        """`gradients` of the samples of a batch, part by part, with the scale (1,) of a part's loss, such that they add
        up to those of the whole; None for a batch in one part. Where there is not enough memory the batch is begun
        again in twice as many parts, and so are those after it. What is returned of each part."""
        while True:
            self.clear()
            length = -(-samples // self.count)
            parts = [slice(first, min(first + length, samples)) for first in range(0, samples, length)]
            try:
                if len(parts) == 1:
                    return [gradients(parts[0], None)]
                scales = [torch.full((1,), (part.stop - part.start) / samples, device=self.device) for part in parts]
                return [gradients(part, scale) for part, scale in zip(parts, scales, strict=True)]
            except Exception as error:  # raised again, unless it says that memory is short
                if length == 1 or not is_out_of_memory(error):
                    raise
            # Here, because until its handler is left the error keeps what the batch had allocated.
            self.clear()
            release(self.device)
            self.count *= 2
            say(f"not enough memory for {length} samples at once: batches are worked in up to {self.count} parts")
