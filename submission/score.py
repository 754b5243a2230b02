"""The score of a submission, Kaggle's way: two attempts per test output, averaged over all tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """What was hit; every share below is in [0, 1] and divides by all there is in the solutions."""

    hits: dict[str, list[int]]  # by task id, for each test output: 0 a miss, 1 hit by attempt 1, 2 by attempt 2 only
    unscored: list[str]  # ids in the submission that the solutions lack

    @property
    def task_mean(self) -> float:
        """Kaggle's score: per task, the share of outputs hit by either attempt; then the mean over tasks."""
        return float(np.mean([np.mean(np.array(hits) > 0) for hits in self.hits.values()]))

    @property
    def first_attempt(self) -> float:
        """The same, had only attempt 1 been submitted."""
        return float(np.mean([np.mean(np.array(hits) == 1) for hits in self.hits.values()]))

    @property
    def output_mean(self) -> float:
        """The share of test outputs hit by either attempt."""
        return float(np.mean([hit > 0 for hits in self.hits.values() for hit in hits]))

    @property
    def solved(self) -> float:
        """The share of tasks with every test output hit."""
        return float(np.mean([all(hits) for hits in self.hits.values()]))


def score(
    attempts: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
    solutions: Mapping[str, Sequence[np.ndarray]],
) -> Score:
    """Compare attempts {task_id: [(grid, grid) per test input]} with solutions {task_id: [grid, ...]}.

    Grids are integers (H, W), and equal when shape and every cell are. Tasks or trailing test inputs without
    attempts are misses. ValueError if there is nothing to score, or if a task has more answers than
    solutions, as when the two files come from different versions of the data.
    """
    if not solutions:
        raise ValueError("no solutions to score against")
    hits = {}
    for task_id, outputs in solutions.items():
        pairs = attempts.get(task_id, ())
        if len(outputs) == 0:
            raise ValueError(f"task {task_id} has no solution")
        if len(pairs) > len(outputs):
            raise ValueError(f"task {task_id} has {len(pairs)} answers but {len(outputs)} solutions")
        hits[task_id] = [_hit(*pair, output) for pair, output in zip(pairs, outputs, strict=False)]
        hits[task_id] += [0] * (len(outputs) - len(pairs))
    return Score(hits, [task_id for task_id in attempts if task_id not in solutions])


def _hit(attempt_1: np.ndarray, attempt_2: np.ndarray, output: np.ndarray) -> int:
    if np.array_equal(attempt_1, output):
        return 1
    return 2 if np.array_equal(attempt_2, output) else 0
