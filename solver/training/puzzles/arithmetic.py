"""Sums and small algebra, written in characters: the question on the first line of a canvas, the answer below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.training.puzzles.classes import mix
from solver.training.puzzles.puzzle import Answerer, Drawn, Puzzle

SIGNS = " +-=x"
"""The characters besides the digits; their tokens follow those of the canvas."""

FIRST = 12
KINDS = ("sum", "difference", "equation")


def written(text: str, width: int) -> list[int]:
    """The tokens of a text, filled up with blanks."""
    return [int(c) if c.isdigit() else FIRST + SIGNS.index(c) for c in text.ljust(width)]


def read(tokens: np.ndarray) -> str:
    """The text of tokens (W,), "?" for what is no character, blanks at its end cut."""
    text = "0123456789??" + SIGNS
    return "".join(text[token] for token in tokens.tolist()).rstrip()


@dataclass(frozen=True)
class Arithmetic(Puzzle):
    """Numbers of up to `digits` digits. Half of the questions are sums, the rest differences and equations. Whatever
    can be asked about a + b = c belongs to one class, and so to one part."""

    name = "arithmetic"
    drawn_as = "signs"
    about = "12+345, 357-12 or x+12=357 in characters on one line, the answer on the next"
    metrics = {  # noqa: RUF012
        "sum": "of the sums, the answers that are exact",
        "difference": "of the differences, the answers that are exact",
        "equation": "of the equations, the answers that are exact",
    }
    goal = "95% of 3-digit sums in 15 minutes"
    digits: int = 3
    vocabulary: int = FIRST + len(SIGNS)
    seconds: float = 900.0
    patch: int = 2
    batch: int = 16
    loops: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 9:
            raise ValueError(f"--digits {self.digits}: numbers have 1 to 9 digits")

    @property
    def width(self) -> int:
        """Characters of a line."""
        return 2 * self.digits + 4

    @property
    def canvas(self) -> int:  # type: ignore[override]
        return self.width + 2 - self.width % 2

    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        a, b = generator.integers(10**self.digits, size=(2, count))
        kinds = generator.choice(3, size=count, p=(0.5, 0.25, 0.25))
        inputs, targets = np.full((2, count, 2, self.width), FIRST, dtype=np.uint8)
        for i, (one, other, kind) in enumerate(zip(a.tolist(), b.tolist(), kinds.tolist(), strict=True)):
            total = one + other
            question = (f"{one}+{other}", f"{total}-{one}", f"x+{one}={total}")[kind]
            inputs[i, 0] = targets[i, 0] = written(question, self.width)
            targets[i, 1] = written(str((total, other, other)[kind]), self.width)
        low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
        return Drawn(inputs, targets, mix(mix(low) ^ high))

    def marks(self, drawn: Drawn, answer: Answerer) -> dict[str, np.ndarray]:
        """A mark is nan for a question of another kind."""
        right = (answer(drawn.inputs)[:, 1] == drawn.targets[:, 1]).all(1).astype(np.float64)
        kinds = kinds_of(drawn.inputs)
        return {kind: np.where(kinds == i, right, np.nan) for i, kind in enumerate(KINDS)}


def kinds_of(inputs: np.ndarray) -> np.ndarray:
    """The place in `KINDS` of each question (P, 2, W)."""
    minus, unknown = ((inputs[:, 0] == FIRST + SIGNS.index(sign)).any(1) for sign in "-x")
    return np.where(unknown, 2, np.where(minus, 1, 0))
