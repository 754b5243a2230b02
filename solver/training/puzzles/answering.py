"""What a trained network answers to a puzzle, after every loop step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from solver.learn.augment import PairTable, render_examples
from solver.learn.canvas import Placement, pack, render
from solver.model import Network
from tta import identity_views

AT_ONCE = 128
"""Puzzles answered in one batch."""


@dataclass(frozen=True)
class Answering:
    """A network, the canvas size it was trained on, and how many loop steps it runs (None: as many as it was made for);
    with a program, `examples` to be shown, the same to all."""

    network: Network
    size: int
    device: torch.device
    dtype: torch.dtype
    examples: PairTable
    loops: int | None = None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The answers after the last loop step, uint8 (P, H, W), to inputs uint8 (P, H, W)."""
        last: np.ndarray = self.steps(inputs)[-1]
        return last

    def steps(self, inputs: np.ndarray) -> np.ndarray:
        """The answers after every loop step, uint8 (loops, P, H, W): in each cell the likeliest token."""
        parts = [self._steps(part) for part in np.array_split(inputs, 1 + (len(inputs) - 1) // AT_ONCE)]
        return np.concatenate(parts, axis=1)

    @torch.inference_mode()
    def _steps(self, inputs: np.ndarray) -> np.ndarray:
        count, height, width = inputs.shape
        views, zero = identity_views(count, self.device), torch.zeros(count, dtype=torch.int64, device=self.device)
        place = Placement(zero, zero, zero + 1)
        which = torch.arange(count, device=self.device)
        canvas = render(pack(list(inputs), self.device), which, views, place, self.size)
        examples = None
        if shown := self.network.config.examples * bool(self.network.config.program_tokens):
            numbers = torch.arange(shown, device=self.device).expand(count, -1)
            examples = render_examples(self.examples, numbers, views, place, self.size)[None]
        steps = self.network.steps(
            canvas[None],
            zero[None],
            views.elements[None],
            views.palettes[None],
            examples=examples,
            loops=self.loops,
            dtype=self.dtype,
        )
        tokens = [step.logits[0, :, :height, :width].argmax(-1) for step in steps]
        return torch.stack(tokens).to(torch.uint8).cpu().numpy()
