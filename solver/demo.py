"""The demonstration: a fixed sample of small ARC-AGI-1 evaluation tasks, as a challenges file."""

from __future__ import annotations

from pathlib import Path

from solver import datasets
from solver.runfolder import write_json
from solver.tasks import challenge_json


def write_demo(directory: Path, count: int = 16) -> tuple[Path, dict]:
    """Writes `challenges.json` with the first `count` tasks of `datasets.demo_tasks` on ARC-1 evaluation;
    returns its path and the solutions in Kaggle's format, which are for the scorer alone."""
    data = datasets.load("arc1-eval")
    tasks = datasets.demo_tasks(data, count)
    path = directory / "challenges.json"
    write_json(path, challenge_json(tasks))
    return path, {task.id: [grid.tolist() for grid in data.solutions[task.id]] for task in tasks}
