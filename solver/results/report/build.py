"""From a run to the page: what the template shows, and the data that the page's script draws from.

In the data a grid is its rows of digits joined by "|". A map of shares has one character a cell, "0" to "9" and
"a" for all. A loop step is like a grid, with "." for background and "#" for the border, and 0 stands for a step
that changed nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from solver.arc.tasks import Grid
from solver.model.config import STEP_NAMES
from solver.results.evaluate import Evaluation, evaluate
from solver.results.judge import LEARNED, Answer, TaskResult, results
from solver.results.show import PALETTE
from solver.run.log import LogRow, kind
from solver.run.read import Run
from solver.text import format_duration
from submission.files import write_whole
from voting import ALL_RULES, Candidate, Pool

HERE = Path(__file__).parent
SHARES = "0123456789a"
STATUSES = {"hit": "Hit", "near": "Near miss", "missed": "Missed", "fallback": "Fallback", "answered": "Answered"}


def write_report(run: Run, path: str | os.PathLike[str]) -> Path:
    """Writes the page and returns its path. ValueError if jinja2 is not installed.

    The file replaces an older one only once it is complete; folders on the way to it are made.
    """
    try:
        import jinja2
    except ImportError:
        raise ValueError("the report needs the package jinja2: pip install jinja2") from None
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": _percent, "duration": format_duration}
    template = environment.from_string((HERE / "template.html").read_text(encoding="utf-8"))
    page = template.render(
        **_summary(run),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        data=_embedded(report_data(run)),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode())
    return path


def report_data(run: Run) -> dict[str, Any]:
    """What the page's script draws: plain lists, dicts, strings and numbers. Its keys are used in report.js."""
    return {
        "palette": PALETTE,
        "statuses": STATUSES,
        "stepName": STEP_NAMES[(run.config.get("model") or {}).get("recursion", "looped")],
        "budget": _end_of_budget(run),
        "resumed": [round(offset, 2) for offset in run.offsets[1:]],
        "tasks": [_task(run, result) for result in results(run)],
        "jobs": _jobs(run),
    }


def _task(run: Run, result: TaskResult) -> dict[str, Any]:
    task, rows = run.tasks.get(result.id), run.log.get(result.id, [])
    done = [row for row in rows if "error" not in row]
    tests = [_test(run, result.id, i, result.answers[i]) for i in range(len(run.attempts[result.id]))]
    return {
        "id": result.id,
        "status": result.status,
        "canvas": result.canvas,
        "rule": result.size_rule,
        "seconds": None if result.seconds is None else round(result.seconds, 2),
        "confidence": round(float(np.mean([test["confidence"][0] for test in tests])), 4),
        "copies": len(done),
        "kinds": _kinds(done),
        "steps": sum(row.get("steps") or 0 for row in done),
        "loss": done[-1].get("loss") if done else None,
        "settled": bool(done and done[-1].get("settled")),
        "errors": [str(row["error"]) for row in rows if "error" in row],
        "supports": [[_grid(p.input), _grid(p.output)] for p in task.support] if task else [],
        "tests": tests,
    }


def _kinds(rows: list[LogRow]) -> list[str]:
    """How many of these copies were of another kind than the first ones, in words."""
    kinds = [kind(row) for row in rows]
    zoomed = sum(of.zoom > 1 for of in kinds)
    others = Counter(of.weights for of in kinds if of.weights)
    return ([f"{zoomed} zoomed"] if zoomed else []) + [f"{count} of {name}" for name, count in others.items()]


def _test(run: Run, task_id: str, index: int, answer: Answer) -> dict[str, Any]:
    pair, pool = run.attempts[task_id][index], run.pool(task_id, index)
    known = run.truth(task_id)
    truth = known[index] if known else None
    total = pool.total_views if pool else 0
    ranking = ALL_RULES.get(str(run.config.get("rule")), ALL_RULES["count"])(pool) if pool else []
    chosen = [pool.get(grid) if pool else None for grid in pair]
    right = pool.get(truth) if pool and truth is not None else None
    return {
        "input": _grid(run.challenges.test_inputs[task_id][index]),
        "attempts": [_grid(grid) for grid in pair],
        "votes": [candidate.views if candidate else 0 for candidate in chosen],
        "confidence": [_confidence(candidate, total) for candidate in chosen],
        "views": total,
        "decoded": sum(candidate.views for candidate in ranking),
        "candidates": len(ranking),
        "fallback": [candidate is None for candidate in chosen],
        "said": [sorted(candidate.opinions) if candidate else [] for candidate in chosen],
        "truth": None if truth is None else _grid(truth),
        "hit": answer.hit,
        "rank": ranking.index(right) + 1 if right else None,  # of the truth, among the candidates
        "agreement": _agreement(pool, pair[0]) if pool and chosen[0] else None,
        "loop": _loop(run, task_id, index),
    }


def _confidence(candidate: Candidate | None, views: int) -> float:
    """The share of all views that gave a grid, each counted by how sure it was of its cells."""
    return round(candidate.confidence_sum / views, 4) if candidate and views else 0.0


def _agreement(pool: Pool, answer: Grid) -> str:
    """Per cell, the share of all views whose grid has the answer's shape and this cell's colour."""
    share = np.zeros(answer.shape)
    for candidate in pool.candidates:
        if candidate.grid.shape == answer.shape:
            share += candidate.views * (candidate.grid == answer)
    tenths = np.floor(10 * share / max(1, pool.total_views) + 1e-9).astype(int)
    return "|".join("".join(SHARES[tenth] for tenth in row) for row in tenths.tolist())


def _loop(run: Run, task_id: str, index: int) -> list[str | int]:
    """The loop strip of the first copy that has one."""
    for row in run.log.get(task_id, ()):
        traces = row.get("trace") or []
        if index < len(traces):
            steps = ["|".join(line.rstrip(".") for line in step) for step in traces[index]]
            return [0 if i and step == steps[i - 1] else step for i, step in enumerate(steps)]
    return []


def _jobs(run: Run) -> list[dict[str, Any]]:
    """What every worker did when, for the timeline, on one clock through all starts of the run; tasks that were
    stacked share the time of their job."""
    offsets = run.offsets
    rows = [
        row
        for copies in run.log.values()
        for row in copies
        if row.get("started") is not None and row.get("ended") is not None
    ]
    stacks: dict[tuple[int, int | None, float, float], list[LogRow]] = {}
    for row in rows:
        stacks.setdefault((row.get("start", 0), row.get("worker"), row["started"], row["ended"]), []).append(row)
    jobs = []
    for (start, worker, started, ended), stack in stacks.items():
        step = (ended - started) / len(stack)
        for i, row in enumerate(stack):
            begin = offsets[start] + started + i * step
            span = {"start": round(begin, 2), "end": round(begin + step, 2)}
            jobs.append({"task": row["task"], "worker": worker, **span})
    return jobs


def _end_of_budget(run: Run) -> float | None:
    """Seconds of the timeline at which the last start's budget ends; None if it had none."""
    budget = run.starts[-1].get("budget")
    return None if budget is None else run.offsets[-1] + budget


def _summary(run: Run) -> dict[str, Any]:
    """What the template shows above the tasks."""
    everything, config, start = results(run), run.config, run.starts[-1]
    evaluation = evaluate(run) if run.solutions is not None else None
    file = Path(str((config.get("challenges") or {}).get("file") or run.name))
    weights = config.get("weights") or {}
    subtitle = [str(run.starts[0].get("started") or run.name)[:16].replace("T", " ")]
    subtitle += [f"{weights['name']} weights"] if weights.get("name") else []
    subtitle += [start["device"]] if start.get("device") else []
    return {
        "title": str(config.get("dataset") or file.stem.removesuffix("_challenges")),
        "subtitle": subtitle,
        "finished": start.get("finished") is not None,
        "seen": len(config.get("seen") or ()),
        "labels": STATUSES,
        "cards": _scores(evaluation) if evaluation else _counts(run, everything),
        "breakdown": evaluation.breakdown if evaluation else {},
        "learned": LEARNED,
        "facts": _facts(run),
        "tasks": len(everything),
        "statuses": [status for status in STATUSES if any(r.status == status for r in everything)],
    }


def _scores(evaluation: Evaluation) -> list[dict[str, Any]]:
    tasks, outputs = len(evaluation.results), sum(len(r.answers) for r in evaluation.results)
    cards = [
        ("Kaggle score", evaluation.score, f"mean over {tasks} tasks of the share of outputs hit"),
        ("Tasks solved", evaluation.solved, f"every output hit, of {tasks} tasks"),
        ("Outputs hit", evaluation.outputs, f"by either attempt, of {outputs} outputs"),
        ("One attempt", evaluation.first, "the score of attempt 1 alone"),
        ("Any candidate", evaluation.oracle, "the score of a perfect vote"),
    ]
    shown = [{"label": label, "estimate": estimate, "note": note} for label, estimate, note in cards]
    if evaluation.seconds is not None:
        spent = format_duration(evaluation.seconds)
        shown.append({"label": "Time a task", "value": spent, "note": "of one worker, on average"})
    return shown


def _counts(run: Run, everything: list[TaskResult]) -> list[dict[str, Any]]:
    answers = [answer for result in everything for answer in result.answers]
    left = sum(answer.fallback for answer in answers)
    seconds = [result.seconds for result in everything if result.seconds is not None]
    cards = [
        {"label": "Tasks", "value": str(len(everything)), "note": f"with {len(answers)} test inputs"},
        {"label": "Answered", "value": str(len(answers) - left), "note": "test inputs with an answer of the network"},
        {"label": "Fallback", "value": str(left), "note": "test inputs left with the fallback answer"},
    ]
    if seconds:
        cards.append(
            {"label": "Time a task", "value": format_duration(float(np.mean(seconds))), "note": "of one worker"}
        )
    return cards


def _facts(run: Run) -> list[tuple[str, str]]:
    """The run's settings, as far as it recorded them; of the machine and the code, those of the last start."""
    config, starts = run.config, run.starts
    start = starts[-1]
    weights, challenges = config.get("weights") or {}, config.get("challenges") or {}
    parameters, budget = weights.get("parameters"), start.get("budget")
    seconds = [seconds for one in starts if (seconds := one.get("seconds")) is not None]
    facts = [
        ("Command", start.get("command")),
        ("Version", start.get("version")),
        ("Commit", start.get("commit")),
        ("Weights", weights.get("name")),
        ("Parameters", f"{parameters:,}" if parameters else None),
        ("Weights sha256", weights.get("sha256")),
        ("Further copies may be of", ", ".join(one["name"] for one in config.get("also") or ())),
        ("Challenges", challenges.get("file")),
        ("Challenges sha256", challenges.get("sha256")),
        ("Voting rule", config.get("rule")),
        ("Seed", config.get("seed")),
        ("Device", " · ".join(filter(None, (start.get("device"), start.get("dtype"))))),
        ("Workers", start.get("workers")),
        ("Budget", format_duration(budget) if budget else None),
        ("Took", format_duration(sum(seconds)) if seconds else None),
        ("Starts", len(starts) if len(starts) > 1 else None),
        ("Started", starts[0].get("started")),
        ("Finished", start.get("finished")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (start.get("versions") or {}).items())),
    ]
    return [(label, str(value)) for label, value in facts if value not in (None, "")]


def _grid(grid: Grid) -> str:
    return "|".join("".join(map(str, row)) for row in grid.tolist())


def _embedded(data: dict[str, Any]) -> str:
    """JSON that may stand inside a script element whatever strings it holds: no "<", ">" or "&" is left in it."""
    text = orjson.dumps(data).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
