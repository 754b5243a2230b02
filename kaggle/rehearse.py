"""Rehearses Kaggle at home: packs, lays out a folder like /kaggle, cuts the network, executes the notebooks.

First the solver's, as a scored run; the submission is validated and scored. The full form makes, for every Python from
3.10 on that it finds, the newest first, a virtual environment with the image's packages (image.txt); the newest solves
240 public tasks, the others a quarter of them. `--short` has 3 tasks, untrained toy weights, this Python, and the
packages of this environment that the image has too. Then the training's, see training.py. It fails (exit code 1) when a
notebook reports a problem, when a task fails, when anything imports what the image lacks or asks for the network, and
when the submission is not valid.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pythons
import training
from stage import USER, Failed, attach, execute, lay_out, network_cutter

from solver import pack
from solver.kaggle_metadata import COMPETITION
from solver.options import duration
from solver.results.printing import score_lines
from solver.wheels import PYTHONS
from submission.validate import check

SHORT = "--weights random:toy --steps 2 --views 8 --workers 1 --seed 0"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="3 tasks, toy weights, this environment: under a minute")
    rest = "under the newest Python, and a quarter of it under others"
    parser.add_argument("--budget", type=duration, default=360.0, help=f"of the full form (default 6m), {rest}")
    parser.add_argument("--tasks", type=int, default=240, help=f"of the full form (default 240), {rest}")
    parser.add_argument("--weights", default="nano,small", help="bundled weights, in the full form")
    parser.add_argument("--only", choices=("solve", "train"), help="only this notebook")
    parser.add_argument("--commit", action="store_true", help="as a commit run rather than the scored rerun")
    parser.add_argument("--python", help="interpreter of the full form (default: every one from 3.10 on)")
    parser.add_argument("--allow-network", action="store_true", help="go on where the network cannot be cut")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the newest one's /kaggle-like folder here")
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    try:
        cut = network_cutter(arguments.allow_network)
        interpreters = chosen(arguments)
        with tempfile.TemporaryDirectory(prefix="tinyarc-rehearsal-") as temporary:
            packed = pack.pack(USER, COMPETITION, Path(temporary) / "pack")
            print(f"packed {packed.wheel.name}, weights: {', '.join(packed.weights) or 'none'}")
            for turn, (version, interpreter) in enumerate(reversed(interpreters.items())):
                print(f"Python {version}" + ("" if version in packed.pythons else ": not served by the extra wheels"))
                folder = Path(temporary) / version
                folder.mkdir()
                python = environment(arguments, folder, version, interpreter)
                if arguments.only != "train":
                    solve(arguments, folder / "solve", packed, python, cut, part=0.25 if turn else 1.0)
                if arguments.only != "solve":
                    training.rehearse(folder / "train", packed, python, cut)
    except (Failed, ValueError, OSError) as error:
        print(f"rehearsal FAILED: {error}", file=sys.stderr)
        return 1
    missing = [version for version in PYTHONS if version not in interpreters]
    print(f"rehearsed under Python {', '.join(interpreters)}; not under {', '.join(missing) or 'any other'}")
    print(f"rehearsal passed in {time.monotonic() - started:.0f} s, network {'cut' if cut else 'NOT cut'}")
    return 0


def chosen(arguments: argparse.Namespace) -> dict[str, str]:
    """Version -> interpreter of the Pythons to rehearse under: what --python names, only this one in the short form,
    which borrows this environment's packages, and otherwise all that are found."""
    if arguments.short:
        return {pythons.THIS: sys.executable}
    if arguments.python is None:
        return pythons.found()
    version = pythons.version_of(arguments.python)
    if version is None:
        raise ValueError(f"--python {arguments.python}: does not run, or cannot make a virtual environment")
    return {version: arguments.python}


def environment(arguments: argparse.Namespace, folder: Path, version: str, interpreter: str) -> Path:
    """The interpreter of an environment like the image's."""
    if arguments.short:
        return pythons.borrowed(folder / "venv")
    return pythons.image_environment(interpreter, version)


def solve(
    arguments: argparse.Namespace, folder: Path, packed: pack.Pack, python: Path, cut: list[str], *, part: float
) -> None:
    """Rehearses the solver's notebook inside `folder`, in the full form with such a `part` of tasks and budget; raises
    what `main` reports."""
    root, budget = folder / "kaggle", part * arguments.budget
    solutions = lay_out(root, 3 if arguments.short else max(1, int(part * arguments.tasks)))
    attach(root, packed.dataset, "tinyarc-offline")
    options = SHORT if arguments.short else f"--weights {arguments.weights} --budget {budget:g}s"
    rerun = {} if arguments.commit else {"KAGGLE_IS_COMPETITION_RERUN": "1"}
    limit = 300 if arguments.short else budget * 1.2 + 300
    try:
        notebook = packed.kernel / "notebook.ipynb"
        printed = execute(notebook, root, python, cut, limit, TINYARC_OPTIONS=options, **rerun)
        judge(root, printed, solutions, short=arguments.short)
    finally:
        if arguments.keep and part == 1.0:
            shutil.copytree(root, arguments.keep, dirs_exist_ok=True)


def judge(root: Path, printed: str, solutions: Path, *, short: bool) -> None:
    """Prints the score; Failed or ValueError if anything is wrong with what the run printed or left."""
    working = root / "working"
    wrong = [line for line in printed.splitlines() if line.startswith(("PROBLEM:", "failed:"))]
    # A small budget on a slow machine is no fault: such tasks keep their fallback, as they would on Kaggle.
    late = [line for line in wrong if line.endswith("no time left in the budget")]
    if late:
        print(f"{len(late)} tasks kept their fallback answer: the budget is too small for this machine; see --budget")
    wrong = [line for line in wrong if line not in late]
    if not short:  # the short form's environment may lack matplotlib
        wrong += [line for line in printed.splitlines() if line.startswith("no gallery:")]
    if wrong:
        raise Failed("\n  ".join(wrong))
    (challenges,) = root.glob("input/competitions/*/arc-agi_test_challenges.json")
    tasks = json.loads(challenges.read_bytes())
    check(working / "submission.json", {name: task["test"] for name, task in tasks.items()})
    (run,) = working.glob("run-*")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    record = json.loads((run / "config.json").read_text())
    answered = {row["task"] for row in rows if "error" not in row}
    start = record["starts"][-1]
    if not start["finished"] or len(answered) < (len(tasks) if short else 1):
        raise Failed(f"the solver did not finish: {len(answered)} of {len(tasks)} tasks answered")
    of = f" of {start['budget']:.0f} s" if start["budget"] else ""
    print(f"{len(answered)} of {len(tasks)} tasks answered in {start['seconds']:.0f} s{of}")
    print(score_lines(working / "submission.json", solutions))


if __name__ == "__main__":
    sys.exit(main())
