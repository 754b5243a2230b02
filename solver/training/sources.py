"""What weights may be trained on: the sources, and the leak rules as code.

For weights scored on an evaluation set, nothing is trained on that shares a pair with it, where two pairs
are the same if D4 and a recolouring carry one into the other. A *task* of ARC that shares a pair is dropped
whole, with its RE-ARC generator (for ARC-1 these are 40853293 and caa06a1f); so are the tasks held out for
tuning. Of what remains, single pairs that meet a held-out or validation pair are dropped too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solver.arc import datasets
from solver.arc.datasets import PackedPairs
from solver.arc.hashing import canonical_hashes, pack_pairs, pair_hashes

TARGETS = ("arc1-eval", "arc2-eval")


@dataclass(frozen=True, eq=False)
class Sources:
    """`pairs`: everything trained on, `pairs.ids` the rows of the task table; `hashes` uint64 (P,) of them;
    `validation`: the test pairs of ARC-1 training tasks that are trained on, never trained on themselves;
    `provenance`: data set name -> content hash or description; `counts`: pairs by source."""

    pairs: PackedPairs
    hashes: np.ndarray
    validation: PackedPairs
    provenance: dict[str, str]
    counts: dict[str, int]


def collect(
    target: str = "arc1-eval",
    *,
    rearc: str | Path | None = None,
    conceptarc: str | Path | None = None,
    max_side: int = 30,
    rearc_pairs: int = 1000,
) -> Sources:
    """All pairs with no side above `max_side` that weights scored on `target` may see.

    `rearc` and `conceptarc` are the paths of those sets, None to do without; at most `rearc_pairs` of each
    generator are taken, in file order.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; choose from {', '.join(TARGETS)}")
    scored = datasets.load(target)
    forbidden = _all_hashes(scored)
    train1, train2 = datasets.load("arc1-train"), datasets.load("arc2-train")
    held_out = set(datasets.held_out(train1))
    provenance = {f"not in {target}": scored.content_hash}

    parts: list[tuple[str, PackedPairs]] = []
    clean1 = _clean(train1, forbidden)
    usable = [i for i in clean1 if i not in held_out]
    held = _all_hashes(train1, held_out)
    parts.append(("arc1-train", _support_pairs(train1, usable)))
    validation = _test_pairs(train1, usable)
    provenance["arc1-train"] = train1.content_hash

    known = {task.id for task in train1.tasks}
    fresh = [i for i in _clean(train2, forbidden) if i not in known]
    parts.append(("arc2-train", _support_pairs(train2, fresh)))
    parts.append(("arc2-train tests", _test_pairs(train2, fresh)))
    provenance["arc2-train"] = train2.content_hash
    if target == "arc2-eval":
        evaluation1 = datasets.load("arc1-eval")
        others = [i for i in _clean(evaluation1, forbidden) if i not in {t.id for t in train2.tasks}]
        parts.append(("arc1-eval", _support_pairs(evaluation1, others)))
        parts.append(("arc1-eval tests", _test_pairs(evaluation1, others)))
        provenance["arc1-eval"] = evaluation1.content_hash
    if conceptarc is not None:
        concepts = datasets.conceptarc(conceptarc)
        ids = _clean(concepts, forbidden)
        parts.append(("conceptarc", _support_pairs(concepts, ids)))
        parts.append(("conceptarc tests", _test_pairs(concepts, ids)))
        provenance["conceptarc"] = concepts.content_hash
    if rearc is not None:
        generated = datasets.rearc(rearc)
        row = np.isin(generated.ids, usable)[generated.task] & (_rank(generated.task) < rearc_pairs)
        parts.append(("rearc", generated.keep(row)))
        provenance["rearc"] = f"{rearc_pairs} pairs a generator"

    rows = {task_id: row for row, task_id in enumerate(sorted({i for _, p in parts for i in p.ids}))}
    not_trained = np.concatenate([forbidden, held, _hashes(validation)])
    kept, hashes, counts = [], [], {}
    for name, part in parts:
        part = part.keep(part.shapes.max(axis=1, initial=0) <= max_side)
        own = _hashes(part)
        fine = ~np.isin(own, not_trained)
        kept.append(part.keep(fine))
        hashes.append(own[fine])
        counts[name] = int(fine.sum())
    validation = validation.keep(validation.shapes.max(axis=1) <= max_side)
    return Sources(_join(kept, rows), np.concatenate(hashes), _join([validation], rows), provenance, counts)


def _clean(data: datasets.DataSet, forbidden: np.ndarray) -> list[str]:
    """Ids of the tasks none of whose pairs is forbidden."""
    known = set(forbidden.tolist())
    return [i for i, own in pair_hashes(data.tasks, data.solutions).items() if known.isdisjoint(own)]


def _all_hashes(data: datasets.DataSet, only: set[str] | None = None) -> np.ndarray:
    tasks = [t for t in data.tasks if only is None or t.id in only]
    own = pair_hashes(tasks, data.solutions)
    return np.array([h for hashes in own.values() for h in hashes], dtype=np.uint64)


def _hashes(pairs: PackedPairs) -> np.ndarray:
    return canonical_hashes(pairs.shapes, pairs.cells, pairs.offsets)


def _support_pairs(data: datasets.DataSet, ids: list[str]) -> PackedPairs:
    tasks = [t for t in data.tasks if t.id in set(ids)]
    return _packed([(t.id, [(p.input, p.output) for p in t.support]) for t in tasks])


def _test_pairs(data: datasets.DataSet, ids: list[str]) -> PackedPairs:
    tasks = [t for t in data.tasks if t.id in set(ids)]
    return _packed([(t.id, list(zip(t.test_inputs, data.solutions[t.id], strict=True))) for t in tasks])


def _packed(owned: list[tuple[str, list]]) -> PackedPairs:
    ids = np.array([task_id for task_id, _ in owned], dtype=np.str_)
    task = np.repeat(np.arange(len(owned), dtype=np.uint16), [len(pairs) for _, pairs in owned])
    shapes, cells, offsets = pack_pairs([pair for _, pairs in owned for pair in pairs])
    return PackedPairs(ids, task, shapes, cells, offsets)


def _rank(task: np.ndarray) -> np.ndarray:
    """For each pair, how many pairs of the same task come before it."""
    order = np.argsort(task, kind="stable")
    grouped = task[order]
    first = np.searchsorted(grouped, grouped, side="left")
    rank = np.empty(len(task), dtype=np.int64)
    rank[order] = np.arange(len(task)) - first
    return rank


def _join(parts: list[PackedPairs], rows: dict[str, int]) -> PackedPairs:
    """One table, task numbers being `rows`; only the cells in use are copied."""
    task, shapes, cells, offsets, end = [], [], [], [], 0
    for part in parts:
        number = np.array([rows[i] for i in part.ids], dtype=np.int64)
        sides = part.shapes.astype(np.int64)
        length = sides[:, 0] * sides[:, 1] + sides[:, 2] * sides[:, 3]
        start = np.cumsum(length) - length
        source = np.repeat(part.offsets - start, length) + np.arange(length.sum())
        task.append(number[part.task])
        shapes.append(part.shapes)
        cells.append(part.cells[source])
        offsets.append(start + end)
        end += int(length.sum())
    join = np.concatenate
    return PackedPairs(np.array(list(rows), dtype=np.str_), join(task), join(shapes), join(cells), join(offsets))
