"""What the supports say about an output: its size (same as the input, constant, or a fixed ratio) and its colours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from solver.arc.tasks import MAX_SIDE, Grid, Task

RULES = ("same", "constant", "ratio", "other")


def size_rule(task: Task) -> str:
    """The first of `RULES` that all supports obey."""
    pairs = task.support
    if all(p.input.shape == p.output.shape for p in pairs):
        return "same"
    if len({p.output.shape for p in pairs}) == 1:
        return "constant"
    if len({_ratio(p.input, p.output) for p in pairs}) == 1:
        return "ratio"
    return "other"


def expected_size(task: Task, test_input: Grid) -> tuple[int, int] | None:
    """Height and width that the rule gives for a test input; None without a rule or where it gives no grid."""
    rule, first = size_rule(task), task.support[0]
    if rule == "same":
        return test_input.shape
    if rule == "constant":
        return first.output.shape
    if rule == "ratio":
        sides = [s * r for s, r in zip(test_input.shape, _ratio(first.input, first.output), strict=True)]
        if all(s.denominator == 1 and 1 <= s <= MAX_SIDE for s in sides):
            return int(sides[0]), int(sides[1])
    return None


def needed_side(task: Task) -> int:
    """The largest side among the task's grids and the outputs its size rule expects."""
    expected = [expected_size(task, grid) or (1, 1) for grid in task.test_inputs]
    return max(task.largest_side, *(max(size) for size in expected))


def _ratio(input: Grid, output: Grid) -> tuple[Fraction, Fraction]:
    return Fraction(output.shape[0], input.shape[0]), Fraction(output.shape[1], input.shape[1])


def expected_colors(task: Task, test_input: Grid) -> list[int]:
    """The colours, ascending, that the answer to a test input can have: those of the test input, those that every
    support's output has, and those that are in some support's output and not in its input.

    This holds for all 416 test outputs of ARC-1 training and for 1075 of the 1076 of ARC-2 training, and leaves
    four or five of the ten colours on average.
    """
    outputs = [_colors(pair.output) for pair in task.support]
    new = [output - _colors(pair.input) for pair, output in zip(task.support, outputs, strict=True)]
    return sorted(_colors(test_input) | set.intersection(*outputs) | set.union(*new))


def _colors(grid: Grid) -> set[int]:
    return set(np.unique(grid).tolist())
