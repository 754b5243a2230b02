"""The field's systems side by side: the same data, processor minutes and seed, the same held-out tasks and judge.

    python benchmarks/systems.py                                  # 45 processor minutes each, then 48 tasks
    python benchmarks/systems.py --only trm-nano,dis-nano --piece 9m
    python benchmarks/systems.py --seed 1 --only nano,dis-nano
    python benchmarks/systems.py --train 20m --only nano,nano-wide --out checkpoints/slopes      # see CHANGED
    python benchmarks/systems.py --device cuda --batch-cells 24576 --train 100s --train-only --only trm-nano

Every system is trained on one core into checkpoints/systems/NAME (NAME-seed1 ...), one after another; then all are
scored on the same tasks with the same processor seconds of fine-tuning, and without any. On a GPU training is limited
by seconds of the clock; `--train-only` leaves the bundles, to be scored on a CPU by the same command without it. The
command stops after `--piece`, and the same command again goes on; what is there already is in the table, which is
printed and written to checkpoints/systems/table.md. Columns: `samples` drawn in training; `nats`, of the truth per
grid and border cell, cut at 3 a task; `views`, the share of single views that are right; `two attempts` with a 95%
interval over tasks.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import torch
from pieces import Piece, keep_settings
from scoring import CPU, Mark, Trial, held_out_tasks, measured

from solver import presets
from solver.arc.tasks import Grid, Task
from solver.device import device_name, pick_device, prepare
from solver.learn.augment import Augmentation
from solver.options import duration
from solver.results.intervals import mean_share
from solver.training import files
from solver.training.loop import Limit, train
from solver.training.presets import TRAIN_PRESETS, TrainConfig
from solver.training.pretrain import Trainer
from solver.training.sources import Sources, collect
from solver.weights import checkpoint
from submission.files import write_whole


def program_alone() -> TrainConfig:
    """`ierm-nano` without task tokens: what a task is, its supports alone say."""
    config = TRAIN_PRESETS["ierm-nano"]()
    return replace(config, name="ierm-nano-no-tokens", model=replace(config.model, task_tokens=0))


def changed_nano(**changes: Any) -> TrainConfig:
    """`nano` with other fields of `TrainConfig`, or of its model."""
    config = TRAIN_PRESETS["nano"]()
    own = {name: value for name, value in changes.items() if hasattr(config, name)}
    model = {name: value for name, value in changes.items() if name not in own}
    return replace(config, **own, model=replace(config.model, **model))


SYSTEMS = {
    **{name: TRAIN_PRESETS[name] for name in ("nano", "dis-nano", "trm-nano", "trm-mlp-nano", "ierm-nano")},
    "ierm-nano-no-tokens": program_alone,
}
CHANGED = {
    "nano-small-batches": lambda: changed_nano(batch_cells=1536),
    "nano-one-block": lambda: changed_nano(blocks=1, loops=8),
    "nano-four-blocks": lambda: changed_nano(blocks=4, loops=2),
    "nano-wide": lambda: changed_nano(width=192, heads=6, hidden=384),
    "nano-narrow": lambda: changed_nano(width=96, heads=3, hidden=192),
    "nano-narrower": lambda: changed_nano(width=64, heads=2, hidden=128),
    "nano-deep": lambda: changed_nano(half_loops=0.4),
    "nano-double-rate": lambda: changed_nano(lr=2e-3),
    "nano-no-arcgen": lambda: changed_nano(arcgen_pairs=0),
    "nano-small-canvases": lambda: changed_nano(mix={8: 0.15, 12: 0.5, 16: 0.35}),
    "nano-viewed": lambda: changed_nano(plain=0.0, augmentation=Augmentation(viewed=1.0)),
    "nano-as-drawn": lambda: changed_nano(plain=1.0),
}
"""What else was tried to make pretraining's slope steeper, one change of `nano` each: a quarter of the batch; one block
looped four times instead of two looped twice, or four that are not looped; half as wide again, three quarters as wide,
or half; four loop steps after the first 40%; twice Muon's rate; without ARC-GEN; canvases up to 16 alone; all pairs
turned and recoloured from the start on; none, ever."""

KNOWN = {**SYSTEMS, **CHANGED}
HEAD = ("system", "weights", "samples", "fine-tuning", "steps", "nats", "views", "two attempts")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SYSTEMS), help="systems, comma-separated")
    parser.add_argument("--train", type=duration, default=45 * 60.0, help="processor time of each training")
    parser.add_argument("--seconds", type=duration, default=8.0, help="processor time of one fine-tuning")
    parser.add_argument("--limit", type=int, default=48, help="held-out tasks")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that score; training always has one")
    parser.add_argument("--piece", type=duration, default=10**9, help="stop training after this time of the clock")
    parser.add_argument("--device", default="cpu", help="of training: cpu (default), cuda ...")
    parser.add_argument("--batch-cells", type=int, help="canvas cells in a batch (default: the presets')")
    parser.add_argument("--train-only", action="store_true", help="leave the bundles and score nothing")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/systems"))
    files.add_options(parser)
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in KNOWN]:
        parser.error(f"no system is called {unknown[0]!r}; there are {', '.join(KNOWN)}")
    piece = Piece(arguments.piece)
    try:
        data = {source: files.locate(source, getattr(arguments, source), print) for source in files.FILES}
        for name in names:
            directory = folder(arguments.out, name, arguments.seed)
            config = KNOWN[name]()
            config = replace(config, batch_cells=arguments.batch_cells or config.batch_cells)
            settings = {"train": arguments.train, "device": arguments.device, "batch_cells": config.batch_cells}
            keep_settings(directory, settings | {source: bool(path) for source, path in data.items()})
            if not trained(config, directory, arguments.train, arguments.seed, piece, data, arguments.device):
                print("\nthe same command continues")
                return 0
    except ValueError as error:
        parser.error(str(error))
    if arguments.train_only:
        return 0
    prepare(CPU, threads=1)
    tasks, truths = held_out_tasks(arguments.limit)
    with ProcessPoolExecutor(arguments.workers) as crew:
        for name in names:
            for seconds in (0.0, arguments.seconds):
                score(folder(arguments.out, name, arguments.seed), name, seconds, arguments, tasks, truths, crew)
    text = table(arguments.out)
    write_whole(arguments.out / "table.md", text.encode())
    print(f"\n{text}")
    return 0


def folder(out: Path, name: str, seed: int) -> Path:
    """Where a training lies: checkpoints, weights and marks."""
    return out / (name if seed == 0 else f"{name}-seed{seed}")


def sources(config: TrainConfig, data: dict[str, Path | None]) -> Sources:
    """The data that a system draws from what fits its canvases; read once for those that take the same."""
    return _collected(config.target, config.rearc_pairs, config.arcgen_pairs, config.families, tuple(data.items()))


@functools.lru_cache(maxsize=1)
def _collected(target: str, rearc: int, arcgen: int, families: tuple[str, ...], data: tuple[Any, ...]) -> Sources:
    found = collect(target, **dict(data), rearc_pairs=rearc, arcgen_pairs=arcgen, families=families)
    print(found.account(), flush=True)
    return found


def trained(
    config: TrainConfig,
    directory: Path,
    seconds: float,
    seed: int,
    piece: Piece,
    data: dict[str, Path | None],
    device: str,
) -> bool:
    """Trains for so many processor seconds, on a GPU seconds of the clock, or what is left of them, and leaves a
    bundle; whether it is there."""
    if (directory / f"{config.name}.json").is_file():
        return True
    if piece.left() <= 0:
        return False
    where = pick_device(device)
    prepare(where, threads=1)
    found = sources(config, data)
    config = replace(config, validate_seconds=seconds / 5)
    trainer = Trainer(config, found, where, seed)
    if (latest := directory / "latest.pt").is_file():
        trainer.load_state(torch.load(latest, weights_only=True))
    print(f"{config.name}: from step {trainer.step}, after {trainer.seconds:.0f} seconds", flush=True)
    log = functools.partial(print, flush=True)
    clock = time.process_time if where.type == "cpu" else time.monotonic
    if not train(trainer, Limit(seconds), directory, piece=piece.left(), log=log, clock=clock):
        return False
    card = {
        "name": config.name,
        "target": config.target,
        "loops": trainer.loops(1.0),
        "steps": trainer.step,
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "seed": seed,
        "device": device_name(where),
        "torch": torch.__version__,
        "data": found.provenance,
        "pairs": found.counts,
        "pieces": trainer.pieces,
        "log": trainer.rows,
    }
    checkpoint.save_bundle(directory, config.name, trainer.average, card, found.hashes)
    (directory / "undecayed.pt").unlink(missing_ok=True)
    return True


def score(
    directory: Path,
    name: str,
    seconds: float,
    arguments: argparse.Namespace,
    tasks: list[Task],
    truths: dict[str, list[Grid]],
    crew: Executor,
) -> None:
    """Leaves the marks of all tasks in the folder, unless they are there."""
    path = directory / f"marks-{seconds:g}s-{len(tasks)}tasks.json"
    if path.is_file():
        return
    weights = str(directory / f"{KNOWN[name]().name}.safetensors")
    recipe = replace(presets.cpu().adapt, steps=10**6)
    trial = Trial(weights, None, recipe, seconds, arguments.views, arguments.seed)
    marks = measured(trial, tasks, truths, crew, f"{name}, {seconds:g} s")
    rows = {task.id: asdict(mark) for task, mark in zip(tasks, marks, strict=True)}
    write_whole(path, orjson.dumps(rows, option=orjson.OPT_INDENT_2))


def table(out: Path) -> str:
    """Every system, seed and fine-tuning that there are marks of, as Markdown."""
    rows = []
    for path in sorted(out.glob("*/marks-*.json"), key=lambda path: (path.name, path.parent.name)):
        bundle = next(path for path in path.parent.glob("*.safetensors") if not path.stem.endswith(checkpoint.TASKS))
        card = checkpoint.find(str(bundle)).card
        marks = [Mark(**mark) for mark in orjson.loads(path.read_bytes()).values()]
        mean = {key: statistics.mean(getattr(mark, key) for mark in marks) for key in ("nats", "views", "steps")}
        both = mean_share([mark.both for mark in marks])
        _, seconds, tasks = path.stem.split("-")
        rows.append(
            (
                path.parent.name,
                f"{card['parameters']:,}",
                f"{card['samples']:,}",
                f"{seconds.removesuffix('s')} s, {tasks.removesuffix('tasks')} tasks",
                f"{mean['steps']:.0f}",
                f"{mean['nats']:.3f}",
                f"{mean['views']:.1%}",
                f"{both.value:.1%} ({100 * both.low:.1f} to {100 * both.high:.1f})",
            )
        )
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
