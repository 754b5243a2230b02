"""A trial: tasks whose truth is known, written as a challenges file to be solved, and scored afterwards."""

from __future__ import annotations

from pathlib import Path

from solver.arc.datasets import DataSet
from solver.arc.tasks import Grid, Task, challenge_json
from solver.run.folder import write_json
from solver.weights import checkpoint
from submission.document import read
from submission.score import score


def write_challenges(directory: Path, tasks: list[Task]) -> Path:
    """`challenges.json` in a run folder, without a single test output; returns its path."""
    path = directory / "challenges.json"
    write_json(path, challenge_json(tasks))
    return path


def write_solutions(directory: Path, data: DataSet, tasks: list[Task]) -> None:
    """`solutions.json` in a run folder, for the scorer, once the solving has ended."""
    outputs = {task.id: [grid.tolist() for grid in data.solutions[task.id]] for task in tasks}
    write_json(directory / "solutions.json", outputs)


def solved_so_far(directory: Path, solutions: dict[str, list[Grid]]) -> int:
    """How many tasks the submission in a run folder has right at this moment: for the progress bar alone."""
    hits = score(read(directory / "submission.json"), solutions).hits
    return sum(all(own) for own in hits.values())


def trained_on(weights: str, data: DataSet, tasks: list[Task]) -> list[str]:
    """Ids of those of the tasks that share a pair with what the weights were trained on."""
    if weights.startswith("random:"):
        return []
    found = checkpoint.overlaps(checkpoint.find(weights), data)
    return [task.id for task in tasks if task.id in found]
