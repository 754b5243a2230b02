"""`tinyarc train`, and its options: collect the sources, train until the limit, write a bundle with its card."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solver.arc import datasets
from solver.device import pick_device, prepare
from solver.options import Command, duration
from solver.provenance import commit
from solver.text import aligned
from solver.training.files import FILES, add_options, locate
from solver.training.loop import Limit, train
from solver.training.parallel import World
from solver.training.presets import CPU_CELLS, TRAIN_PRESETS, TrainConfig
from solver.training.pretrain import Trainer
from solver.training.sources import collect
from solver.weights import checkpoint
from solver.weights.checkpoint import Bundle


def train_bundle(
    config: TrainConfig,
    limit: Limit,
    directory: Path,
    *,
    resume: bool,
    go_on: bool = False,
    warm: bool = False,
    init: str | None = None,
    files: dict[str, Path | None],
    device: str,
    seed: int,
    piece: float | None = None,
    log: Callable[[str], None] = print,
) -> Bundle | None:
    """Trains, checkpoints into `directory` and leaves the bundle `config.name` there.

    With `resume` it continues from the directory's `latest.pt`, or, if that had reached the end of a shorter
    schedule, from `undecayed.pt`; with `warm` from `latest.pt` all the same: the decayed weights, at the rate that
    the longer schedule has there. With `go_on` it resumes if there is something to resume, begins if not, and
    returns the finished bundle if there is one. A new training may begin with the weights of the bundle `init`.
    With `piece` it stops after that many seconds, ready to be resumed, and returns None. Under `torchrun` all
    processes train together and the first one returns the bundle. `files`: a path for each of `files.FILES`, None to
    look for it in the usual places and do without if it is not there.
    ValueError if there is nothing to resume, for missing data, or for an `init` that saw what it will be scored on.
    """
    begun = time.monotonic()
    if go_on:
        resume = (directory / "latest.pt").is_file()
        if resume and (bundle := _finished(directory, config.name, limit)) is not None:
            log(f"{directory}: is already trained to this limit; a larger --budget extends it")
            return bundle
    where = pick_device(device)
    prepare(where)
    world = World.join(where)
    if world.size > 1 and where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    if not world.leads:
        log = lambda line: None  # noqa: E731
    code = commit()
    sources = collect(
        config.target,
        **{source: locate(source, files.get(source), log) for source in FILES},
        max_side=config.max_side,
        rearc_pairs=config.rearc_pairs,
        arcgen_pairs=config.arcgen_pairs,
        families=config.families,
    )
    log(sources.account())
    trainer = Trainer(config, sources, where, seed, world)
    if resume:
        trainer.load_state(_resumable(directory, config.name, limit, where, warm))
        log(f"resumed at step {trainer.step}, after {trainer.seconds:.0f} s")
    elif init is not None:
        trainer.start_from(_unseeing(init, config.target))
        log(f"begins with the weights of {init}")
    left = None if piece is None else piece - (time.monotonic() - begun)
    ended = train(trainer, limit, directory, piece=left, log=log)
    if not ended:
        again = "the same command" if go_on else f"--resume {directory}"
        log(f"paused after {trainer.seconds:.0f} s of training; {again} continues\n{log_table(trainer.rows)}")
    if not ended or not world.leads:
        return None
    card = {
        "name": config.name,
        "target": config.target,
        "data": sources.provenance,
        "pairs": sources.counts,
        "dropped": sources.dropped,
        "tasks": len(sources.pairs.ids),
        "held_out": "64 ARC-1 training tasks, see solver.arc.datasets.held_out",
        "loops": trainer.loops(1.0),
        "steps": trainer.step,
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "device": _describe(where),
        "dtype": str(trainer.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "seed": seed,
        "processes": world.size,
        "commit": code,
        "command": shlex.join(["tinyarc", *sys.argv[1:]]),
        "pieces": trainer.pieces,
        "validation_exact": trainer.rows[-1]["exact"],
        "log": trainer.rows,
    }
    hashes = sources.hashes
    if (ancestor := trainer.ancestor) is not None:
        card["init"] = {key: ancestor[key] for key in ("name", "sha256")}
        hashes = np.concatenate([hashes, ancestor["hashes"].cpu().numpy().view(np.uint64)])
    dtype = getattr(torch, config.bundle_dtype)
    tasks = [str(name) for name in sources.pairs.ids] if config.bundle_tasks else None
    return checkpoint.save_bundle(directory, config.name, trainer.average, card, hashes, dtype, tasks)


def log_table(rows: list[dict[str, Any]]) -> str:
    """The rows of a training's log as a table in plain text."""
    table = []
    for row in rows:
        rate = row["samples"] / max(row["seconds"], 1e-9)
        loss = None if row["loss"] is None else f"{row['loss']:.4f}"
        seconds, exact = f"{row['seconds']:.0f}", f"{row['exact']:.1%}"
        table.append((row["step"], seconds, row["samples"], f"{rate:.0f}", loss, exact))
    return "\n".join(aligned(("step", "seconds", "samples", "samples/s", "loss", "exact"), table))


def _finished(directory: Path, name: str, limit: Limit) -> Bundle | None:
    """The bundle of a training that has reached the limit, if it was written."""
    state = torch.load(directory / "latest.pt", map_location="cpu", weights_only=True)
    step, seconds, _ = state["counters"]
    if not state["ended"] or limit.progress(step, seconds) < 1.0:
        return None
    return _bundle(directory, name, step)


def _bundle(directory: Path, name: str, step: int) -> Bundle | None:
    """The bundle made after so many steps; None where a kill left an older one, or parts of two."""
    bundle = checkpoint.whole(directory / f"{name}.safetensors")
    return bundle if bundle is not None and bundle.card.get("steps") == step else None


def _unseeing(init: str, target: str) -> Bundle:
    """The bundle `init`; ValueError if it was trained on a pair of the target."""
    bundle = checkpoint.find(init)
    if seen := checkpoint.overlaps(bundle, datasets.load(target)):
        raise ValueError(f"{init}: was trained on pairs of {len(seen)} tasks of {target}, {next(iter(seen))} for one")
    return bundle


def _resumable(directory: Path, bundle: str, limit: Limit, device: torch.device, warm: bool) -> dict[str, Any]:
    for name in ("latest.pt", "undecayed.pt"):
        path = directory / name
        if not path.is_file():
            continue
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        step, seconds, _ = state["counters"]
        unended = name == "undecayed.pt" or not state["ended"]
        if not unended and limit.progress(step, seconds) >= 1.0:
            if _bundle(directory, bundle, step) is None:
                return state  # all that is missing is the bundle
            raise ValueError(f"{path}: is already trained to this limit; give a larger --budget to extend it")
        if unended or warm:
            return state
    raise ValueError(f"{directory}: holds no checkpoint to resume from")


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"


def _options(parser: argparse.ArgumentParser) -> None:
    cpu = [name for name, preset in TRAIN_PRESETS.items() if preset().batch_cells <= CPU_CELLS]
    gpu = [name for name in TRAIN_PRESETS if name not in cpu]
    parser.add_argument(
        "--preset",
        default="nano",
        help=f"what is trained (default nano); for CPUs {', '.join(cpu)}; for GPUs {', '.join(gpu)}",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--budget", type=duration, help="training time in all, e.g. 60m")
    budget.add_argument("--steps", type=int, help="optimizer steps in all")
    parser.add_argument("--piece", type=duration, help="stop after this much of the budget; --resume goes on")
    parser.add_argument("--out", type=Path, default=None, help="folder (default checkpoints/PRESET)")
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="continue in this folder")
    parser.add_argument("--continue", dest="go_on", action="store_true", help="resume if there is a checkpoint")
    parser.add_argument("--init", metavar="BUNDLE", help="a new training begins with these weights")
    parser.add_argument("--warm", action="store_true", help="with --resume: extend from the decayed weights")
    add_options(parser)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: a GPU if torch can use one)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of first weights, batches and views (default 0)")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.preset not in TRAIN_PRESETS:
        raise ValueError(f"no preset is called {arguments.preset!r}; choose from {', '.join(TRAIN_PRESETS)}")
    bundle = train_bundle(
        TRAIN_PRESETS[arguments.preset](),
        Limit(arguments.budget, arguments.steps),
        arguments.resume or arguments.out or Path("checkpoints") / arguments.preset,
        resume=arguments.resume is not None,
        go_on=arguments.go_on,
        warm=arguments.warm,
        init=arguments.init,
        files={source: getattr(arguments, source) for source in FILES},
        device=arguments.device,
        seed=arguments.seed,
        piece=arguments.piece,
    )
    if bundle is None:  # paused, or not the first of several processes
        return
    print(f"{bundle.path}: {bundle.card['parameters']:,} parameters, sha256 {bundle.card['sha256'][:16]}")
    print(log_table(bundle.card["log"]))


COMMANDS = {"train": Command(_options, _run)}
