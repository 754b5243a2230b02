"""Public collections of tasks, read from their authors' repositories as they publish them.

Nothing is downloaded and no file of theirs is run. Every grid is checked; what is left out is counted by reason.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from solver.arc.tasks import MAX_SIDE, Grid, parse_grid

Pairs = list[tuple[Grid, Grid]]
FEWEST_PAIRS = 3
"""A task of the small collections with fewer pairs is left out."""
RULE_TASKS = 30
"""Tasks of one rule of 1D-ARC that are taken, the lowest numbers first."""
TITLE = 28
"""Characters that are kept of a title of MINI-ARC."""


@dataclass
class Gathered:
    """Tasks with their pairs, in order of id, and how much was left out, by reason."""

    tasks: list[tuple[str, Pairs]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def pairs(self) -> int:
        return sum(len(pairs) for _, pairs in self.tasks)


FilesRead = Callable[[int, int], object]
"""Told how many files of how many are read."""


def rearc(path: Path, progress: FilesRead) -> Gathered:
    """RE-ARC (github: michaelhodel/re-arc): its checkout, its `re_arc.zip`, or that unpacked: `tasks/ID.json`, each a
    list of `{input, output}`. ValueError, naming the file, for anything else."""
    gathered = Gathered()
    files = dict(_rearc_files(path))
    for done, name in enumerate(sorted(files), 1):
        where = f"{path}: {name}"
        gathered.tasks.append((Path(name).stem, _pairs(_parsed(files[name](), where), where, gathered.left_out)))
        progress(done, len(files))
    if not files:
        raise ValueError(f"{path}: has neither re_arc.zip nor tasks/ID.json in it")
    return gathered


def conceptarc(path: Path, progress: FilesRead) -> dict[str, Any]:
    """ConceptARC (github: victorvikram/ConceptARC): `corpus/CONCEPT/CONCEPT<number>.json` of its checkout as one
    object, `{id: {train, test}}`. The one minimal task of each concept, which has no number, is not taken."""
    files = [p for p in sorted(Path(path, "corpus").glob("*/*.json")) if re.fullmatch(r".*\D\d+", p.stem)]
    if not files:
        raise ValueError(f"{path}: has no corpus/CONCEPT/NAME.json in it")
    tasks = {}
    for done, file in enumerate(files, 1):
        raw = _parsed(file.read_bytes(), str(file))
        _task_pairs(raw, str(file), Counter())
        tasks[file.stem] = {
            split: [{key: pair[key] for key in ("input", "output")} for pair in raw[split]]
            for split in ("train", "test")
        }
        progress(done, len(files))
    return dict(sorted(tasks.items()))


def small(paths: list[Path], progress: FilesRead) -> Gathered:
    """MINI-ARC (github: KSB21ST/MINI-ARC), tama (neoneye/arc-dataset-tama) and 1D-ARC (khalil-research/1D-ARC), any of
    them: checkouts, told apart by their folders. Ids are `mini/`, `tama/` or `1d/` and a name; train and test pairs
    are taken alike, each once. ValueError for a folder that is none of them."""
    files: dict[str, Path] = {}
    for path in paths:
        found = dict(_small_files(path))
        if not found:
            raise ValueError(f"{path}: is no checkout of MINI-ARC, tama or 1D-ARC: no data/MiniARC and no dataset/")
        files |= found
    gathered = Gathered()
    taken: Counter[str] = Counter()
    for done, task_id in enumerate(sorted(files, key=_natural), 1):
        progress(done, len(files))
        where, left_out = str(files[task_id]), Counter[str]()
        pairs = _task_pairs(_parsed(files[task_id].read_bytes(), where), where, left_out)
        rule = task_id.rstrip("0123456789")
        if task_id.startswith("1d/") and (left_out or taken[rule] >= RULE_TASKS):
            gathered.left_out[f"tasks of 1d with a side above {MAX_SIDE}, or above {RULE_TASKS} of a rule"] += 1
            continue
        gathered.left_out += left_out
        distinct = {(a.shape, a.tobytes(), b.shape, b.tobytes()): (a, b) for a, b in pairs}
        gathered.left_out["pairs that are in their task twice"] += len(pairs) - len(distinct)
        if len(distinct) < FEWEST_PAIRS:
            gathered.left_out[f"tasks with fewer than {FEWEST_PAIRS} pairs"] += 1
            continue
        taken[rule] += 1
        gathered.tasks.append((task_id, list(distinct.values())))
    gathered.tasks.sort(key=lambda task: task[0])
    return gathered


def _rearc_files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name and content of every task file."""
    if (inner := path / "re_arc.zip").is_file():
        path = inner
    if path.is_dir():
        for file in path.glob("**/tasks/*.json"):
            yield file.relative_to(path).as_posix(), file.read_bytes
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is neither a folder nor a zip file: {error}") from None
    for name in archive.namelist():
        if re.fullmatch(r"(.*/)?tasks/[0-9a-f]{8}\.json", name) and not name.startswith("__MACOSX/"):
            yield name, partial(archive.read, name)


def _small_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Id and file of every task of a checkout."""
    for file in Path(path, "data", "MiniARC").glob("*.json"):
        title, _, code = file.stem.rpartition("_")
        yield f"mini/{re.sub(r'[^A-Za-z0-9-]+', '_', title).strip('_')[:TITLE]}_{code}", file
    for file in Path(path, "dataset").glob("*/*.json"):
        yield f"1d/{file.stem[3:]}" if file.stem.startswith("1d_") else f"tama/{file.stem}", file


def _natural(task_id: str) -> tuple[str, int]:
    """Sorts `fill_9` before `fill_10`."""
    name = task_id.rstrip("0123456789")
    return name, int(task_id[len(name) :] or 0)


def _parsed(data: bytes, where: str) -> Any:
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise ValueError(f"{where}: is not JSON: {error}") from None


def _task_pairs(raw: Any, where: str, left_out: Counter[str]) -> Pairs:
    """Train and test pairs of a task of ARC's own format."""
    if not isinstance(raw, dict) or not all(isinstance(raw.get(split), list) for split in ("train", "test")):
        raise ValueError(f"{where}: expected an object with the lists train and test")
    return _pairs([*raw["train"], *raw["test"]], where, left_out)


def _pairs(raw: Any, where: str, left_out: Counter[str]) -> Pairs:
    """The pairs of a list of `{input, output}`; those with a side above MAX_SIDE are left out."""
    if not isinstance(raw, list):
        raise ValueError(f"{where}: expected a list of pairs")
    pairs = []
    for number, pair in enumerate(raw, 1):
        if not isinstance(pair, dict) or not {"input", "output"} <= set(pair):
            raise ValueError(f"{where}: pair {number} has no input or no output")
        if any(_largest_side(pair[key]) > MAX_SIDE for key in ("input", "output")):
            left_out[f"pairs with a side above {MAX_SIDE}"] += 1
            continue
        before, after = (parse_grid(pair[key], f"{where}: pair {number} {key}") for key in ("input", "output"))
        pairs.append((before, after))
    return pairs


def _largest_side(grid: Any) -> int:
    """Of something that may be a grid; 0 where it is none, which `parse_grid` then says better."""
    if not isinstance(grid, list) or not all(isinstance(row, list) for row in grid):
        return 0
    return max([len(grid), *map(len, grid)])
