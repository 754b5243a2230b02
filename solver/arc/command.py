"""`tinyarc export`: its options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

from solver.arc.datasets import export
from solver.options import Command


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="arc1-train, arc1-eval, arc2-train or arc2-eval")
    parser.add_argument("directory", type=Path)


def _export(arguments: argparse.Namespace) -> None:
    data = export(arguments.name, arguments.directory)
    print(f"{data.name}: {len(data.tasks)} tasks into {arguments.directory}, content sha256 {data.content_hash}")


COMMANDS = {"export": Command(_export_options, _export)}
