"""What a puzzle is: examples by the thousand, each with a class that its symmetries do not change, and fair marks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

PARTS = ("train", "validation", "test")
PATIENCE = 20
"""Batches without a new class after which a part counts as exhausted."""

Answerer = Callable[[np.ndarray], np.ndarray]
"""Gives answers uint8 (P, H, W) to inputs uint8 (P, H, W)."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """P examples: `inputs` and `targets` uint8 (P, H, W); `classes` uint64 (P,): examples that a symmetry of the puzzle
    carries into each other have the same."""

    inputs: np.ndarray
    targets: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: np.ndarray | slice) -> Drawn:
        return Drawn(self.inputs[index], self.targets[index], self.classes[index])


def part_of(classes: np.ndarray, part: str, held_out: int) -> np.ndarray:
    """Bool (P,): which of the classes belong to this part; one in `held_out` is for the test, and one for validation.
    It follows from the class alone, so that parts never share a puzzle or a symmetric one, however much is drawn."""
    remainder = classes % np.uint64(held_out)
    wanted: np.ndarray = remainder > 1 if part == "train" else remainder == PARTS.index(part) - 1
    return wanted


class Puzzle(ABC):
    """The base of all. A puzzle has `make`, which draws from all parts, and `marks`, which judges answers."""

    name: ClassVar[str]  # on the command line
    about: ClassVar[str]  # what it is, in a few words
    metrics: ClassVar[dict[str, str]]  # name of a mark -> what it counts; the first is the one with a goal
    goal: ClassVar[str]  # what is aimed at, and in which time
    drawn_as: ClassVar[str] = "colors"  # how its grids look, see `solver.results.puzzles.cells`
    turns: ClassVar[bool] = False  # whether the eight symmetries of the square make other puzzles of the kind
    exchanged: ClassVar[int] = 0  # digits from 1 to this one may be exchanged, 0: none
    canvas: int  # side of the canvas, in cells
    patch: int = 1  # canvas cells a side that make one token
    vocabulary: int = 12  # tokens that a cell may hold, see `solver.model.ModelConfig`
    held_out: int = 16  # one class in so many is for the test, and one for validation
    amount: int = 100_000  # examples to train on
    batch: int = 8  # examples in a batch of the systems for CPUs
    lr: float = 4e-3  # their peak rate
    shrink: int = 2  # by how much those called nano are made narrower
    blocks: int = 2  # of `nano`: different blocks in one loop step
    loops: int = 8  # of `nano`: loop steps, half as many in the first half of the training
    convolution: bool = False  # of `nano`: whether its MLP has one
    system: str = "nano"  # what is trained, unless another is asked for
    seconds: float = 180.0  # of training, unless others are asked for

    @abstractmethod
    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        """About `count` random examples, of all parts; `part` only says what they are wanted for."""

    @abstractmethod
    def marks(self, drawn: Drawn, answer: Answerer) -> dict[str, np.ndarray]:
        """Mark -> bool (P,), or float64 with nan for a puzzle that the mark is not for; in the order of `metrics`."""

    def draw(self, count: int, part: str, seed: int = 0) -> Drawn:
        """`count` examples of a part, the same for the same seed. For validation and test every class comes once. There
        may be fewer than asked for; ValueError for none."""
        assert part in PARTS
        generator = np.random.default_rng([seed, PARTS.index(part)])
        parts: list[Drawn] = []
        found, known, fruitless = 0, np.zeros(0, dtype=np.uint64), 0
        while found < count and fruitless < PATIENCE:
            made = self.make(min(count - found + 64, 50_000) * (1 if part == "train" else 4), generator, part)
            made = made[part_of(made.classes, part, self.held_out)]
            if part != "train":
                made = made[np.sort(np.unique(made.classes, return_index=True)[1])]
                made = made[~np.isin(made.classes, known)]
                known = np.concatenate([known, made.classes])
            fruitless = 0 if len(made) else fruitless + 1
            parts.append(made)
            found += len(made)
        if not found:
            raise ValueError(f"{self.name}: what is asked for leaves no puzzle for the {part} part")
        columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("inputs", "targets", "classes")]
        return Drawn(*columns)[:count]
