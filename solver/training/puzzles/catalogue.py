"""Every puzzle by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from solver.arc.datasets import DataSet
from solver.training.puzzles.arithmetic import Arithmetic
from solver.training.puzzles.few_shot import heat, life
from solver.training.puzzles.maze import Maze
from solver.training.puzzles.puzzle import Puzzle
from solver.training.puzzles.rubik import Rubik2
from solver.training.puzzles.sudoku import Sudoku4, Sudoku9

PUZZLES: dict[str, type[Puzzle]] = {one.name: one for one in (Sudoku4, Sudoku9, Maze, Rubik2, Arithmetic)}
"""Those that a network is trained on."""


class FewShot(NamedTuple):
    """A puzzle that is solved task by task: `make` gives so many tasks for a seed."""

    about: str
    goal: str
    make: Callable[[int, int], DataSet]
    tasks: int  # unless another number is asked for
    recolored: bool  # whether exchanging colours is a symmetry of it


FEW_SHOT = {
    "life": FewShot(
        "three transitions of a life-like rule, apply it; through solve, as ARC tasks",
        "90% of 20 rules at 30 core-seconds",
        life,
        20,
        True,
    ),
    "heat": FewShot(
        "heat that spreads with an unknown coefficient, in ten levels; through solve, as ARC tasks",
        "none; cells within one level are reported too",
        heat,
        20,
        False,
    ),
}


def puzzle(name: str, **wishes: object) -> Puzzle:
    """A puzzle by name, with what it can be asked for (None: as it is); ValueError, one line, for what it cannot."""
    kind = PUZZLES[name]
    asked = {key: value for key, value in wishes.items() if value is not None}
    fields = getattr(kind, "__dataclass_fields__", {})
    if other := [key for key in asked if key not in fields]:
        raise ValueError(f"--{other[0]} is not for {name}")
    return kind(**asked)
