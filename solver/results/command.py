"""`tinyarc compare`, `vote`, `report`, `show` and `score`: their options, and what they do."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import webbrowser
from pathlib import Path

from solver.options import Command
from solver.results import show
from solver.results.compare import compare, format_comparison
from solver.results.printing import score_lines
from solver.results.replay import format_replay, replay
from solver.results.report import write_report
from solver.run.folder import newest
from solver.run.read import read_run
from voting import ALL_RULES


def _compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="RUN_A", help="a run folder")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="another one, of the same tasks")


def _compare(arguments: argparse.Namespace) -> None:
    print(format_comparison(compare(read_run(arguments.first), read_run(arguments.second))))


def _vote_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="RUN_DIR", help="a run folder, such as runs/20260101-120000")
    parser.add_argument("--rule", default="all", help=f"all, {', '.join(ALL_RULES)}")


def _vote(arguments: argparse.Namespace) -> None:
    if arguments.rule != "all" and arguments.rule not in ALL_RULES:
        raise ValueError(f"no voting rule is called {arguments.rule!r}; choose from all, {', '.join(ALL_RULES)}")
    run = read_run(arguments.directory)
    print(format_replay(run, replay(run, None if arguments.rule == "all" else (arguments.rule,))))


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, nargs="?", metavar="RUN_DIR", help="default: the newest in runs/")
    parser.add_argument("-o", "--out", type=Path, help="default RUN_DIR/report.html")
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def _report(arguments: argparse.Namespace) -> None:
    directory = arguments.directory or newest(Path("runs"))
    path = write_report(read_run(directory), arguments.out or directory / "report.html")
    print(path)
    if arguments.open:
        webbrowser.open(path.resolve().as_uri())


def _show_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK_OR_FILE", help="a task id of ARC, or a challenges file")
    parser.add_argument("--run", dest="directory", type=Path, metavar="RUN_DIR", help="with this run's attempts")
    parser.add_argument("--symbols", action="store_true", help="digits in the cells")
    parser.add_argument("--svg", type=Path, help="write a picture here instead")


def _show(arguments: argparse.Namespace) -> None:
    if arguments.directory is None:
        exhibits = show.find(arguments.task)
    else:
        exhibits = [show.from_run(read_run(arguments.directory), arguments.task)]
    if arguments.svg is not None:
        if len(exhibits) != 1:
            raise ValueError(f"{arguments.task}: holds {len(exhibits)} tasks; --svg draws one, name it by its id")
        arguments.svg.write_text(show.svg(exhibits[0]), encoding="utf-8")
        return
    width = shutil.get_terminal_size().columns
    for exhibit in exhibits:
        print(show.text(exhibit, width=width, colors=_terminal_colors(), symbols=arguments.symbols))


def _terminal_colors() -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return "none"
    return "full" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def _score_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "submission", type=Path, metavar="SUBMISSION.json", help="two attempts a test input, in Kaggle's format"
    )
    parser.add_argument("solutions", type=Path, metavar="SOLUTIONS.json", help="the true outputs, in Kaggle's format")


def _score(arguments: argparse.Namespace) -> None:
    print(score_lines(arguments.submission, arguments.solutions))


COMMANDS = {
    "compare": Command(_compare_options, _compare),
    "vote": Command(_vote_options, _vote),
    "report": Command(_report_options, _report),
    "show": Command(_show_options, _show),
    "score": Command(_score_options, _score),
}
