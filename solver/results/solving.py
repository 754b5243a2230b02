"""`tinyarc solve`, `demo` and `eval`: their options; what they solve, and what they say and leave behind of it."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import load_challenges
from solver.device import pick_device
from solver.errors import explain, is_told
from solver.options import WEIGHTS, Command, add_machine, duration
from solver.presets import SolveConfig
from solver.results.evaluate import evaluate, format_evaluation
from solver.results.printing import SolvingBar, run_table, spread
from solver.results.report import write_report
from solver.results.trial import solved_so_far, trained_on, write_challenges, write_solutions
from solver.run.folder import new_directory
from solver.run.pipeline import solve
from solver.run.read import read_run
from solver.run.work import Means, Work
from voting import RULES


def _solve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("challenges", type=Path, metavar="CHALLENGES.json")
    parser.add_argument("--out", type=Path, help="where the submission goes (always in the run folder too)")
    parser.add_argument("--tasks", help="only these ids, comma-separated; others keep a fallback answer")
    parser.add_argument("--limit", type=int, help="only the first so many tasks")
    parser.add_argument("--keep-going", action="store_true", help="report bad tasks and solve the others")
    _add_solving(parser)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=16, help="how many of them")
    _add_solving(parser, budget=330.0)


def _eval_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="SET", help=", ".join((*datasets.NAMES, "conceptarc")))
    parser.add_argument("--conceptarc", type=Path, metavar="FILE", help="the file of the set conceptarc")
    parser.add_argument("--limit", type=int, help="only the first so many tasks, smallest sha256(id) first")
    parser.add_argument("--seeds", type=int, default=1, help="so many runs, one seed after the other")
    parser.add_argument("--allow-overlap", action="store_true", help="score tasks the weights were trained on")
    _add_solving(parser)


def _add_solving(parser: argparse.ArgumentParser, budget: float | None = None) -> None:
    parser.add_argument("--weights", default="nano", help=WEIGHTS)
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--budget", type=duration, default=budget, help="time for everything, e.g. 6m or 11h40m")
    limits.add_argument("--steps", type=int, help="fine-tuning steps a task; the same seed then repeats exactly")
    add_machine(parser)
    parser.add_argument("--views", type=int, help="views of each test input")
    parser.add_argument("--leave-one-out", action="store_true", help="a copy per support, trained without it")
    parser.add_argument("--rule", help="count, confidence or product")
    parser.add_argument("--seed", type=int, default=0)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--run-dir", type=Path, help="run folder (default runs/<date-time>)")
    where.add_argument("--resume", type=Path, metavar="RUN_DIR", help="go on with an interrupted run")


def _config(arguments: argparse.Namespace) -> SolveConfig:
    """The preset for the device with the user's wishes in it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise ValueError("torchrun is for training; to solve on several machines, use --cluster (docs/clusters.md)")
    kind = pick_device(arguments.device).type
    if arguments.rule is not None and arguments.rule not in RULES:
        raise ValueError(f"no voting rule is called {arguments.rule!r}; choose from {', '.join(RULES)}")
    for name in ("steps", "views", "workers", "limit"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise ValueError(f"--{name} {value}: must be at least 1")
    wishes = {name: getattr(arguments, name) for name in ("steps", "views", "leave_one_out")}
    config = presets.chosen(kind, arguments.weights, **wishes)
    return replace(config, rule=arguments.rule or config.rule)


def _run_directory(arguments: argparse.Namespace) -> Path:
    if arguments.resume is not None:
        return arguments.resume
    if arguments.run_dir is None:
        return new_directory(Path("runs"))
    if (arguments.run_dir / "config.json").exists():
        raise ValueError(f"{arguments.run_dir}: already holds a run")
    try:
        arguments.run_dir.mkdir(parents=True, exist_ok=True)
    except ValueError as error:  # a name that no system takes
        raise ValueError(f"{str(arguments.run_dir)!r}: is no name of a folder: {error}") from None
    return arguments.run_dir


def _run(
    arguments: argparse.Namespace,
    config: SolveConfig,
    work: Work,
    directory: Path,
    *,
    out: Path | None = None,
    hits: Callable[[], int] | None = None,
) -> Path:
    """Solves with a progress bar, which `hits` tells how many tasks are solved. Returns the submission's path."""
    budget = None if arguments.steps is not None else arguments.budget
    with SolvingBar(len(work.tasks), budget, hits) as bar:
        return solve(
            work,
            config,
            directory,
            Means(budget, arguments.device, arguments.workers),
            seed=arguments.seed,
            out=out,
            resume=arguments.resume is not None,
            listen=bar.update,
            say=print,
        )


def _solve(arguments: argparse.Namespace) -> None:
    challenges = load_challenges(arguments.challenges, keep_going=arguments.keep_going)
    for error in challenges.errors.values():
        print(f"tinyarc: {error}", file=sys.stderr)
    tasks = challenges.tasks
    if arguments.tasks:
        wanted = arguments.tasks.split(",")
        if missing := set(wanted) - set(challenges.test_inputs):
            raise ValueError(f"{arguments.challenges}: has no task {', '.join(sorted(missing))}")
        tasks = [task for task in tasks if task.id in wanted]
    tasks = tasks[: arguments.limit]
    if arguments.out is not None and arguments.out.resolve() == arguments.challenges.resolve():
        raise ValueError(f"{arguments.out}: is the challenges file, which --out would overwrite")
    config = _config(arguments)
    directory = _run_directory(arguments)
    path = _run(arguments, config, Work(challenges, tasks), directory, out=arguments.out)
    print(run_table(directory))
    _try_report(directory)
    print(f"{path}: {len(challenges.test_inputs)} tasks, run folder {directory}")


def _demo(arguments: argparse.Namespace) -> None:
    data = datasets.load("arc1-eval")
    _trial(arguments, data, datasets.demo_tasks(data, arguments.limit))


def _eval(arguments: argparse.Namespace) -> None:
    if arguments.name == "conceptarc":
        if arguments.conceptarc is None:
            raise ValueError("the set conceptarc is read from a file: name it with --conceptarc")
        data = datasets.conceptarc(arguments.conceptarc)
    else:
        data = datasets.load(arguments.name)
    tasks = datasets.demo_tasks(data, arguments.limit, largest_side=30)
    if arguments.seeds > 1 and arguments.resume is not None:
        raise ValueError("--resume goes on with one run; leave --seeds away")
    scores = []
    for seed in range(arguments.seed, arguments.seed + max(1, arguments.seeds)):
        own = argparse.Namespace(**vars(arguments) | {"seed": seed})
        if arguments.seeds > 1 and arguments.run_dir is not None:
            own.run_dir = arguments.run_dir / f"seed-{seed}"
        scores.append(_trial(own, data, tasks))
    if len(scores) > 1:
        print(f"{len(scores)} seeds: " + spread(scores))


def _trial(arguments: argparse.Namespace, data: datasets.DataSet, tasks: list) -> float:
    """Solves, scores and reports; returns Kaggle's score, 0 to 1."""
    config = _config(arguments)
    if seen := trained_on(arguments.weights, data, tasks):
        warning = f"{arguments.weights} was trained on pairs of {len(seen)} of these {len(tasks)} tasks"
        if not getattr(arguments, "allow_overlap", False):
            raise ValueError(f"{warning}, {seen[0]} for one; --allow-overlap scores them all the same")
        print(f"NOT A FAIR SCORE: {warning}")
    directory = _run_directory(arguments)
    work = Work(load_challenges(write_challenges(directory, tasks)), dataset=data.name, seen=tuple(seen))
    print(f"{len(tasks)} tasks of {data.name} (content sha256 {data.content_hash[:16]}), run folder {directory}")
    hits = functools.partial(solved_so_far, directory, {task.id: data.solutions[task.id] for task in tasks})
    _run(arguments, config, work, directory, hits=hits)
    write_solutions(directory, data, tasks)
    print(run_table(directory))
    evaluation = evaluate(read_run(directory))
    print(format_evaluation(evaluation))
    _try_report(directory)
    return evaluation.score.value


def _try_report(directory: Path) -> None:
    """The report beside a run; solving does not need it, so what keeps it from being written, a bug too, is only
    said."""
    try:
        print(f"report: {write_report(read_run(directory), directory / 'report.html')}")
    except Exception as error:  # the run has ended well, and nothing in its picture may undo that
        print(f"no report: {error}" if is_told(error) else explain(error)[0])


COMMANDS = {
    "solve": Command(_solve_options, _solve),
    "demo": Command(_demo_options, _demo),
    "eval": Command(_eval_options, _eval),
}
