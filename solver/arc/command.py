"""`tinyarc export`: a named data set in Kaggle's format, or what the named sets are."""

from __future__ import annotations

import argparse
from pathlib import Path

from solver.arc.catalogue import catalogue
from solver.arc.datasets import NAMES, export
from solver.options import Command


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="folder that the challenges and solutions go to"
    )
    parser.add_argument("--list", action="store_true", help="print every named set and how it differs from the others")


def _export(arguments: argparse.Namespace) -> None:
    if arguments.list:
        print(catalogue())
        return
    if arguments.directory is None:
        raise ValueError("name a set and the folder that it goes to, or ask for --list")
    data = export(arguments.name, arguments.directory)
    print(f"{data.name}: {len(data.tasks)} tasks into {arguments.directory}, content sha256 {data.content_hash}")


COMMANDS = {"export": Command(_export_options, _export)}
