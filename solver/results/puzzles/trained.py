"""A system trained on a puzzle and judged on others: what is measured, and what is left in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solver.device import device_name
from solver.provenance import commit, versions
from solver.results.intervals import Estimate, wilson
from solver.results.puzzles.picture import Exhibit, answers_picture, solving_picture
from solver.run.folder import write_json
from solver.training.loop import Limit
from solver.training.pretrain import Trainer, plain_config
from solver.training.puzzles.answering import Answering, Voting
from solver.training.puzzles.learning import learn
from solver.training.puzzles.puzzle import Drawn, Puzzle
from solver.weights import checkpoint
from submission.files import write_whole

SHOWN = 4
"""Puzzles in a picture."""

VIEWS = 8
"""Views of a puzzle that vote."""


@dataclass(frozen=True)
class Outcome:
    """What came of it. `steps`: the first mark that is for any of the puzzles, had the answer been taken after each
    loop step, or whatever `step_name` says it is; `voted`: the marks of answers by a vote of views, empty for a puzzle
    that has no other guises."""

    parameters: int
    samples: int
    seconds: float
    marks: dict[str, Estimate]
    steps: list[float]
    voted: dict[str, Estimate]
    tested: int
    step_name: str


def run_puzzle(
    puzzle: Puzzle,
    system: str,
    limit: Limit,
    directory: Path,
    device: torch.device,
    *,
    seed: int = 0,
    tested: int = 1000,
    amount: int | None = None,
    piece: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
) -> Outcome | None:
    """Trains, judges `tested` puzzles of classes that were not trained on, and leaves the bundle, `puzzle.json`,
    `answers.svg` and `solving.svg` in `directory`. None if `piece` ended before the limit. ValueError if there is no
    puzzle to train on or to be judged."""
    test = puzzle.draw(tested, "test", seed)
    trainer, data = learn(
        puzzle,
        system,
        limit,
        directory / "training",
        device,
        seed=seed,
        amount=amount,
        piece=piece,
        clock=clock,
        say=say,
    )
    if not trainer.ended:
        return None
    assert not np.isin(test.classes, data.hashes).any()
    answering = Answering(trainer.average, puzzle.canvas, device, trainer.dtype, trainer.corpus.table)
    steps = answering.steps(test.inputs)
    by_step = marks_by_step(puzzle, test, answering, steps)
    voted: dict[str, np.ndarray] = {}
    if puzzle.turns or puzzle.exchanged:
        voted = puzzle.marks(test, Voting(answering, puzzle.turns, puzzle.exchanged, VIEWS, seed))
    outcome = Outcome(
        parameters=sum(p.numel() for p in trainer.network.parameters()),
        samples=trainer.samples,
        seconds=round(trainer.seconds, 1),
        marks=shares(by_step[-1]),
        steps=[round(next(iter(shares(marks).values())).value, 4) for marks in by_step],
        voted=shares(voted),
        tested=len(test),
        step_name=trainer.config.model.step_name,
    )
    record = {
        "puzzle": puzzle.name,
        "settings": asdict(puzzle) if is_dataclass(puzzle) else {},
        "system": system,
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
        "examples": data.counts[puzzle.name],
        "limit": asdict(limit),
        "clock": "processor" if clock is time.process_time else "wall",
        "device": device_name(device),
        "trained": plain_config(trainer.config),
        "model": asdict(trainer.config.model),
        "outcome": asdict(outcome),
        "training": trainer.rows,
    }
    write_json(directory / "puzzle.json", record)
    checkpoint.save_bundle(directory, trainer.config.name, trainer.average, _card(puzzle, trainer, record), data.hashes)
    draw_pictures(puzzle, test, by_step[-1], steps, trainer.config.model.step_name, directory)
    return outcome


def shares(marks: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Of each mark the share of what is right among the puzzles that it is for; none of a mark that is for none."""
    counted = {name: values[~np.isnan(values.astype(np.float64))] for name, values in marks.items()}
    return {name: wilson(int(values.sum()), len(values)) for name, values in counted.items() if len(values)}


def marks_by_step(puzzle: Puzzle, test: Drawn, answering: Answering, steps: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The marks with 1 loop step, with 2, and so on. `steps`: the answers to the test after each, uint8 (steps, P, H,
    W); what a puzzle asks besides is answered anew."""
    marks = []
    for count, answers in enumerate(steps, start=1):
        shorter = replace(answering, loops=count)

        def answer(inputs: np.ndarray, answers: np.ndarray = answers, shorter: Answering = shorter) -> np.ndarray:
            return answers if inputs is test.inputs else shorter(inputs)

        marks.append(puzzle.marks(test, answer))
    return marks


def _card(puzzle: Puzzle, trainer: Trainer, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": trainer.config.name,
        "target": f"puzzle {puzzle.name}",
        "pairs": {puzzle.name: record["examples"]},
        "loops": trainer.config.model.loops,
        "steps": trainer.step,
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "seed": record["seed"],
        "commit": record["commit"],
        "log": trainer.rows,
    }


def draw_pictures(
    puzzle: Puzzle, test: Drawn, marks: dict[str, np.ndarray], steps: np.ndarray, step_name: str, directory: Path
) -> None:
    """The first puzzles of the test with their answers; and, moving, those of the first hundred whose answers change
    most from step to step. `steps`: the answers after each, uint8 (steps, P, H, W)."""
    test, steps = test[:100], steps[:, :100]
    first, *others = (values[:100].astype(np.float64) for values in marks.values())
    for other in others:  # a puzzle that the first mark is not for has one of its own
        first = np.where(np.isnan(first), other, first)
    right = first > 0
    exhibits = [Exhibit(test.inputs[i], test.targets[i], steps[:, i], bool(right[i])) for i in range(len(test))]
    changes = (steps[1:] != steps[:-1]).sum((0, 2, 3))
    restless = [exhibits[i] for i in np.argsort(-changes, kind="stable")[:SHOWN]]
    write_whole(directory / "answers.svg", answers_picture(exhibits[:SHOWN], puzzle.drawn_as).encode())
    write_whole(
        directory / "solving.svg",
        solving_picture(restless, puzzle.drawn_as, step_name).encode(),
    )
