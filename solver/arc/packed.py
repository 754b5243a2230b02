"""Packed pairs made and written: what `datasets.packed_pairs` reads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from solver.arc.datasets import PackedPairs
from solver.arc.hashing import pack_pairs
from solver.arc.tasks import Grid
from submission.files import write_whole


def pack(tasks: Sequence[tuple[str, Sequence[tuple[Grid, Grid]]]]) -> PackedPairs:
    """The pairs of tasks, each an id and its pairs, in this order and without gaps."""
    ids = np.array([task_id for task_id, _ in tasks], dtype=np.str_)
    task = np.repeat(np.arange(len(tasks), dtype=np.uint16), [len(pairs) for _, pairs in tasks])
    shapes, cells, offsets = pack_pairs([pair for _, pairs in tasks for pair in pairs])
    return PackedPairs(ids, task, shapes, cells, offsets)


def save_packed(path: Path, pairs: PackedPairs) -> None:
    """Writes pairs that have no gaps as an .npz. Equal pairs give equal bytes: no clock and no owner is in the file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("ids", "task", "shapes", "cells"):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.ascontiguousarray(getattr(pairs, name)), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, array.getvalue(), zipfile.ZIP_DEFLATED, 6)
    write_whole(path, content.getvalue())
