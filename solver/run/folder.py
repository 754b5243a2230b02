"""Making and finding run folders: everything that a run leaves behind, on disk as soon as it is known.

`config.json` (what was run, with which weights, data and versions, and when: see `solver.run.record`),
`challenges.json` (a copy of the input), `log.jsonl` (a line per task and copy: `solver.run.log`), `pools.jsonl`
(candidate pools: `voting.files`) and `submission.json`; `solutions.json` joins where the truth is known, after the
solving has ended.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson

from submission.files import write_whole


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


def write_json(path: Path, document: object) -> None:
    """JSON with indents, written as `write_whole` does."""
    write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))
