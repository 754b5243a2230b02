"""Training a system on a puzzle, with the loop that trains on ARC: the puzzle is one task with many pairs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from solver.arc.datasets import PackedPairs
from solver.learn.augment import Augmentation
from solver.training.loop import Limit, train
from solver.training.presets import TRAIN_PRESETS, TrainConfig
from solver.training.pretrain import Trainer
from solver.training.puzzles.puzzle import Drawn, Puzzle
from solver.training.sources import Sources

AS_THEY_ARE = Augmentation(max_scale=1, turn=False, recolor=False, move=False)
"""The generators draw from all symmetries of a puzzle; views would only add what is none."""

NARROW = 128
"""Up to this width a system is one for CPUs."""

HEAD = 16
"""Numbers that a head of attention has at least."""

SYSTEMS = tuple(name for name in TRAIN_PRESETS if name != "base-arc2")


def config_for(puzzle: Puzzle, system: str) -> TrainConfig:
    """How a system is trained on a puzzle: its preset, on the puzzle's canvas and vocabulary; for those of a CPU's size
    with the width, batch and rate that the puzzle asks for, and `nano` with its depth too. ValueError for an unknown
    system."""
    if system not in SYSTEMS:
        raise ValueError(f"no system is called {system!r}; choose from {', '.join(SYSTEMS)}")
    preset = TRAIN_PRESETS[system]()
    canvas = puzzle.canvas if preset.model.mixer == "mlp" else 0
    model = replace(preset.model, patch=puzzle.patch, vocabulary=puzzle.vocabulary, canvas=canvas)
    cells, lr, half_loops = preset.batch_cells, preset.lr, 0.0
    if preset.model.width <= NARROW:
        cells, lr = puzzle.batch * puzzle.canvas**2, puzzle.lr
    if system.endswith("nano"):
        heads = min(model.heads, -(-model.width // puzzle.shrink // HEAD))
        width = max(heads * HEAD, model.width // puzzle.shrink)
        model = replace(model, width=width, heads=heads, hidden=model.hidden // puzzle.shrink)
    if system == "nano":
        model = replace(model, blocks=puzzle.blocks, loops=puzzle.loops, convolution=puzzle.convolution)
        half_loops = 0.5
    return replace(
        preset,
        name=f"{puzzle.name}-{system}",
        model=model,
        mix={puzzle.canvas: 1.0},
        batch_cells=cells,
        lr=lr,
        half_loops=half_loops,
        plain=0.0,
        augmentation=AS_THEY_ARE,
        validate_seconds=30.0,
    )


def sources(puzzle: Puzzle, seed: int = 0, amount: int | None = None) -> Sources:
    """`amount` (None: as many as the puzzle says) examples to train on, and 256 to validate with. The hashes are the
    examples' classes, so that a bundle proves which puzzles it never saw in any guise."""
    drawn = puzzle.draw(amount or puzzle.amount, "train", seed)
    provenance = {puzzle.name: hashlib.sha256(drawn.inputs.tobytes() + drawn.targets.tobytes()).hexdigest()}
    validation = packed(puzzle.name, puzzle.draw(256, "validation", seed))
    return Sources(packed(puzzle.name, drawn), drawn.classes, validation, provenance, {puzzle.name: len(drawn)}, {})


def packed(name: str, drawn: Drawn) -> PackedPairs:
    """Examples as pairs of one task."""
    count, height, width = drawn.inputs.shape
    cells = np.concatenate([drawn.inputs.reshape(count, -1), drawn.targets.reshape(count, -1)], axis=1).ravel()
    shapes = np.tile(np.array([height, width] * 2, dtype=np.uint8), (count, 1))
    offsets = np.arange(count, dtype=np.int64) * 2 * height * width
    return PackedPairs(np.array([name]), np.zeros(count, dtype=np.uint16), shapes, cells, offsets)


def learn(
    puzzle: Puzzle,
    system: str,
    limit: Limit,
    directory: Path,
    device: torch.device,
    *,
    seed: int = 0,
    amount: int | None = None,
    piece: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
) -> tuple[Trainer, Sources]:
    """Trains a system on a puzzle, with checkpoints in `directory`; goes on with the one that is there. With `piece` it
    may stop before the limit, `trainer.ended` says whether it did not."""
    config = config_for(puzzle, system)
    begun = time.monotonic()
    data = sources(puzzle, seed, amount)
    say(f"{len(data.pairs)} examples of {len(np.unique(data.hashes))} classes in {time.monotonic() - begun:.0f} s")
    trainer = Trainer(config, data, device, seed)
    if (directory / "latest.pt").is_file():
        trainer.load_state(torch.load(directory / "latest.pt", map_location=device, weights_only=True))
    if not trainer.ended or limit.progress(trainer.step, trainer.seconds) < 1.0:
        train(trainer, limit, directory, piece=piece, log=say, clock=clock)
    return trainer, data
