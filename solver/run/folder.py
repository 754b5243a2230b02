"""Writing a run folder: everything that a run leaves behind, each line on disk as soon as it is known.

`config.json` (what was run, with which weights, data and versions), `challenges.json` (a copy of the input),
`log.jsonl` (a line per task and copy), `pools.jsonl` (candidate pools, see `voting.candidates`) and
`submission.json`; `solutions.json` joins where the truth is known, after the solving has ended.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import orjson
import torch


def new_directory(root: Path) -> Path:
    """A fresh folder `root/<date-time>`."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        try:
            (root / (stamp + suffix)).mkdir(parents=True)
        except FileExistsError:
            continue
        return root / (stamp + suffix)
    raise ValueError(f"{root}: too many runs in one second")


def newest(root: Path) -> Path:
    """The run folder in `root` that was begun last. ValueError if there is none."""
    runs = [path.parent for path in root.glob("*/submission.json")]
    if not runs:
        raise ValueError(f"{root}: holds no run yet; make solve, or tinyarc solve, leaves one")
    return max(runs, key=lambda path: (path / "challenges.json").stat().st_mtime)


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file in an OSError that does not, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_json(path: Path, document: object) -> None:
    """JSON, written aside and renamed; if that fails, what was there before stays."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with naming(path):
            aside.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
            os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def append_line(path: Path, row: dict) -> None:
    """One JSON line, on disk when this returns; half a line that a killed run left is cut off first."""
    with naming(path), open(path, "ab+") as file:
        file.seek(max(0, file.tell() - 1))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(orjson.dumps(row) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_log(path: Path) -> list[dict]:
    """The rows of a log, in order; none if there is no log yet. A last line that a killed run left half-written
    is skipped; ValueError names any other that is no row."""
    rows = []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            if not isinstance(row["task"], str) or "copy" not in row.get("row", row):
                raise ValueError("no task or no copy is named")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not a log row ({error!r})") from None
        rows.append(row)
    return rows
