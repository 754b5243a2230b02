"""What a run is worth: scores with their intervals, broken down, and two runs compared task by task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solver.arc.expected import RULES as SIZE_RULES
from solver.arc.expected import size_rule
from solver.arc.tasks import Grid
from solver.results.intervals import Estimate, bootstrap_mean, mcnemar, mean_share, wilson
from solver.run.log import LogRow
from solver.run.read import Run
from voting import Pool

NEAR = 0.1  # an answer of the right shape with at most this share of its cells wrong is a near miss
UNKNOWN = "?"
STATUS_NAMES = {
    "hit": "hit",
    "near": "near misses",
    "missed": "missed",
    "fallback": "left with the fallback answer",
}


@dataclass(frozen=True)
class Answer:
    """How one test output was answered.

    hit: 0 a miss, 1 hit by attempt 1, 2 hit by attempt 2 only; None where the truth is not known.
    covered: the truth is among the candidates of the pool.
    near: a miss, but the truth was a candidate, or a candidate that was submitted has the right shape and at
        most NEAR of its cells wrong.
    fallback: no view gave a grid, so the answer is the fallback.
    """

    hit: int | None
    covered: bool
    near: bool
    fallback: bool


@dataclass(frozen=True)
class TaskResult:
    """One task of a run.

    canvas: its side in cells, None if the network never answered. size_rule: a name in solver.arc.expected.RULES, and
    supports: how many; UNKNOWN and 0 for a task that could not be read.
    seconds: of one worker, shared evenly among the tasks that a job stacked; None if it was never run.
    """

    id: str
    canvas: int | None
    size_rule: str
    supports: int
    answers: tuple[Answer, ...]
    seconds: float | None

    @property
    def share(self) -> float:
        """The share of outputs hit by either attempt: what the task adds to Kaggle's score."""
        return float(np.mean([bool(answer.hit) for answer in self.answers]))

    @property
    def first(self) -> float:
        """The share of outputs hit by attempt 1."""
        return float(np.mean([answer.hit == 1 for answer in self.answers]))

    @property
    def covered(self) -> float:
        """The share of outputs that are among the candidates."""
        return float(np.mean([answer.covered for answer in self.answers]))

    @property
    def solved(self) -> bool:
        """Every output is hit."""
        return all(answer.hit for answer in self.answers)

    @property
    def status(self) -> str:
        """hit (every output), else fallback (an output without candidates), else near (an output that is hit
        or a near miss), else missed. Where the truth is not known: fallback or answered."""
        if self.answers[0].hit is None:
            return "fallback" if any(answer.fallback for answer in self.answers) else "answered"
        if self.solved:
            return "hit"
        if any(answer.fallback for answer in self.answers):
            return "fallback"
        return "near" if any(answer.hit or answer.near for answer in self.answers) else "missed"


@dataclass(frozen=True)
class Group:
    """Tasks with something in common, and their scores. seconds: mean of one worker, None if none ran."""

    label: str
    tasks: int
    score: Estimate
    solved: Estimate
    oracle: Estimate
    seconds: float | None


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run over all tasks whose truth is known; every one a share with its 95% interval.

    score: Kaggle's: the mean over tasks of the share of outputs hit. outputs: the share of outputs hit.
    solved: the share of tasks with every output hit. first: `score`, had only attempt 1 been submitted.
    oracle: `score`, had every candidate of the pools been submitted.
    `outputs` and `solved` have Wilson's interval; the others are bootstrapped over tasks.
    breakdown: {what the tasks are grouped by: its groups}. seconds: mean of one worker a task.
    seen: how many of the run's tasks the weights were trained on, as the run recorded it.
    """

    name: str
    results: list[TaskResult]
    unscored: int
    score: Estimate
    outputs: Estimate
    solved: Estimate
    first: Estimate
    oracle: Estimate
    breakdown: dict[str, list[Group]]
    seconds: float | None
    seen: int

    @property
    def statuses(self) -> dict[str, int]:
        """How many tasks there are of every status."""
        return dict(Counter(result.status for result in self.results))


def results(run: Run) -> list[TaskResult]:
    """Every task of a run in file order, those without a known truth too."""
    seconds, tasks, found = _seconds(run), run.tasks, []
    for task_id, pairs in run.attempts.items():
        task, truth = tasks.get(task_id), run.truth(task_id) or [None] * len(pairs)
        # A task that could not be read may have fewer readable tests than outputs; the rest are misses.
        answers = [_judge(pair, run.pool(task_id, i), truth[i]) for i, pair in enumerate(pairs)]
        answers += [Answer(0, False, False, True)] * (len(truth) - len(pairs))
        canvases = [row["canvas"] for row in run.log.get(task_id, ()) if "canvas" in row]
        found.append(
            TaskResult(
                id=task_id,
                canvas=canvases[-1] if canvases else None,
                size_rule=size_rule(task) if task else UNKNOWN,
                supports=len(task.support) if task else 0,
                answers=tuple(answers),
                seconds=seconds.get(task_id),
            )
        )
    return found


def evaluate(run: Run) -> Evaluation:
    """Scores a run; ValueError if its folder has no solutions."""
    if run.solutions is None:
        raise ValueError(f"{run.directory}: has no solutions.json, so there is nothing to score against")
    everything = results(run)
    scored = [result for result in everything if result.id in run.solutions]
    answers = [answer for result in scored for answer in result.answers]
    return Evaluation(
        name=run.name,
        results=scored,
        unscored=len(everything) - len(scored),
        score=mean_share([r.share for r in scored]),
        outputs=wilson(sum(bool(a.hit) for a in answers), len(answers)),
        solved=wilson(sum(r.solved for r in scored), len(scored)),
        first=mean_share([r.first for r in scored]),
        oracle=mean_share([r.covered for r in scored]),
        breakdown={
            "canvas": _groups(scored, lambda r: r.canvas or 0, lambda c: f"{c} cells" if c else "no answer"),
            "output size": _groups(scored, lambda r: (*SIZE_RULES, UNKNOWN).index(r.size_rule), _rule_name),
            "supports": _groups(scored, lambda r: r.supports, str),
        },
        seconds=_mean([r.seconds for r in scored]),
        seen=len(run.config.get("seen") or ()),
    )


def format_evaluation(evaluation: Evaluation) -> str:
    """The scores as a table in plain text."""
    tasks, outputs = len(evaluation.results), sum(len(r.answers) for r in evaluation.results)
    lines = [
        f"{evaluation.name}: {tasks} tasks, {outputs} test outputs, 95% intervals",
        "",
        f"  Kaggle score, two attempts   {evaluation.score}   mean over tasks",
        f"  test outputs hit             {evaluation.outputs}   of all outputs",
        f"  tasks fully solved           {evaluation.solved}   of all tasks",
        f"  attempt 1 alone              {evaluation.first}   mean over tasks",
        f"  any candidate (oracle)       {evaluation.oracle}   mean over tasks",
    ]
    if evaluation.seen:
        lines.insert(1, f"NOT A FAIR SCORE: the weights were trained on pairs of {evaluation.seen} of these tasks")
    if evaluation.seconds is not None:
        lines.append(f"  seconds a task               {evaluation.seconds:6.1f}   of one worker")
    counts = evaluation.statuses
    lines += ["", "  " + ", ".join(f"{counts[s]} {name}" for s, name in STATUS_NAMES.items() if s in counts)]
    for title, groups in evaluation.breakdown.items():
        heading = "score    95% interval    solved  oracle  s/task"
        lines += ["", f"  {'by ' + title:<16} {'tasks':>5}  {heading:>44}"]
        lines += [
            f"  {group.label:<16} {group.tasks:>5}  {group.score}  {group.solved.value:7.1%} "
            f"{group.oracle.value:7.1%} {'-' if group.seconds is None else f'{group.seconds:.1f}':>7}"
            for group in groups
        ]
    if evaluation.unscored:
        lines += ["", f"  not scored, the truth is not known: {evaluation.unscored} tasks"]
    return "\n".join(lines)


@dataclass(frozen=True)
class Comparison:
    """Two runs on the tasks that both were scored on.

    first, second: Kaggle's score of each. difference: second less first, bootstrapped over tasks in pairs.
    gained, lost: ids of tasks that only the second run, or only the first, fully solved. p_value: McNemar's
    exact test on these. both, neither: how many tasks both runs solved, and how many neither.
    """

    names: tuple[str, str]
    tasks: int
    first: Estimate
    second: Estimate
    difference: Estimate
    gained: list[str]
    lost: list[str]
    both: int
    neither: int
    p_value: float


def compare(first: Run, second: Run) -> Comparison:
    """Two runs, paired by task. ValueError if they share no task with a known truth, or disagree on one."""
    a, b = ({result.id: result for result in evaluate(run).results} for run in (first, second))
    common = [task_id for task_id in a if task_id in b]
    if not common:
        raise ValueError(f"{first.directory} and {second.directory} have no scored task in common")
    for task_id in common:
        if not _equal(first.truth(task_id), second.truth(task_id)):
            raise ValueError(f"task {task_id} has different solutions in the two runs: not the same data")
    gained = [task_id for task_id in common if b[task_id].solved and not a[task_id].solved]
    lost = [task_id for task_id in common if a[task_id].solved and not b[task_id].solved]
    both = sum(a[task_id].solved and b[task_id].solved for task_id in common)
    return Comparison(
        names=(first.name, second.name),
        tasks=len(common),
        first=mean_share([a[task_id].share for task_id in common]),
        second=mean_share([b[task_id].share for task_id in common]),
        difference=bootstrap_mean([b[task_id].share - a[task_id].share for task_id in common]),
        gained=gained,
        lost=lost,
        both=both,
        neither=len(common) - both - len(gained) - len(lost),
        p_value=mcnemar(len(lost), len(gained)),
    )


def format_comparison(comparison: Comparison) -> str:
    """The comparison as plain text."""
    width = max(10, *map(len, comparison.names))
    difference = comparison.difference
    lines = [
        f"{comparison.tasks} tasks in both runs; Kaggle score with 95% interval",
        "",
        f"  {comparison.names[0]:<{width}}  {comparison.first}",
        f"  {comparison.names[1]:<{width}}  {comparison.second}",
        f"  {'difference':<{width}}  {100 * difference.value:+5.1f}%  "
        f"[{100 * difference.low:+5.1f}, {100 * difference.high:+5.1f}]",
        "",
        f"  fully solved: {comparison.both} by both, {len(comparison.gained)} gained, "
        f"{len(comparison.lost)} lost, {comparison.neither} by neither",
        f"  McNemar's exact test: p = {comparison.p_value:.3g}",
    ]
    for name, ids in (("gained", comparison.gained), ("lost", comparison.lost)):
        if ids:
            lines += ["", f"  {name}: {' '.join(ids)}"]
    return "\n".join(lines)


def job_counts(run: Run) -> Counter:
    """How many log rows each job has; a job is known by its start of the run, its worker and its times."""
    return Counter(_job(row) for rows in run.log.values() for row in rows)


def _job(row: LogRow) -> tuple:
    return row.get("start", 0), row.get("worker"), row.get("started"), row.get("ended")


def _seconds(run: Run) -> dict[str, float]:
    """Seconds of one worker that each task took, over all its copies."""
    stacked, seconds = job_counts(run), defaultdict(float)
    for task_id, rows in run.log.items():
        for row in rows:
            if row.get("ended") is not None and row.get("started") is not None:
                seconds[task_id] += (row["ended"] - row["started"]) / stacked[_job(row)]
    return dict(seconds)


def _judge(pair: tuple[Grid, Grid], pool: Pool | None, truth: Grid | None) -> Answer:
    if truth is None:
        return Answer(None, False, False, pool is None)
    hit = next((i for i, grid in enumerate(pair, 1) if np.array_equal(grid, truth)), 0)
    covered = pool is not None and pool.get(truth) is not None
    submitted = [grid for grid in pair if pool is not None and pool.get(grid) is not None]
    close = any(grid.shape == truth.shape and np.mean(grid != truth) <= NEAR for grid in submitted)
    return Answer(hit, covered, not hit and (covered or close), pool is None)


def _groups(scored: Sequence[TaskResult], key: Callable[[TaskResult], int], label: Callable[[int], str]) -> list[Group]:
    members = defaultdict(list)
    for result in scored:
        members[key(result)].append(result)
    return [
        Group(
            label=label(value),
            tasks=len(group),
            score=mean_share([r.share for r in group]),
            solved=wilson(sum(r.solved for r in group), len(group)),
            oracle=mean_share([r.covered for r in group]),
            seconds=_mean([r.seconds for r in group]),
        )
        for value, group in sorted(members.items())
    ]


def _rule_name(index: int) -> str:
    return (*SIZE_RULES, "unreadable")[index]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _equal(first: Sequence[Grid], second: Sequence[Grid]) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))
