"""What the commands share on the command line: what a command is, types of options, options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from solver.text import parse_duration

WEIGHTS = "a bundle's name, a .safetensors file or random:SIZE"
SOLVING_WEIGHTS = (
    f"{WEIGHTS}; with others behind it, divided by commas, of which, with a budget, further copies may be "
    "(default: nano,small on a CPU, small,nano on a GPU)"
)


class Command(NamedTuple):
    """A command: `add_options` declares what it takes, `run` does it with what was given and returns the exit code,
    None for 0."""

    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def duration(text: str) -> float:
    """The type of an option that takes a time: `90`, `90s`, `6m`, `11h40m` -> seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_machine(parser: argparse.ArgumentParser, device: str = "auto, cpu, cuda, cuda:1 ... or mps") -> None:
    """`--device` and `--workers`: where the work is done, and by how many processes."""
    parser.add_argument("--device", default="auto", help=device)
    parser.add_argument("--workers", type=int, help="processes (default: one per core or GPU)")
