"""Where the data files of a training are found: what a user names must exist, what is only a default may be missing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

FILES = {
    "rearc": "rearc.npz",
    "conceptarc": "conceptarc.json",
    "arcgen": "arcgen.npz",
    "more": "more.npz",
}
"""Source -> the name of its file (docs/data.md says what is in it and how it is made)."""


def folders() -> list[Path]:
    """Where a file that was not named is looked for, in this order."""
    given = os.environ.get("TINYARC_DATA")
    return [*([Path(given)] if given else []), Path("data"), Path("../shared/data")]


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for the file of each source."""
    places = "looked for in the folder of the variable TINYARC_DATA, in data/ and in ../shared/data/"
    for source, name in FILES.items():
        parser.add_argument(
            f"--{source}", type=Path, metavar="FILE", help=f"{name}, or none to do without (default: {places})"
        )


def locate(source: str, given: Path | None, say: Callable[[str], None]) -> Path | None:
    """The file of a source: the one that was `given`, or else one found in `folders`; None, and said, if there is none.
    `none` means to do without. ValueError if a given file is missing."""
    if given == Path("none"):
        return None
    if given is not None:
        if not given.is_file():
            raise ValueError(f"{given}: there is no such file (--{source})")
        return given
    places = [folder / FILES[source] for folder in folders()]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        say(f"{FILES[source]} is not here, so it is done without: tinyarc data {source} makes it (docs/data.md)")
    return found
