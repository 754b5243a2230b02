"""What the commands print of a run: its progress, its table, its scores."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from solver.arc.tasks import Grid, load_solutions
from solver.errors import shows_tracebacks
from solver.progress import ProgressBar
from solver.run.log import LogRow, own_canvas, read_log
from solver.run.work import Progress
from solver.text import aligned, format_duration
from submission.document import read
from submission.score import score
from voting import Pool, load_pools


class SolvingBar(ProgressBar):
    """The tasks answered, with the time left of a `budget` and, where `hits` can tell, the tasks solved so far."""

    def __init__(self, total: int, budget: float | None, hits: Callable[[], int] | None = None) -> None:
        super().__init__(total, "tasks answered")
        self.budget, self.hits = budget, hits

    def update(self, progress: Progress) -> None:
        """Shows what the run says after a job."""
        self.show(
            progress.done,
            f"{self.hits()} solved" if self.hits else "",
            f"{progress.again} further copies" if progress.again else "",
            f"{format_duration(progress.left)} of the budget left" if self.budget else "",
        )


def run_table(directory: Path) -> str:
    """One line per task and test input of a run folder: canvas, steps, seconds, votes, and, where solutions
    are there, hit or miss; then a line per copy that failed, with its traceback where those are shown."""
    log: dict[str, list[LogRow]] = {}
    for row in read_log(directory / "log.jsonl"):
        log.setdefault(row["task"], []).append(row)
    finished = {(row["task"], row["copy"]) for copies in log.values() for row in copies if "error" not in row}
    pools = load_pools(directory / "pools.jsonl", finished)
    attempts = read(directory / "submission.json")
    truth = directory / "solutions.json"
    hits = score(attempts, load_solutions(truth)).hits if truth.exists() else {}
    rows, failures = [], []
    for task_id, copies in log.items():
        for row in (row for row in copies if "error" in row):
            failures.append(f"{task_id:10} failed: {row['error']}")
            failures += row.get("traceback", "").splitlines() if shows_tracebacks() else []
        good = [row for row in copies if "error" not in row]
        if not good:
            continue
        steps, seconds = sum(r["steps"] for r in good), sum(r["adapt_seconds"] + r["predict_seconds"] for r in good)
        for index, pair in enumerate(attempts[task_id]):
            result = ("miss", "hit by attempt 1", "hit by attempt 2")[hits[task_id][index]] if task_id in hits else ""
            votes = _votes(pools.get((task_id, index)), pair)
            loss = f"{good[-1]['loss']:.3f}"
            rows.append((task_id, own_canvas(good), len(good), steps, float(seconds), loss, votes, result))
    columns = ("task", "canvas", "copies", "steps", "seconds", "loss", "votes", "result")
    return "\n".join([*aligned(columns, rows, left=("task", "votes", "result")), *failures])


def _votes(pool: Pool | None, pair: tuple[Grid, Grid]) -> str:
    if pool is None:
        return "fallback"
    counts = [candidate.views if (candidate := pool.get(grid)) else 0 for grid in pair]
    return f"{counts[0]} + {counts[1]} of {pool.total_views}"


def score_lines(submission: Path, solutions: Path) -> str:
    """The scores of a submission file against a solutions file, every task counted."""
    result = score(read(submission), load_solutions(solutions))
    tasks, outputs = len(result.hits), sum(map(len, result.hits.values()))
    lines = [
        f"attempt@2 score (Kaggle's: mean over {tasks} tasks)  {result.task_mean:7.2%}",
        f"attempt@1 score                                {'':{len(str(tasks))}}    {result.first_attempt:7.2%}",
        f"test outputs hit ({outputs}) {result.output_mean:7.2%}, tasks fully solved {result.solved:7.2%}",
    ]
    if result.unscored:
        lines.append(f"not scored, no solution known: {', '.join(result.unscored)}")
    return "\n".join(lines)


def spread(scores: list[float]) -> str:
    """Mean, standard deviation and range of the scores (0 to 1) of runs that differ in their seed."""
    mean, low, high = statistics.mean(scores), min(scores), max(scores)
    return f"mean {mean:.2%}, standard deviation {statistics.stdev(scores):.2%}, from {low:.2%} to {high:.2%}"
