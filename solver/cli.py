"""`tinyarc`: arguments and printing, nothing else; each command calls one function."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. What the user got wrong is one line on stderr and code 2."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (ValueError, OSError) as error:
        print(f"tinyarc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinyarc: interrupted", file=sys.stderr)
        return 130


def seconds(text: str) -> float:
    """`90`, `90s`, `6m`, `11h40m` -> seconds."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 6m or 11h40m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinyarc", description="The offline ARC Prize solver.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="pretrain weights and leave a bundle")
    train.add_argument("--preset", default="nano")
    budget = train.add_mutually_exclusive_group(required=True)
    budget.add_argument("--budget", type=seconds, help="training time in all, e.g. 60m")
    budget.add_argument("--steps", type=int)
    train.add_argument("--out", type=Path, default=None, help="folder (default checkpoints/PRESET)")
    train.add_argument("--resume", type=Path, default=None, metavar="DIR", help="continue in this folder")
    train.add_argument("--rearc", type=Path, default=Path("../shared/data/rearc.npz"))
    train.add_argument("--conceptarc", type=Path, default=Path("../shared/data/conceptarc.json"))
    train.add_argument("--device", default="auto")
    train.add_argument("--seed", type=int, default=0)
    train.set_defaults(run=_train)
    return parser


def _train(arguments) -> int:
    from solver.training.command import train_bundle
    from solver.training.presets import TRAIN_PRESETS
    from solver.training.pretrain import Limit

    if arguments.preset not in TRAIN_PRESETS:
        raise ValueError(f"no preset is called {arguments.preset!r}; choose from {', '.join(TRAIN_PRESETS)}")
    bundle = train_bundle(
        TRAIN_PRESETS[arguments.preset](),
        Limit(arguments.budget, arguments.steps),
        arguments.resume or arguments.out or Path("checkpoints") / arguments.preset,
        resume=arguments.resume is not None,
        rearc=arguments.rearc,
        conceptarc=arguments.conceptarc,
        device=arguments.device,
        seed=arguments.seed,
    )
    print(f"{bundle.path}: {bundle.card['parameters']:,} parameters, sha256 {bundle.card['sha256'][:16]}")
    return 0
