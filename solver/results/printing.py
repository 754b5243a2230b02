"""What the commands print: progress, the table of a run, scores. Text in, text out."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from solver.arc.tasks import load_solutions
from solver.run.log import read_log
from solver.run.work import Progress
from submission.document import read
from submission.score import score
from voting import load_pools


class ProgressBar:
    """One live bar with the time left and, where `hits` can tell, the tasks solved so far; where the output is no
    terminal, a plain line after every job."""

    def __init__(self, total: int, budget: float | None, hits: Callable[[], int] | None = None) -> None:
        self.live = sys.stderr.isatty()
        self.bar = tqdm(total=total, unit="task", dynamic_ncols=True, disable=not self.live)
        self.budget, self.hits = budget, hits

    def update(self, progress: Progress) -> None:
        facts = [f"{self.hits()} solved"] if self.hits else []
        facts += [f"{progress.again} further copies"] if progress.again else []
        facts += [f"{_minutes(progress.left)} of the budget left"] if self.budget else []
        text = ", ".join(facts)
        if not self.live:
            print(f"{progress.done}/{progress.total} tasks answered  {text}", file=sys.stderr, flush=True)
            return
        self.bar.update(progress.done - self.bar.n)
        self.bar.set_postfix_str(text)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()


def run_table(directory: Path) -> str:
    """One line per task and test input of a run folder: canvas, steps, seconds, votes, and, where solutions
    are there, hit or miss."""
    rows: dict[str, list[dict]] = {}
    for row in read_log(directory / "log.jsonl"):
        rows.setdefault(row["task"], []).append(row)
    finished = {(row["task"], row["copy"]) for own in rows.values() for row in own if "error" not in row}
    pools = load_pools(directory / "pools.jsonl", finished)
    attempts = read(directory / "submission.json")
    truth = directory / "solutions.json"
    hits = score(attempts, load_solutions(truth)).hits if truth.exists() else {}
    lines = [f"{'task':10} {'canvas':>6} {'copies':>6} {'steps':>6} {'seconds':>8} {'loss':>7}  {'votes':<15} result"]
    for task_id, own in rows.items():
        good = [row for row in own if "error" not in row]
        for row in own:
            if "error" in row:
                lines.append(f"{task_id:10} failed: {row['error']}")
        if not good:
            continue
        steps, seconds = sum(r["steps"] for r in good), sum(r["adapt_seconds"] + r["predict_seconds"] for r in good)
        for index, pair in enumerate(attempts[task_id]):
            result = ("miss", "hit by attempt 1", "hit by attempt 2")[hits[task_id][index]] if task_id in hits else ""
            votes = _votes(pools.get((task_id, index)), pair)
            lines.append(
                f"{task_id:10} {good[-1]['canvas']:6} {len(good):6} {steps:6} {seconds:8.1f} "
                f"{good[-1]['loss']:7.3f}  {votes:<15} {result}"
            )
    return "\n".join(lines)


def _votes(pool, pair) -> str:
    if pool is None:
        return "fallback"
    counts = [candidate.views if (candidate := pool.get(grid)) else 0 for grid in pair]
    return f"{counts[0]} + {counts[1]} of {pool.total_views}"


def score_lines(submission: Path, solutions: Path) -> str:
    """The scores of a submission file against a solutions file, every task counted."""
    result = score(read(submission), load_solutions(solutions))
    tasks, outputs = len(result.hits), sum(len(own) for own in result.hits.values())
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


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"
