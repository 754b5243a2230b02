"""What `tinyarc train` does: collect the sources, train until the limit, write a bundle with its card."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from solver import checkpoint
from solver.checkpoint import Bundle
from solver.device import pick_device, prepare
from solver.training.parallel import World
from solver.training.presets import TrainConfig
from solver.training.pretrain import Limit, Trainer, train
from solver.training.sources import collect


def train_bundle(
    config: TrainConfig,
    limit: Limit,
    directory: Path,
    *,
    resume: bool,
    warm: bool = False,
    rearc: Path | None,
    conceptarc: Path | None,
    device: str,
    seed: int,
    piece: float | None = None,
    log=print,
) -> Bundle | None:
    """Trains, checkpoints into `directory` and leaves the bundle `config.name` there.

    With `resume` it continues from the directory's `latest.pt`, or, if that had reached the end of a shorter
    schedule, from `undecayed.pt`; with `warm` from `latest.pt` all the same: the decayed weights, at the rate that
    the longer schedule has there. With `piece` it stops after that many seconds, ready to be resumed, and returns
    None. Under `torchrun` all processes train together and the first one returns the bundle. ValueError if there
    is nothing to resume, or for missing data.
    """
    where = pick_device(device)
    prepare(where)
    world = World.join(where)
    if world.size > 1 and where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    if not world.leads:
        log = lambda line: None  # noqa: E731
    commit = _commit()
    sources = collect(
        config.target, rearc=rearc, conceptarc=conceptarc, max_side=config.max_side, rearc_pairs=config.rearc_pairs
    )
    counts = ", ".join(f"{name} {count}" for name, count in sources.counts.items())
    log(f"{len(sources.pairs)} pairs of {len(sources.pairs.ids)} tasks ({counts})")
    trainer = Trainer(config, sources, where, seed, world)
    if resume:
        trainer.load_state(_resumable(directory, limit, where, warm))
        log(f"resumed at step {trainer.step}, after {trainer.seconds:.0f} s")
    ended = train(trainer, limit, directory, piece=piece, log=log)
    if not ended:
        log(f"paused after {trainer.seconds:.0f} s of training; --resume {directory} continues")
    if not ended or not world.leads:
        return None
    card = {
        "name": config.name,
        "target": config.target,
        "data": sources.provenance,
        "pairs": sources.counts,
        "held_out": "64 ARC-1 training tasks, see solver.datasets.held_out",
        "steps": trainer.step,
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "device": _describe(where),
        "dtype": str(trainer.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "seed": seed,
        "processes": world.size,
        "commit": commit,
        "command": shlex.join(["tinyarc", *sys.argv[1:]]),
        "pieces": trainer.pieces,
        "validation_exact": trainer.rows[-1]["exact"],
        "log": trainer.rows,
    }
    return checkpoint.save_bundle(directory, config.name, trainer.average, card, sources.hashes)


def _resumable(directory: Path, limit: Limit, device: torch.device, warm: bool) -> dict:
    for name in ("latest.pt", "undecayed.pt"):
        path = directory / name
        if not path.is_file():
            continue
        state = torch.load(path, map_location=device, weights_only=True)
        step, seconds, _ = state["counters"]
        unended = name == "undecayed.pt" or not state["ended"]
        if not unended and limit.progress(step, seconds) >= 1.0:
            raise ValueError(f"{path}: is already trained to this limit; give a larger --budget to extend it")
        if unended or warm:
            return state
    raise ValueError(f"{directory}: holds no checkpoint to resume from")


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
