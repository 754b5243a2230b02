"""What weights may be trained on: the sources, and the leak rules as code.

For weights scored on an evaluation set, nothing is trained on that shares a pair with it, where two pairs
are the same if D4 and a recolouring carry one into the other. A *task* of ARC that shares a pair is dropped
whole, with its generators in RE-ARC and ARC-GEN (for ARC-1 these are 40853293 and caa06a1f); so are the tasks held
out for tuning. Of what remains, single pairs that meet a scored, held-out or validation pair are dropped too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from solver.arc import datasets
from solver.arc.datasets import PackedPairs
from solver.arc.hashing import canonical_hashes, pair_hashes
from solver.arc.packed import pack

TARGETS = ("arc1-eval", "arc2-eval")
PIECE = 4096
"""Pairs whose cells are copied at once: an index of all of RE-ARC's cells would take 1.8 GB."""


@dataclass(frozen=True, eq=False)
class Sources:
    """All that a training sees, and an account of it."""

    # everything trained on; `pairs.ids` are the rows of the task table, each with at least one pair
    pairs: PackedPairs
    # uint64 (P,), the canonical hash of each pair
    hashes: np.ndarray
    # test pairs of ARC-1 training tasks that are trained on, never trained on themselves
    validation: PackedPairs
    # data set -> content hash or description
    provenance: dict[str, str]
    # source -> pairs of it
    counts: dict[str, int]
    # source -> reason -> pairs of it that are left out
    dropped: dict[str, dict[str, int]]

    def account(self) -> str:
        """Both counts as text, a line each."""
        lines = [
            f"{len(self.pairs)} pairs of {len(self.pairs.ids)} tasks: "
            + ", ".join(f"{name} {count}" for name, count in self.counts.items())
        ]
        for name, reasons in self.dropped.items():
            if reasons:
                lines.append(f"left out of {name}: " + ", ".join(f"{n} {why}" for why, n in reasons.items()))
        return "\n".join(lines)


def collect(
    target: str = "arc1-eval",
    *,
    rearc: str | Path | None = None,
    conceptarc: str | Path | None = None,
    arcgen: str | Path | None = None,
    more: str | Path | None = None,
    max_side: int = 30,
    rearc_pairs: int = 1000,
    arcgen_pairs: int = 500,
    families: tuple[str, ...] = (),
) -> Sources:
    """All pairs with no side above `max_side` that weights scored on `target` may see.

    `rearc`, `conceptarc`, `arcgen` and `more` are the paths of those sets, None to do without; at most `rearc_pairs`
    and `arcgen_pairs` of each generator are taken, in file order. Of `more` the `families` are taken, the first parts
    of its ids: mini, 1d, tama (one task a kind of task) or diva. ValueError for what is not so.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; choose from {', '.join(TARGETS)}")
    scored = datasets.load(target)
    forbidden = _all_hashes(scored)
    train1, train2 = datasets.load("arc1-train"), datasets.load("arc2-train")
    held_out = set(datasets.held_out(train1))
    provenance = {f"not in {target}": scored.content_hash}

    parts: list[tuple[str, PackedPairs]] = []
    dropped: dict[str, Counter[str]] = {}
    usable = [i for i in _clean(train1, forbidden) if i not in held_out]
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
    for name, path, most in (("rearc", rearc, rearc_pairs), ("arcgen", arcgen, arcgen_pairs)):
        if path is None:
            continue
        generated = datasets.packed_pairs(path)
        dropped[name] = Counter()
        generated = _keep(generated, ~np.isin(_ids(generated), list(held_out)), dropped[name], "of held-out tasks")
        generated = _keep(generated, np.isin(_ids(generated), [*usable, *fresh]), dropped[name], "of leaking tasks")
        generated = _keep(generated, _rank(generated.task) < most, dropped[name], f"above {most} a generator")
        parts.append((name, generated))
        provenance[name] = f"{most} pairs a generator, sha256 {datasets.packed_hash(path)}"
    if more is not None and families:
        collection = datasets.packed_pairs(more)
        dropped["more"] = Counter()
        present = {i.partition("/")[0] for i in collection.ids.tolist()}
        if unknown := set(families) - present:
            raise ValueError(
                f"{more}: has no tasks of {', '.join(sorted(unknown))}, only of {', '.join(sorted(present))}"
            )
        wanted = np.array([i.partition("/")[0] in families for i in collection.ids.tolist()])
        collection = _keep(collection, wanted[collection.task], dropped["more"], "of families not chosen")
        parts.append(("more", _grouped(collection)))
        provenance["more"] = f"{', '.join(families)}, sha256 {datasets.packed_hash(more)}"

    not_trained = np.concatenate([forbidden, held, _hashes(validation)])
    kept, hashes, counts = [], [], {}
    for name, part in parts:
        reasons = dropped.setdefault(name, Counter())
        part = _keep(part, part.shapes.max(axis=1, initial=0) <= max_side, reasons, f"with a side above {max_side}")
        hashed = _hashes(part)
        fine = ~np.isin(hashed, not_trained)
        kept.append(_keep(part, fine, reasons, "equal to a scored, held-out or validation pair"))
        hashes.append(hashed[fine])
        counts[name] = int(fine.sum())
    rows = {task_id: row for row, task_id in enumerate(sorted({i for part in kept for i in set(_ids(part).tolist())}))}
    validation = validation.keep((validation.shapes.max(axis=1) <= max_side) & np.isin(_ids(validation), list(rows)))
    return Sources(
        _join(kept, rows),
        np.concatenate(hashes),
        _join([validation], rows),
        provenance,
        counts,
        {name: dict(reasons) for name, reasons in dropped.items()},
    )


def _keep(pairs: PackedPairs, mask: np.ndarray, dropped: Counter[str], why: str) -> PackedPairs:
    """The pairs of `mask`, bool (P,); the others are counted as dropped."""
    if count := int((~mask).sum()):
        dropped[why] += count
    return pairs.keep(mask)


def _ids(pairs: PackedPairs) -> np.ndarray:
    """The task id of every pair, str (P,)."""
    ids: np.ndarray = pairs.ids[pairs.task]
    return ids


def _grouped(pairs: PackedPairs) -> PackedPairs:
    """With one task for all of tama's that differ in their number alone: `tama/KIND_7` becomes `tama/KIND`."""
    names = [re.sub(r"_?\d+$", "", i) if i.startswith("tama/") else i for i in pairs.ids.tolist()]
    ids, task = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return replace(pairs, ids=ids, task=task[pairs.task].astype(np.uint16))


def _clean(data: datasets.DataSet, forbidden: np.ndarray) -> list[str]:
    """Ids of the tasks none of whose pairs is forbidden."""
    known = set(forbidden.tolist())
    return [i for i, hashes in pair_hashes(data.tasks, data.solutions).items() if known.isdisjoint(hashes)]


def _all_hashes(data: datasets.DataSet, only: set[str] | None = None) -> np.ndarray:
    tasks = [t for t in data.tasks if only is None or t.id in only]
    by_task = pair_hashes(tasks, data.solutions)
    return np.array([h for hashes in by_task.values() for h in hashes], dtype=np.uint64)


def _hashes(pairs: PackedPairs) -> np.ndarray:
    return canonical_hashes(pairs.shapes, pairs.cells, pairs.offsets)


def _support_pairs(data: datasets.DataSet, ids: list[str]) -> PackedPairs:
    tasks = [t for t in data.tasks if t.id in set(ids)]
    return pack([(t.id, [(p.input, p.output) for p in t.support]) for t in tasks])


def _test_pairs(data: datasets.DataSet, ids: list[str]) -> PackedPairs:
    tasks = [t for t in data.tasks if t.id in set(ids)]
    return pack([(t.id, list(zip(t.test_inputs, data.solutions[t.id], strict=True))) for t in tasks])


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
        number = np.array([rows.get(i, -1) for i in part.ids.tolist()], dtype=np.int64)
        sides = part.shapes.astype(np.int64)
        length = sides[:, 0] * sides[:, 1] + sides[:, 2] * sides[:, 3]
        start = np.cumsum(length) - length
        for first in range(0, len(part), PIECE):
            piece = slice(first, first + PIECE)
            begin = np.cumsum(length[piece]) - length[piece]
            source = np.repeat(part.offsets[piece] - begin, length[piece]) + np.arange(length[piece].sum())
            cells.append(part.cells[source])
        task.append(number[part.task])
        shapes.append(part.shapes)
        offsets.append(start + end)
        end += int(length.sum())
    join = np.concatenate
    return PackedPairs(np.array(list(rows), dtype=np.str_), join(task), join(shapes), join(cells), join(offsets))
