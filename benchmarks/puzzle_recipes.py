"""One way to train a network on a puzzle, and what comes of it: what the settings of the puzzles were chosen by.

    python benchmarks/puzzle_recipes.py maze --seconds 200
    python benchmarks/puzzle_recipes.py maze --seconds 150 batch=16 patch=2 width=64 hidden=128 blocks=2 loops=4
    python benchmarks/puzzle_recipes.py sudoku9 --seconds 200 batch=48 lr=1e-3 heads=2 convolution=true half_loops=0
    python benchmarks/puzzle_recipes.py sudoku9 --system trm-nano --seconds 150 lr=1e-3

What is not said is as the puzzle has it. Settings are those of ModelConfig and TrainConfig, and `batch`, examples in
one. One thread, processor seconds; prints the training's log, every mark of unseen puzzles, and the first of them with
and without a vote of views and after each step.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson
import torch

from solver.device import prepare
from solver.model import ModelConfig
from solver.results.puzzles.trained import VIEWS, marks_by_step, shares
from solver.training.loop import Limit, train
from solver.training.presets import TrainConfig
from solver.training.pretrain import Trainer
from solver.training.puzzles.answering import Answering, Voting
from solver.training.puzzles.catalogue import PUZZLES, puzzle
from solver.training.puzzles.learning import config_for, sources

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("puzzle", choices=PUZZLES)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--system", default="nano")
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    asked = puzzle(arguments.puzzle)
    try:
        config = changed(config_for(asked, arguments.system), asked.canvas, arguments.settings)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    prepare(CPU, threads=1)
    trainer = Trainer(config, sources(asked, arguments.seed, arguments.examples), CPU, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        train(trainer, Limit(seconds=arguments.seconds), Path(folder), clock=time.process_time)
    test = asked.draw(arguments.test, "test", arguments.seed)
    answering = Answering(trainer.average, asked.canvas, CPU, trainer.dtype, trainer.corpus.table)
    print(f"{sum(p.numel() for p in trainer.network.parameters()):,} weights, {trainer.step} steps")
    by_step = marks_by_step(asked, test, answering, answering.steps(test.inputs))
    for name, share in shares(by_step[-1]).items():
        print(f"{name}: {share.value:.1%}")
    first = next(iter(asked.metrics))
    print(f"{first} after each step:", *(f"{shares(marks)[first].value:.1%}" for marks in by_step))
    if asked.turns or asked.exchanged:
        for views in range(1, VIEWS + 1):
            voted = asked.marks(test, Voting(answering, asked.turns, asked.exchanged, views, arguments.seed))[first]
            print(f"{first} by {views} views: {voted.mean():.1%}")


def changed(config: TrainConfig, canvas: int, settings: list[str]) -> TrainConfig:
    """`config` with settings such as "lr=2e-3". ValueError for a setting that there is not."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        values[name] = orjson.loads(value or "null")
    if (batch := values.pop("batch", None)) is not None:
        values["batch_cells"] = batch * canvas**2
    model, training = ({field.name for field in fields(kind)} for kind in (ModelConfig, TrainConfig))
    if unknown := values.keys() - model - training:
        raise ValueError(f"there is no setting {min(unknown)!r}")
    model_values = {name: value for name, value in values.items() if name in model}
    rest = {name: value for name, value in values.items() if name not in model}
    return replace(config, model=replace(config.model, **model_values), **rest)


if __name__ == "__main__":
    main()
