"""tinyarc for programs of your own: what `docs/library.md` speaks of, under one name."""

from solver.arc.tasks import Challenges, Grid, Pair, Task, TaskError, load_challenges, load_solutions
from solver.device import pick_device
from solver.presets import SolveConfig, chosen
from solver.results.evaluate import evaluate, format_evaluation
from solver.run.pipeline import solve
from solver.run.read import Run, read_run
from solver.run.work import Means, Progress, Work

__all__ = [
    "Challenges",
    "Grid",
    "Means",
    "Pair",
    "Progress",
    "Run",
    "SolveConfig",
    "Task",
    "TaskError",
    "Work",
    "chosen",
    "evaluate",
    "format_evaluation",
    "load_challenges",
    "load_solutions",
    "pick_device",
    "read_run",
    "solve",
]
