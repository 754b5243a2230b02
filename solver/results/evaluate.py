"""What a run is worth: scores with their intervals, broken down by what tasks have in common."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solver.arc.datasets import concept
from solver.arc.expected import RULES as SIZE_RULES
from solver.results.intervals import Estimate, mean_share, wilson
from solver.results.judge import UNKNOWN, TaskResult, results
from solver.run.read import Run
from solver.text import aligned

STATUS_NAMES = {
    "hit": "hit",
    "near": "near misses",
    "missed": "missed",
    "fallback": "left with the fallback answer",
}

FITS, FIT_NAMES = (True, False, None), ("learned", "not learned", "no answer")


@dataclass(frozen=True)
class Group:
    """Tasks with something in common, and their scores."""

    label: str  # what they have in common
    tasks: int  # how many there are
    score: Estimate  # this and the next two as in `Evaluation`
    solved: Estimate
    oracle: Estimate
    seconds: float | None  # of one worker a task, the mean; None if none ran


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run over all tasks whose truth is known; every one a share with its 95% interval. `outputs` and
    `solved` have Wilson's interval; the others are bootstrapped over tasks."""

    name: str  # of the run
    results: list[TaskResult]  # of the tasks that are scored
    unscored: int  # tasks without a known truth
    score: Estimate  # Kaggle's: the mean over tasks of the share of outputs hit
    outputs: Estimate  # the share of outputs hit
    solved: Estimate  # the share of tasks with every output hit
    first: Estimate  # `score`, had only attempt 1 been submitted
    oracle: Estimate  # `score`, had every candidate of the pools been submitted
    breakdown: dict[str, list[Group]]  # by what the tasks are grouped by
    seconds: float | None  # of one worker a task, the mean; None if none ran
    seen: int  # how many of the run's tasks the weights were trained on, as the run recorded it

    @property
    def statuses(self) -> dict[str, int]:
        """How many tasks there are of every status."""
        return dict(Counter(result.status for result in self.results))


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
            "fit to the supports": _groups(scored, lambda r: FITS.index(r.learned), lambda place: FIT_NAMES[place]),
            **_by_concept(run, scored),
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
        columns = (f"by {title}", "tasks", "score    95% interval", "solved", "oracle", "s/task")
        rows = [
            (g.label, g.tasks, g.score, f"{g.solved.value:.1%}", f"{g.oracle.value:.1%}", g.seconds) for g in groups
        ]
        lines += ["", *(f"  {line}" for line in aligned(columns, rows, left=columns[:1]))]
    if evaluation.unscored:
        lines += ["", f"  not scored, the truth is not known: {evaluation.unscored} tasks"]
    return "\n".join(lines)


def _by_concept(run: Run, scored: Sequence[TaskResult]) -> dict[str, list[Group]]:
    """The groups of a set that names concepts; nothing for others."""
    if run.config.get("dataset") != "conceptarc":
        return {}
    names = sorted({concept(result.id) for result in scored})
    return {"concept": _groups(scored, lambda r: names.index(concept(r.id)), lambda place: names[place])}


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
