"""The vote once more, from the candidate pools of a run and without a model: every rule, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.results.intervals import Estimate, mean_share
from solver.run.read import Run
from solver.text import aligned
from submission.document import Attempts, fallback
from voting import ALL_RULES, RULES, two_attempts


@dataclass(frozen=True)
class Replay:
    """One rule's vote on a run. The scores are None where the run has no solutions."""

    rule: str  # its name
    first: Estimate | None  # mean over tasks of the share of outputs hit by attempt 1
    both: Estimate | None  # the same, hit by either attempt
    oracle: Estimate | None  # the same, hit by any candidate
    changed: int  # test inputs whose two attempts differ, also in order, from those the run submitted
    inputs: int  # test inputs in all


def replayed_attempts(run: Run, rule: str) -> Attempts:
    """The attempts that a rule in voting.ALL_RULES makes of a run's pools, for every id of its challenges.

    The run's own rule gives the run's own submission; a test input without candidates keeps its fallback.
    ValueError for an unknown rule.
    """
    if rule not in ALL_RULES:
        raise ValueError(f"unknown voting rule {rule!r}; there are {', '.join(ALL_RULES)}")
    attempts: Attempts = {}
    for task_id, grids in run.challenges.test_inputs.items():
        attempts[task_id] = []
        for index, grid in enumerate(grids):
            pool, spare = run.pool(task_id, index), fallback(grid)
            attempts[task_id].append(spare if pool is None else two_attempts(pool, rule, spare))
    return attempts


def replay(run: Run, rules: tuple[str, ...] | None = None) -> list[Replay]:
    """Every rule's vote, in the order of `rules`; ValueError for an unknown one. None: all rules that say something
    about this run, which is `merge` where several solvers were put together only."""
    if rules is None:
        rules = tuple(ALL_RULES) if run.config.get("rule") == "merge" else tuple(RULES)
    return [_replay(run, rule) for rule in rules]


def format_replay(run: Run, table: list[Replay]) -> str:
    """The table as plain text; the rule that the run itself used is marked with a star."""
    scored = len(run.solutions or ())
    truth = f"{scored} tasks scored, 95% intervals" if scored else "the truth is not known"
    columns = ["rule", *(("attempt 1", "two attempts", "oracle") if scored else ()), "answers changed"]
    rows = []
    for row in table:
        name = row.rule + (" *" if row.rule == run.config.get("rule") else "")
        shares = (row.first, row.both, row.oracle) if scored else ()
        rows.append((name, *shares, f"{row.changed} of {row.inputs}"))
    lines = [f"{run.name}: {len(run.pools)} candidate pools, {truth}", ""]
    return "\n".join([*lines, *(f"  {line}" for line in aligned(columns, rows, left=("rule",)))])


def _replay(run: Run, rule: str) -> Replay:
    attempts = replayed_attempts(run, rule)
    inputs = [(task_id, index) for task_id, pairs in attempts.items() for index in range(len(pairs))]
    changed = sum(not all(map(np.array_equal, attempts[t][i], run.attempts[t][i])) for t, i in inputs)
    shares: tuple[list[float], list[float], list[float]] = ([], [], [])  # attempt 1, two attempts, oracle
    for task_id, outputs in (run.solutions or {}).items():
        hits = []
        for index, truth in enumerate(outputs):
            pair = attempts[task_id][index] if index < len(attempts[task_id]) else ()
            pool = run.pool(task_id, index)
            equal = [np.array_equal(grid, truth) for grid in pair]
            hits.append((any(equal[:1]), any(equal), pool is not None and pool.get(truth) is not None))
        for known, share in zip(shares, np.mean(hits, axis=0).tolist(), strict=True):
            known.append(share)
    first, both, oracle = (mean_share(known) if known else None for known in shares)
    return Replay(rule, first, both, oracle, changed, len(inputs))
