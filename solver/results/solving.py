"""`tinyarc solve`, `demo` and `eval`: their options; what they solve, and what they say and leave behind of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Task, load_challenges
from solver.device import pick_device
from solver.errors import explain, is_deliberate
from solver.options import SOLVING_WEIGHTS, Command, add_machine, duration
from solver.presets import SolveConfig
from solver.results.evaluate import Evaluation, evaluate, format_evaluation
from solver.results.printing import SolvingBar, run_table, spread
from solver.results.report import write_report
from solver.results.trial import PieceOver, answered, finished, run_trial, standing, trained_on
from solver.run.folder import new_directory
from solver.run.pipeline import solve
from solver.run.read import read_run
from solver.run.work import Means, Work
from solver.text import format_duration
from voting import RULES


def _solve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("challenges", type=Path, metavar="CHALLENGES.json", help="tasks in Kaggle's format")
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
    parser.add_argument("--piece", type=duration, help="stop after this time; with --continue the rest comes later")
    parser.add_argument("--continue", dest="go_on", action="store_true", help="go on if the run folder holds a run")
    _add_solving(parser)


def _add_solving(parser: argparse.ArgumentParser, budget: float | None = None) -> None:
    parser.add_argument("--weights", help=SOLVING_WEIGHTS)
    limits = parser.add_mutually_exclusive_group()
    default = f" (default {format_duration(budget)})" if budget else " (default: none, and hundreds of steps a task)"
    limits.add_argument(
        "--budget", type=duration, default=budget, help=f"time for everything, e.g. 6m or 11h40m{default}"
    )
    limits.add_argument("--steps", type=int, help="fine-tuning steps a task; the same seed then repeats exactly")
    add_machine(parser)
    parser.add_argument("--cluster", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:8786 or a scheduler file, "
                        "whose workers do it in place of processes here (docs/clusters.md)")  # fmt: skip
    parser.add_argument("--views", type=int, help="views of each test input")
    parser.add_argument("--leave-one-out", action="store_true", help="a copy per support, trained without it")
    parser.add_argument("--rule", help=f"how views vote: {', '.join(RULES)}")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--run-dir", type=Path, help="run folder (default runs/<date-time>)")
    where.add_argument("--resume", type=Path, metavar="RUN_DIR", help="go on with an interrupted run")


def _config(arguments: argparse.Namespace, means: Means) -> SolveConfig:
    """The preset for the device with the user's wishes in it."""
    kind = pick_device(means.device).type if means.cluster is None else means.cluster.about.kind
    if arguments.rule is not None and arguments.rule not in RULES:
        raise ValueError(f"no voting rule is called {arguments.rule!r}; choose from {', '.join(RULES)}")
    for name in ("steps", "views", "workers", "limit"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise ValueError(f"--{name} {value}: must be at least 1")
    wishes = {name: getattr(arguments, name) for name in ("steps", "views", "leave_one_out")}
    config = presets.chosen(kind, arguments.weights, **wishes)
    if means.budget is None and arguments.weights and config.also:
        raise ValueError(f"--weights {arguments.weights}: those behind the first are for runs with a --budget")
    return replace(config, rule=arguments.rule or config.rule).within(means.budget)


def _run_directory(resume: Path | None, wanted: Path | None) -> Path:
    """The folder to resume in, or else the one that is wanted, which must not hold a run, or else a new one."""
    if resume is not None:
        return resume
    if wanted is None:
        return new_directory(Path("runs"))
    if (wanted / "config.json").exists():
        raise ValueError(f"{wanted}: already holds a run")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except ValueError as error:  # a name that no system takes
        raise ValueError(f"{str(wanted)!r}: is no name of a folder: {error}") from None
    return wanted


def _with_means(
    run: Callable[[argparse.Namespace, Means], int | None],
) -> Callable[[argparse.Namespace], int | None]:
    """A command that is given what the user has to solve with: this machine, or a cluster for as long as it runs."""

    def command(arguments: argparse.Namespace) -> int | None:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise ValueError("torchrun is for training; to solve on several machines, use --cluster (docs/clusters.md)")
        budget = None if arguments.steps is not None else arguments.budget
        means = Means(budget, arguments.device, arguments.workers)
        if arguments.cluster is None:
            return run(arguments, means)
        if arguments.workers is not None:
            raise ValueError("--workers is for this machine; with --cluster all of the cluster's workers are used")
        if importlib.util.find_spec("distributed") is None:
            raise ValueError("--cluster needs Dask (pip install 'distributed>=2024.1'), here and where the workers run")
        from solver.run.cluster import Cluster  # not above: what it imports is optional

        with Cluster(arguments.cluster, arguments.device, patience=budget) as cluster:
            return run(arguments, replace(means, cluster=cluster))

    return command


def _solve(arguments: argparse.Namespace, means: Means) -> None:
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
    config = _config(arguments, means)
    directory, resume = _run_directory(arguments.resume, arguments.run_dir), arguments.resume is not None
    with SolvingBar(len(tasks), means.budget) as bar:
        path = solve(
            Work(challenges, tasks),
            config,
            directory,
            means,
            seed=arguments.seed,
            out=arguments.out,
            resume=resume,
            listen=bar.update,
            say=print,
        )
    print(run_table(directory))
    _try_report(directory)
    print(f"{path}: {len(challenges.test_inputs)} tasks, run folder {directory}")


def _demo(arguments: argparse.Namespace, means: Means) -> None:
    data = datasets.load("arc1-eval")
    tasks = datasets.demo_tasks(data, arguments.limit)
    trial = _Trial(_config(arguments, means), means, data, tasks)
    directory = _run_directory(arguments.resume, arguments.run_dir)
    trial.run(directory, arguments.seed, resume=arguments.resume is not None)


def _eval(arguments: argparse.Namespace, means: Means) -> int | None:
    if arguments.name == "conceptarc":
        if arguments.conceptarc is None:
            raise ValueError("the set conceptarc is read from a file: name it with --conceptarc")
        data = datasets.conceptarc(arguments.conceptarc)
    else:
        data = datasets.load(arguments.name)
    tasks = datasets.demo_tasks(data, arguments.limit, largest_side=30)
    if arguments.piece is not None and arguments.budget is not None:
        raise ValueError("--piece is for runs of so many --steps a task; with a --budget every start has its own time")
    in_pieces = arguments.go_on or arguments.piece is not None
    if arguments.seeds > 1 and (arguments.resume is not None or in_pieces):
        raise ValueError("--resume, --continue and --piece go on with one run; leave --seeds away")
    config, overlap = _config(arguments, means), arguments.allow_overlap
    trial, scores = _Trial(config, means, data, tasks, piece=arguments.piece, allow_overlap=overlap), []
    if in_pieces:
        label = Path(config.weights).stem.replace(":", "-")
        directory = arguments.resume or arguments.run_dir or Path("runs") / f"eval-{data.name}-{label}"
        return _eval_in_pieces(trial, directory, arguments.seed, go_on=arguments.go_on or arguments.resume is not None)
    for seed in range(arguments.seed, arguments.seed + max(1, arguments.seeds)):
        directory = arguments.run_dir
        if arguments.seeds > 1 and directory is not None:
            directory = directory / f"seed-{seed}"
        directory = _run_directory(arguments.resume, directory)
        scores.append(trial.run(directory, seed, resume=arguments.resume is not None))
    if len(scores) > 1:
        print(f"{len(scores)} seeds: " + spread(scores))
    return None


def _eval_in_pieces(trial: _Trial, directory: Path, seed: int, *, go_on: bool) -> int:
    """Begins a run in the folder, or may `go_on` with the one that is there, until its end or that of the piece; 1 if
    not one task was finished in it."""
    resume = (directory / "config.json").exists()
    if resume and not go_on:
        raise ValueError(f"{directory}: already holds a run; --continue goes on with it")
    directory.mkdir(parents=True, exist_ok=True)
    if finished(directory):
        _say(directory, evaluate(read_run(directory)))
        return 0
    before = len(answered(directory))
    try:
        trial.run(directory, seed, resume=resume)
    except PieceOver:
        print(f"\n{standing(directory)}\nthe time of this piece is over; --continue goes on in {directory}")
        if len(answered(directory)) == before:
            print("no task was finished in this piece: it needs a longer --piece, or fewer --steps")
            return 1
    return 0


class _Trial:
    """`tasks` of `data`, to be solved, scored and reported, in pieces of so many seconds if `piece` is given.
    ValueError if the weights were trained on them, unless the user wants that (`allow_overlap`)."""

    def __init__(
        self,
        config: SolveConfig,
        means: Means,
        data: datasets.DataSet,
        tasks: list[Task],
        *,
        piece: float | None = None,
        allow_overlap: bool = False,
    ) -> None:
        self.config, self.means, self.data, self.tasks, self.piece = config, means, data, tasks, piece
        self.seen = trained_on(config.networks.values(), data, tasks)
        if self.seen:
            warning = f"{' or '.join(config.networks.values())} was trained on pairs of {len(self.seen)} of these "
            warning += f"{len(tasks)} tasks"
            if not allow_overlap:
                raise ValueError(f"{warning}, {self.seen[0]} for one; --allow-overlap scores them all the same")
            print(f"NOT A FAIR SCORE: {warning}")

    def run(self, directory: Path, seed: int, *, resume: bool) -> float:
        """Returns Kaggle's score, 0 to 1."""
        what = f"{len(self.tasks)} tasks of {self.data.name} (content sha256 {self.data.content_hash[:16]})"
        print(f"{what}, run folder {directory}")
        evaluation = run_trial(
            self.data,
            self.tasks,
            self.config,
            directory,
            self.means,
            seed=seed,
            seen=self.seen,
            resume=resume,
            piece=self.piece,
            say=print,
        )
        _say(directory, evaluation)
        return evaluation.score.value


def _say(directory: Path, evaluation: Evaluation) -> None:
    print(run_table(directory))
    print(format_evaluation(evaluation))
    _try_report(directory)


def _try_report(directory: Path) -> None:
    """The report beside a run; solving does not need it, so what keeps it from being written, a bug too, is only
    said."""
    try:
        print(f"report: {write_report(read_run(directory), directory / 'report.html')}")
    except Exception as error:  # the run has ended well, and nothing in its picture may undo that
        print(f"no report: {error}" if is_deliberate(error) else explain(error)[0])


COMMANDS = {
    "solve": Command(_solve_options, _with_means(_solve)),
    "demo": Command(_demo_options, _with_means(_demo)),
    "eval": Command(_eval_options, _with_means(_eval)),
}
