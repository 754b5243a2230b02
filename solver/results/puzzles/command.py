"""`tinyarc puzzle`: its options, the list of puzzles, and what it says of a training or of a few-shot run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from solver import presets
from solver.arc.datasets import DataSet
from solver.device import pick_device, prepare, worker_devices
from solver.options import WEIGHTS, Command, add_machine, duration
from solver.results.evaluate import format_evaluation
from solver.results.intervals import Estimate, mean_share
from solver.results.puzzles.trained import VIEWS, Outcome, run_puzzle
from solver.results.trial import run_trial
from solver.run.folder import new_directory
from solver.run.read import read_run
from solver.run.work import Means
from solver.text import aligned, format_duration
from solver.training.loop import Limit
from solver.training.puzzles.catalogue import FEW_SHOT, PUZZLES, FewShot, puzzle
from solver.training.puzzles.learning import NARROW, SYSTEMS, config_for
from solver.training.puzzles.puzzle import Puzzle

CORE_SECONDS = 30.0
"""For a task of a few-shot puzzle, unless a budget is given."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="without one the puzzles are listed")
    parser.add_argument("--system", help=f"what is trained: {', '.join(SYSTEMS)} (default: the puzzle's, see docs)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--budget", type=duration, help="time for training, or for solving a few-shot puzzle (default: its own)"
    )
    limits.add_argument("--steps", type=int, help="training steps instead")
    parser.add_argument("--processor-time", action="store_true", help="count processor seconds, for a busy machine")
    parser.add_argument("--size", type=int, help="maze: cells a side")
    parser.add_argument("--moves", type=int, help="rubik2: how far from solved")
    parser.add_argument("--digits", type=int, help="arithmetic: of the numbers that are added")
    parser.add_argument("--hard", action="store_true", default=None, help="sudoku9: those that need guesses")
    parser.add_argument("--examples", type=int, help="to train on (default: the puzzle's)")
    parser.add_argument("--test", type=int, help="puzzles to be judged (default 1000), or tasks of a few-shot puzzle")
    parser.add_argument("--weights", help=f"few-shot puzzles: {WEIGHTS}")
    add_machine(parser)
    parser.add_argument("--seed", type=int, default=0, help="of puzzles and first weights (default 0)")
    parser.add_argument("--run-dir", type=Path, help="folder for what comes of it (default runs/<date-time>)")


def _run(arguments: argparse.Namespace) -> None:
    name = arguments.name
    if name is None:
        print(listing())
        return
    if name not in PUZZLES and name not in FEW_SHOT:
        raise ValueError(f"no puzzle is called {name!r}; there are {', '.join([*PUZZLES, *FEW_SHOT])}")
    for option in ("steps", "test", "examples", "workers"):
        if (value := getattr(arguments, option)) is not None and value < 1:
            raise ValueError(f"--{option} {value}: must be at least 1")
    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed}: must be at least 0")
    if arguments.budget == 0:
        raise ValueError("--budget 0: there is nothing to be done in no time")
    if name in FEW_SHOT:
        _check_few_shot(arguments)
        solve_few_shot(
            FEW_SHOT[name],
            tasks=arguments.test,
            weights=arguments.weights or "nano",
            steps=arguments.steps,
            budget=arguments.budget,
            device=arguments.device,
            workers=arguments.workers,
            seed=arguments.seed,
            run_dir=arguments.run_dir,
        )
        return
    if arguments.weights is not None or arguments.workers is not None:
        raise ValueError(f"--{'workers' if arguments.weights is None else 'weights'} is for few-shot puzzles")
    asked = puzzle(name, **{key: getattr(arguments, key) for key in ("size", "moves", "digits", "hard")})
    train_on(
        asked,
        arguments.system or asked.system,
        Limit(steps=arguments.steps) if arguments.steps else Limit(seconds=arguments.budget or asked.seconds),
        device=arguments.device,
        seed=arguments.seed,
        tested=arguments.test or 1000,
        amount=arguments.examples,
        clock=time.process_time if arguments.processor_time else time.monotonic,
        run_dir=arguments.run_dir,
    )


def _check_few_shot(arguments: argparse.Namespace) -> None:
    """ValueError for an option that is for puzzles that a network is trained on."""
    for option in ("system", "size", "moves", "digits", "hard", "examples", "processor_time"):
        if (value := getattr(arguments, option)) is not None and value is not False:
            raise ValueError(f"--{option.replace('_', '-')} is not for {arguments.name}")


def listing() -> str:
    """All puzzles, and the systems that can be trained on them."""
    rows = [(name, kind.about, kind.goal) for name, kind in PUZZLES.items()]
    rows += [(name, kind.about, kind.goal) for name, kind in FEW_SHOT.items()]
    columns = ("puzzle", "what", "goal on 2 cores")
    return "\n".join([*aligned(columns, rows, left=columns), "", f"systems: {', '.join(SYSTEMS)}"])


def train_on(
    asked: Puzzle,
    system: str,
    limit: Limit,
    *,
    device: str,
    seed: int,
    tested: int,
    amount: int | None,
    clock: Callable[[], float],
    run_dir: Path | None,
) -> None:
    """Trains a system on a puzzle and prints how it does on `tested` others. `device` by name; `amount`: examples to
    train on, None: the puzzle's; `clock`: of the limit, in seconds; `run_dir`: None for a new folder in `runs`.
    ValueError for a system or a folder that it cannot be."""
    where = pick_device(device)
    small = config_for(asked, system).model.width <= NARROW
    prepare(where, threads=1 if small else None)  # two are a tenth faster, and crawl where others are at work too
    directory = _directory(run_dir)
    print(f"{asked.name}, {system}, run folder {directory}")
    outcome = run_puzzle(asked, system, limit, directory, where, seed=seed, tested=tested, amount=amount, clock=clock)
    assert outcome is not None
    print(report(asked, outcome))
    print(f"pictures: {directory / 'answers.svg'}, and moving {directory / 'solving.svg'}")


def report(asked: Puzzle, outcome: Outcome) -> str:
    """What was measured, as text."""
    head = ["mark", "share, 95% interval", "what counts"]
    rows = [[mark, str(estimate), asked.metrics[mark]] for mark, estimate in outcome.marks.items()]
    if outcome.voted:
        head.insert(2, f"vote of {VIEWS} views")
        for row in rows:
            row.insert(2, str(outcome.voted[row[0]]))
    table = aligned(head, rows, left=("mark", "what counts"))
    steps = " ".join(f"{share:.1%}" for share in outcome.steps)
    return "\n".join(
        [
            f"{outcome.parameters:,} parameters, {outcome.samples:,} samples in {format_duration(outcome.seconds)}; "
            f"judged on {outcome.tested} puzzles of classes that were not trained on",
            *table,
            f"after each {outcome.step_name}: {steps}",
            f"goal: {asked.goal}",
        ]
    )


def solve_few_shot(
    kind: FewShot,
    *,
    tasks: int | None,
    weights: str,
    steps: int | None,
    budget: float | None,
    device: str,
    workers: int | None,
    seed: int,
    run_dir: Path | None,
) -> None:
    """Solves `tasks` of a puzzle (None: as many as it has) as a run, and prints the scores. With `steps` there is no
    budget; `budget` in seconds, None: CORE_SECONDS a task; `device` by name; `workers`: processes, None: one per
    processor or GPU; `run_dir`: None for a new folder in `runs`. ValueError for weights or a folder that it cannot
    be."""
    data = kind.make(tasks or kind.tasks, seed)
    where = pick_device(device)
    config = presets.chosen(where.type, weights, steps=steps)
    if not kind.recolored:
        still = replace(config.adapt.augmentation, recolor=False)
        config = replace(config, adapt=replace(config.adapt, augmentation=still))
        config = replace(config, predict=replace(config.predict, recolor=False))
    processes = len(worker_devices(where, workers, len(data.tasks))[0])
    seconds = budget or CORE_SECONDS * len(data.tasks) / processes
    directory = _directory(run_dir)
    print(f"{len(data.tasks)} tasks of {data.name} (content sha256 {data.content_hash[:16]}), run folder {directory}")
    means = Means(None if steps else seconds, device, processes)
    print(format_evaluation(run_trial(data, data.tasks, config, directory, means, seed=seed)))
    if not kind.recolored:  # its colours are levels
        print(f"cells of the first attempts within one level: {_near(data, directory)}")
    print(f"goal: {kind.goal}; tinyarc report {directory} shows every task")


def _near(data: DataSet, directory: Path) -> Estimate:
    """The share of a truth's cells that a run's first attempt misses by one colour at most, the mean over tasks; none
    of an attempt of another size."""
    attempts = read_run(directory).attempts
    shares = []
    for task in data.tasks:
        answer, truth = attempts[task.id][0][0], data.solutions[task.id][0]
        near = 0
        if answer.shape == truth.shape:
            near = int((np.abs(answer.astype(np.int64) - truth.astype(np.int64)) <= 1).sum())
        shares.append(near / truth.size)
    return mean_share(shares)


def _directory(wanted: Path | None) -> Path:
    """A folder for what comes of it: a new one, or the one that is wanted, which must be empty or absent."""
    if wanted is None:
        return new_directory(Path("runs"))
    if wanted.exists() and any(wanted.iterdir()):
        raise ValueError(f"{wanted}: is not empty")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


COMMANDS = {"puzzle": Command(_options, _run)}
