"""The 2x2x2 cube as a puzzle: from a net of stickers to the net after one move of a shortest solution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from solver.training.puzzles.classes import hash_rows
from solver.training.puzzles.cube import FARTHEST, MOVES, folded, is_solved, net, renamed, states, symmetries, turns
from solver.training.puzzles.puzzle import Answerer, Drawn, Puzzle


@dataclass(frozen=True)
class Rubik2(Puzzle):
    """Cubes that are 1 to `moves` turns from solved, every distance as often as every other when training. The target
    is the state after the first of `MOVES` that brings it nearer."""

    name = "rubik2"
    drawn_as = "stickers"
    about = "2x2x2 cube as a net of stickers, up to --moves (6) from solved: the net after an optimal move"
    metrics = {  # noqa: RUF012
        "solved": "solved by answering again and again, at most 11 times, each time a legal move",
        "optimal": "a legal move that brings the cube nearer",
        "exact": "the optimal move that the data has",
    }
    goal = "80% solved from up to 6 moves in 15 minutes"
    canvas: int = 10
    held_out: int = 6
    seconds: float = 900.0
    patch: int = 2
    batch: int = 12
    loops: int = 4
    moves: int = 6

    def __post_init__(self) -> None:
        if not 1 <= self.moves <= FARTHEST:
            raise ValueError(f"--moves {self.moves}: a cube is 1 to {FARTHEST} moves from solved")

    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        every = states()
        near, known = near_states(self.moves)
        if part == "train":
            ends = np.cumsum(np.bincount(every.steps[near]))  # near states are sorted by distance
            depth = generator.integers(1, self.moves + 1, size=count)
            picked = generator.integers(ends[depth - 1], ends[depth])
        else:
            picked = generator.permutation(len(near))[:count]
        drawn = near[picked]
        after = np.stack([every.after(drawn, move) for move in range(len(MOVES))])
        better = every.steps[after] < every.steps[drawn]
        chosen = after[better.argmax(0), np.arange(len(drawn))]
        return Drawn(net(every.colors(drawn)), net(every.colors(chosen)), known[picked])

    def marks(self, drawn: Drawn, answer: Answerer) -> dict[str, np.ndarray]:
        answers = answer(drawn.inputs)
        move = moves_between(drawn.inputs, answers)
        before, after = steps_of(drawn.inputs), np.full(len(drawn), 99)
        after[move >= 0] = steps_of(answers[move >= 0])
        now, going = answers.copy(), move >= 0
        for _ in range(FARTHEST - 1):
            going &= ~is_solved(folded(now))
            if not going.any():
                break
            asked = now[going]
            said = answer(asked)
            legal = moves_between(asked, said) >= 0
            now[going] = np.where(legal[:, None, None], said, asked)
            going[going] = legal
        solved = (move >= 0) & is_solved(folded(now))
        exact = (answers == drawn.targets).all((1, 2))
        return {"solved": solved, "optimal": after < before, "exact": exact}


@cache
def near_states(moves: int) -> tuple[np.ndarray, np.ndarray]:
    """The states that are 1 to `moves` turns from solved, nearest first, and their classes."""
    steps = states().steps
    near = np.flatnonzero((steps > 0) & (steps <= moves))
    near = near[np.argsort(steps[near], kind="stable")]
    parts = np.array_split(near, 1 + len(near) // 10_000)
    return near, np.concatenate([classes(states().colors(part)) for part in parts])


def moves_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The move int64 (P,) that leads from one net to the other, (P, 6, 8) each; -1 where none does."""
    cubes = folded(before)
    right = np.stack([(net(cubes[:, turn]) == after).all((1, 2)) for turn in turns()])
    return np.where(right.any(0), right.argmax(0), -1)


def steps_of(nets: np.ndarray) -> np.ndarray:
    """Turns that it takes at least to solve the cubes on nets (P, 6, 8)."""
    every = states()
    steps: np.ndarray = every.steps[every.numbers(folded(nets))].astype(np.int64)
    return steps


def classes(cubes: np.ndarray) -> np.ndarray:
    """The smallest hash uint64 (P,) of cubes (P, 24) over the rotations and reflections of the whole cube, with colours
    renamed such that the fixed corner keeps its own."""
    smallest: np.ndarray = np.min([hash_rows(renamed(cubes[:, symmetry])) for symmetry in symmetries()], axis=0)
    return smallest
