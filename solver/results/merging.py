"""`tinyarc merge`: the answers of several solvers put together, ours as runs and other people's as submission files.

What comes of it is a run folder like any other: its pools hold who said what, so that `tinyarc vote` repeats the vote
and the report shows it. `voting.opinions` says how the two attempts are chosen.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solver import __version__
from solver.arc.tasks import Challenges, load_challenges
from solver.options import Command
from solver.provenance import commit, versions
from solver.results.evaluate import evaluate, format_evaluation
from solver.run.answers import learned
from solver.run.folder import new_directory, write_json
from solver.run.log import LogRow, append_row, own_canvas
from solver.run.read import Run, read_run
from solver.run.record import now
from solver.text import aligned
from submission.document import Attempts, Document, fallback, read
from submission.files import write_whole
from submission.validate import check
from voting import ALL_RULES, Pool, give_opinion, save_pools, two_attempts

SURE = 0.4
"""The share of our views from which on they keep the first attempt, if some copy has learned the task's supports. Of 22
outputs of small held-out tasks (`nano`, 200 steps) 11 of the 12 above it were right, and none of the 10 below."""
RULE = "merge"


@dataclass(frozen=True)
class Source:
    """One solver: its name, its weight, where its answers lie, and the answers: a run of ours, or only attempts."""

    name: str
    weight: float
    path: Path
    answers: Run | Attempts


@dataclass(frozen=True)
class Merged:
    """What came of it."""

    directory: Path  # the run folder that was made
    inputs: int  # test inputs
    sure: int  # those whose first attempt our views kept
    firsts: tuple[int, ...]  # first attempts that each source gave, alone or with others, in their order
    seconds: tuple[int, ...]  # second attempts, the same


def open_sources(texts: Sequence[str]) -> list[Source]:
    """Sources from what stands on a command line: PATH, PATH=WEIGHT or PATH:WEIGHT, a run folder or a submission file.

    ValueError for what is neither, for a run that was merged, for a weight of 0, or without any source.
    """
    if not texts:
        raise ValueError("there is nothing to merge")
    sources: list[Source] = []
    for text in texts:
        match = re.fullmatch(r"(.+)[=:](\d+(?:\.\d+)?)", text)
        path, weight = (Path(text), 1.0) if match is None or Path(text).exists() else (Path(match[1]), float(match[2]))
        if not weight > 0:
            raise ValueError(f"{text}: a weight must be above 0")
        answers: Run | Attempts
        if path.is_dir():
            name, answers = path.resolve().name, read_run(path)
            if answers.config.get("rule") == RULE:
                raise ValueError(f"{path}: was merged itself; name what it was merged from, or its submission.json")
        elif path.is_file():
            name, answers = (path.resolve().parent.name if path.stem == "submission" else path.stem), read(path)
        else:
            raise ValueError(f"{path}: is neither a run folder nor a submission file")
        taken = {source.name for source in sources}
        unique = next(n for n in (name, *(f"{name}-{k}" for k in range(2, len(texts) + 2))) if n not in taken)
        sources.append(Source(unique, weight, path, answers))
    return sources


def merge(
    sources: Sequence[Source],
    directory: Path,
    *,
    challenges: Path | None = None,
    out: Path | None = None,
    sure: float = SURE,
) -> Merged:
    """Fills a new or empty run folder with the sources' answers put together, and writes the submission to `out` too.

    `challenges`: the file that was answered, by default that of the first run. A source may lack tasks, or have
    placeholders for them: it then says nothing there. ValueError if there are no challenges, or if a source answers
    other tasks, or other test inputs, than those of the challenges.
    """
    runs = [source.answers for source in sources if isinstance(source.answers, Run)]
    if challenges is None and not runs:
        raise ValueError("none of these is a run folder; name the file that they answer with --challenges")
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(f"{directory}: is not empty")
    path = challenges or runs[0].directory / "challenges.json"
    given = load_challenges(path, keep_going=True)
    for source in sources:
        _check(source, given)
    began = now()
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "challenges.json", Path(path).read_bytes())
    pools, answers, given_by = {}, {}, np.zeros((2, len(sources)), int)
    for task_id, inputs in given.test_inputs.items():
        for index, grid in enumerate(inputs):
            pool = _pool(sources, task_id, index, grid, sure)
            if len(pool):
                pools[task_id, index] = pool
                answers[task_id, index] = two_attempts(pool, RULE, fallback(grid))
                for attempt, candidate in enumerate(ALL_RULES[RULE](pool)[:2]):
                    given_by[attempt] += [source.name in candidate.opinions for source in sources]
        if any((task_id, index) in pools for index in range(len(inputs))):
            append_row(directory / "log.jsonl", _row(runs, task_id))
    save_pools(directory / "pools.jsonl", pools)
    for run in runs:
        if (truth := run.directory / "solutions.json").is_file() and not (directory / truth.name).exists():
            write_whole(directory / truth.name, truth.read_bytes())
    for place in [directory / "submission.json", *([out] if out is not None else [])]:
        document = Document(place, given.test_inputs, keep=True)
        for (task_id, index), attempts in answers.items():
            document.set(task_id, index, *attempts)
        document.write()
        check(place, given.test_inputs)
    write_json(directory / "config.json", _record(sources, runs, path, given, sure, began))
    kept = sum(pool.sure for pool in pools.values())
    inputs_in_all = sum(map(len, given.test_inputs.values()))
    return Merged(directory, inputs_in_all, kept, *(tuple(row) for row in given_by.tolist()))


def format_merged(sources: Sequence[Source], merged: Merged) -> str:
    """Who said what, as a table in plain text."""
    given = zip(sources, merged.firsts, merged.seconds, strict=True)
    rows = [(source.name, f"{source.weight:g}", first, second) for source, first, second in given]
    lines = aligned(("solver", "weight", "attempt 1", "attempt 2"), rows, left=("solver",))
    lines.append(f"of {merged.inputs} test inputs; our views were sure of {merged.sure}. Run folder {merged.directory}")
    return "\n".join(lines)


def _check(source: Source, given: Challenges) -> None:
    """ValueError unless what a source answers is among the challenges, with as many test inputs; of a run, with the
    same ones."""
    attempts = source.answers.attempts if isinstance(source.answers, Run) else source.answers
    for task_id, pairs in attempts.items():
        inputs = given.test_inputs.get(task_id)
        if inputs is None:
            raise ValueError(f"{source.path}: answers task {task_id}, which is not among the challenges")
        if len(pairs) != len(inputs):
            raise ValueError(f"{source.path}: task {task_id} has {len(pairs)} answers for {len(inputs)} test inputs")
        if isinstance(source.answers, Run):
            theirs = source.answers.challenges.test_inputs[task_id]
            if not all(map(np.array_equal, theirs, inputs)):
                raise ValueError(f"{source.path}: task {task_id} has other test inputs than the challenges")


def _pool(sources: Sequence[Source], task_id: str, index: int, grid: np.ndarray, sure: float) -> Pool:
    """What all sources say about one test input. The views of a run are those of all its copies."""
    pool = Pool()
    pool.copies, pool.settled, knows = 0, True, False
    for source in sources:
        if isinstance(source.answers, Run) and (theirs := source.answers.pool(task_id, index)) is not None:
            pool.merge(theirs)
            knows = knows or any(map(learned, source.answers.log.get(task_id, ())))
    for source in sources:
        if isinstance(source.answers, Run):
            answer: Pool | list[np.ndarray] | None = source.answers.pool(task_id, index)
        else:
            pairs = source.answers.get(task_id, ())
            answer = [g for g in pairs[index] if not _placeholder(g, grid)] if index < len(pairs) else None
        if answer:
            give_opinion(pool, source.name, source.weight, answer)
    viewed = ALL_RULES["confidence"](pool)
    pool.sure = bool(knows and viewed and viewed[0].views >= sure * pool.total_views > 0)
    return pool


def _placeholder(answer: np.ndarray, grid: np.ndarray) -> bool:
    """Whether an answer says nothing: the sample submission's, or the test input as it is or turned by half."""
    sample = answer.shape == (2, 2) and not answer.any()
    return sample or any(np.array_equal(answer, spare) for spare in fallback(grid))


def _row(runs: Sequence[Run], task_id: str) -> LogRow:
    """The log row of a task: what our runs did on it in all."""
    row: LogRow = {"task": task_id, "copy": 0, "start": 0}
    rows = [row for run in runs for row in run.log.get(task_id, ()) if "error" not in row]
    if (canvas := own_canvas(rows)) is not None:
        row |= {
            "canvas": canvas,
            "steps": sum(row["steps"] for row in rows),
            "loss": min(row["loss"] for row in rows),
            "settled": any(row["settled"] for row in rows),
            "adapt_seconds": sum(row["adapt_seconds"] for row in rows),
            "predict_seconds": sum(row["predict_seconds"] for row in rows),
        }
        row |= {"trace": rows[0]["trace"]} if "trace" in rows[0] else {}
    return row


def _record(
    sources: Sequence[Source], runs: Sequence[Run], path: Path, given: Challenges, sure: float, began: str
) -> dict[str, Any]:
    """`config.json`: where the answers come from, and a start without a network."""
    solvers = [
        {"name": source.name, "weight": source.weight, "path": str(source.path), "run": isinstance(source.answers, Run)}
        for source in sources
    ]
    start = {
        "command": "tinyarc merge " + " ".join(f"{source.path}={source.weight:g}" for source in sources),
        "version": __version__,
        "commit": commit(),
        "versions": versions(),
        "tasks": len(given.test_inputs),
        "budget": None,
        "started": began,
        "finished": now(),
    }
    return {
        "challenges": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "dataset": next((run.config["dataset"] for run in runs if run.config.get("dataset")), None),
        "seen": sorted({task_id for run in runs for task_id in run.config.get("seen") or ()}),
        "rule": RULE,
        "sure": sure,
        "solvers": solvers,
        "starts": [start],
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="RUN_OR_SUBMISSION",
                        help="a run folder or a submission.json, with a weight if you like: FILE=0.5")  # fmt: skip
    parser.add_argument("--out", type=Path, help="where the submission goes (always in the run folder too)")
    parser.add_argument("--challenges", type=Path, help="the file that is answered (default: the first run's)")
    parser.add_argument("--sure", type=float, default=SURE, metavar="SHARE",
                        help=f"share of our views from which on they keep attempt 1 (default {SURE:g})")  # fmt: skip
    parser.add_argument("--run-dir", type=Path, help="run folder (default runs/<date-time>)")


def _run(arguments: argparse.Namespace) -> None:
    sources = open_sources(arguments.sources)
    directory = arguments.run_dir or new_directory(Path("runs"))
    merged = merge(sources, directory, challenges=arguments.challenges, out=arguments.out, sure=arguments.sure)
    print(format_merged(sources, merged))
    if (run := read_run(directory)).solutions is not None:
        print(format_evaluation(evaluate(run)))


COMMANDS = {"merge": Command(_options, _run)}
