"""`tinyarc puzzle`: its options, the list of puzzles, and what it says of a training or of a few-shot run."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from solver import presets
from solver.device import pick_device, prepare, worker_devices
from solver.options import WEIGHTS, Command, add_machine, duration
from solver.results.evaluate import format_evaluation
from solver.results.intervals import wilson
from solver.results.puzzles.trained import Outcome, run_puzzle
from solver.results.trial import run_trial
from solver.run.folder import new_directory
from solver.run.read import read_run
from solver.run.work import Means
from solver.text import aligned, format_duration
from solver.training.loop import Limit
from solver.training.puzzles.catalogue import FEW_SHOT, PUZZLES, FewShot, puzzle
from solver.training.puzzles.learning import SYSTEMS
from solver.training.puzzles.puzzle import Puzzle

CORE_SECONDS = 30.0
"""For a task of a few-shot puzzle, unless a budget is given."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="without one the puzzles are listed")
    parser.add_argument("--system", help=f"what is trained: {', '.join(SYSTEMS)} (default: nano)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--budget", type=duration, help="time for training, or for solving a few-shot puzzle")
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
    if name in FEW_SHOT:
        _few_shot(arguments, FEW_SHOT[name])
        return
    _trained(arguments)


def listing() -> str:
    """All puzzles, and the systems that can be trained on them."""
    rows = [(name, kind.about, kind.goal) for name, kind in PUZZLES.items()]
    rows += [(name, kind.about, kind.goal) for name, kind in FEW_SHOT.items()]
    columns = ("puzzle", "what", "goal on 2 cores")
    return "\n".join([*aligned(columns, rows, left=columns), "", f"systems: {', '.join(SYSTEMS)}"])


def _trained(arguments: argparse.Namespace) -> None:
    if arguments.weights is not None or arguments.workers is not None:
        raise ValueError(f"--{'workers' if arguments.weights is None else 'weights'} is for few-shot puzzles")
    wishes = {key: getattr(arguments, key) for key in ("size", "moves", "digits", "hard")}
    asked, system = puzzle(arguments.name, **wishes), arguments.system or "nano"
    limit = Limit(steps=arguments.steps) if arguments.steps else Limit(seconds=arguments.budget or asked.seconds)
    device = pick_device(arguments.device)
    prepare(device)
    directory = _directory(arguments)
    print(f"{asked.name}, {system}, run folder {directory}")
    outcome = run_puzzle(
        asked,
        system,
        limit,
        directory,
        device,
        seed=arguments.seed,
        tested=arguments.test or 1000,
        amount=arguments.examples,
        clock=time.process_time if arguments.processor_time else time.monotonic,
    )
    assert outcome is not None
    print(report(asked, outcome))
    print(f"pictures: {directory / 'answers.svg'}, and moving {directory / 'solving.svg'}")


def report(asked: Puzzle, outcome: Outcome) -> str:
    """What was measured, as text."""
    rows = [(mark, str(estimate), asked.metrics[mark]) for mark, estimate in outcome.marks.items()]
    table = aligned(("mark", "share, 95% interval", "what counts"), rows, left=("mark", "what counts"))
    steps = " ".join(f"{share:.1%}" for share in outcome.steps)
    return "\n".join(
        [
            f"{outcome.parameters:,} parameters, {outcome.samples:,} samples in {format_duration(outcome.seconds)}; "
            f"judged on {outcome.tested} puzzles of classes that were not trained on",
            *table,
            f"after each loop step: {steps}",
            f"goal: {asked.goal}",
        ]
    )


def _few_shot(arguments: argparse.Namespace, kind: FewShot) -> None:
    for option in ("system", "size", "moves", "digits", "hard", "examples"):
        if getattr(arguments, option) is not None:
            raise ValueError(f"--{option} is not for {arguments.name}")
    data = kind.make(arguments.test or kind.tasks, arguments.seed)
    device = pick_device(arguments.device)
    config = presets.chosen(device.type, arguments.weights or "nano", steps=arguments.steps)
    if not kind.recolored:
        still = replace(config.adapt.augmentation, recolor=False)
        config = replace(config, adapt=replace(config.adapt, augmentation=still))
        config = replace(config, predict=replace(config.predict, recolor=False))
    workers = len(worker_devices(device, arguments.workers, len(data.tasks))[0])
    budget = arguments.budget or CORE_SECONDS * len(data.tasks) / workers
    directory = _directory(arguments)
    print(f"{len(data.tasks)} tasks of {data.name} (content sha256 {data.content_hash[:16]}), run folder {directory}")
    means = Means(None if arguments.steps else budget, arguments.device, workers)
    print(format_evaluation(run_trial(data, data.tasks, config, directory, means, seed=arguments.seed)))
    attempts = read_run(directory).attempts
    pairs = [(attempts[task.id][0][0], data.solutions[task.id][0]) for task in data.tasks]
    near, cells = 0, 0
    for answer, truth in pairs:
        cells += truth.size
        if answer.shape == truth.shape:
            near += int((np.abs(answer.astype(np.int64) - truth.astype(np.int64)) <= 1).sum())
    print(f"cells of the first attempts within one level: {wilson(near, cells)}")
    print(f"goal: {kind.goal}; tinyarc report {directory} shows every task")


def _directory(arguments: argparse.Namespace) -> Path:
    directory: Path | None = arguments.run_dir
    if directory is None:
        return new_directory(Path("runs"))
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(f"{directory}: is not empty")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


COMMANDS = {"puzzle": Command(_options, _run)}
