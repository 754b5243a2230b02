"""What a trained network answers to a puzzle: after every loop step, and by a vote of views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from solver.learn.augment import PairTable, render_examples
from solver.learn.canvas import Placement, pack, render
from solver.model import Network
from tta import identity_views, inverse_element, transform
from tta.colors import COLORS
from voting import RULES, Pool

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
        return np.concatenate([self._steps(part)[0] for part in _parts(inputs)], axis=1)

    def sure(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers after the last loop step, uint8 (P, H, W), and how sure each is: the mean log-probability of its
        cells, in nats, float32 (P,)."""
        answers, log_probs = zip(*map(self._steps, _parts(inputs)), strict=True)
        return np.concatenate([one[-1] for one in answers]), np.concatenate(log_probs)

    @torch.inference_mode()
    def _steps(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers after every loop step, and how sure the last are."""
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
        logits = [step.logits[0, :, :height, :width] for step in steps]
        sure = logits[-1].float().log_softmax(-1).amax(-1).mean((1, 2))
        tokens = torch.stack([one.argmax(-1) for one in logits]).to(torch.uint8)
        return tokens.cpu().numpy(), sure.cpu().numpy()


def _parts(inputs: np.ndarray) -> list[np.ndarray]:
    """At most `AT_ONCE` inputs each."""
    return np.array_split(inputs, 1 + (len(inputs) - 1) // AT_ONCE)


@dataclass(frozen=True)
class Voting:
    """Answers by a vote of views, as tasks are solved: a puzzle is asked about in other guises, turned and with its
    digits exchanged, its answers are brought back, and the one with the most confidence wins (rule `confidence`).
    `turns`: whether the eight symmetries of the square make other puzzles of a kind; `digits`: those from 1 to this one
    may be exchanged, 0: none."""

    answering: Answering
    turns: bool
    digits: int
    views: int = 8
    seed: int = 0

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The answers, uint8 (P, H, W), to inputs uint8 (P, H, W)."""
        generator = np.random.default_rng(self.seed)
        pools = [Pool() for _ in inputs]
        for view in range(self.views):
            names = np.arange(256, dtype=np.uint8)
            if view and self.digits:
                names[1 : self.digits + 1] = 1 + generator.permutation(self.digits)
            element = view % 8 if self.turns else 0
            answers, log_probs = self.answering.sure(_turned(names[inputs], element))
            answers = names.argsort().astype(np.uint8)[_turned(answers, inverse_element(element))]
            for pool, answer, log_prob in zip(pools, answers, log_probs.tolist(), strict=True):
                if answer.max() < COLORS:  # else it is no grid
                    pool.add(answer, log_prob)
        rule = RULES["confidence"]
        best = [rule(pool)[0].grid if len(pool) else grid for pool, grid in zip(pools, inputs, strict=True)]
        return np.array(best, dtype=np.uint8)


def _turned(grids: np.ndarray, element: int) -> np.ndarray:
    """Grids (P, H, W) under one of the elements of `tta.dihedral`."""
    return transform(torch.from_numpy(grids), element).numpy()
