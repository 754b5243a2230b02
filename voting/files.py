"""Candidate pools on disk: `pools.jsonl`, JSON lines in UTF-8, one line per test input and fine-tuned copy.

    {"task": "0a1d4ef5", "test": 0, "copy": 0, "steps": 180, "settled": false, "copies": 1, "views": 32, "candidates": [
        {"grid": ["012", "330"], "views": 30, "log_prob_sum": -1.5, "confidence_sum": 28.6,
         "likelihoods": [[-40.25, 32]]}]}

(without the line breaks). The pool's `views` counts every view cast; `copies` is above 1 where a copy stands for
several networks (one per support left out, say), `zoom` is there where a copy saw its task so many times as large,
`weights` where it was made of others than the run's own, and `likelihoods` holds a [sum, views] of each. A candidate
has a `halt_sum` where the network says how sure it is. A grid is a list of digit strings, top row first. Candidates
stand in the order they were first seen. Where the answers of several solvers were put together, a pool may have
`"sure": true` and a candidate `"opinions": {"solver": weight}` (`voting.opinions`). A later line replaces an earlier
one for the same task, test input and copy; `voting.lines` says how it is written and what a kill may leave.
`load_pools` is the one function that reads the file for voting; it merges copies as `voting.copies` says.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voting.candidates import Pool
from voting.copies import merged
from voting.lines import append_lines, read_lines

Key = tuple[str, int]


def save_pools(path: str | os.PathLike[str], pools: Mapping[Key, Pool]) -> None:
    """Write {(task_id, test_index): pool}, each as copy 0, to a new file. FileExistsError if there is one."""
    if Path(path).exists():
        raise FileExistsError(f"{path}: holds pools already")
    append_lines(path, [pool_record(task_id, index, 0, pool) for (task_id, index), pool in pools.items()])


def append_copy(path: str | os.PathLike[str], task_id: str, copy: int, pools: Iterable[Pool]) -> None:
    """Append the pools of one copy, one per test input, as `append_lines` does."""
    append_lines(path, [pool_record(task_id, index, copy, pool) for index, pool in enumerate(pools)])


def load_copies(path: str | os.PathLike[str]) -> dict[Key, dict[int, Pool]]:
    """Read {(task_id, test_index): {copy: pool}} from a file of `save_pools` or `append_copy`; nothing if absent.

    ValueError names the file and line of anything malformed, other than a half-written last line.
    """
    pools: dict[Key, dict[int, Pool]] = {}
    for number, record in read_lines(path):
        try:
            key, copy, pool = parse_pool(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a candidate pool ({error!r})") from error
        pools.setdefault(key, {})[copy] = pool
    return pools


def load_pools(path: str | os.PathLike[str], finished: Collection[tuple[str, int]] | None = None) -> dict[Key, Pool]:
    """Read {(task_id, test_index): pool}, its copies merged; where `finished` is given, only the copies named there
    as (task_id, copy). ValueError as `load_copies`."""
    found = {}
    for key, copies in load_copies(path).items():
        chosen = [copies[n] for n in sorted(copies) if finished is None or (key[0], n) in finished]
        if chosen:
            found[key] = merged(chosen)
    return found


def pool_record(task_id: str, test_index: int, copy: int, pool: Pool) -> dict[str, Any]:
    """A copy's pool as plain values: one line of the file."""
    candidates = [
        {
            "grid": ["".join(map(str, row)) for row in candidate.grid.tolist()],
            "views": candidate.views,
            "log_prob_sum": candidate.log_prob_sum,
            "confidence_sum": candidate.confidence_sum,
            "likelihoods": candidate.likelihoods,
            **({"halt_sum": candidate.halt_sum} if candidate.halt_sum else {}),
            **({"opinions": candidate.opinions} if candidate.opinions else {}),
        }
        for candidate in pool.candidates
    ]
    record: dict[str, Any] = {"task": task_id, "test": int(test_index), "copy": int(copy)}
    record |= {"steps": pool.steps, "settled": pool.settled, "copies": pool.copies, "views": pool.total_views}
    record |= {"zoom": pool.zoom} if pool.zoom > 1 else {}
    record |= {"weights": pool.weights} if pool.weights else {}
    return record | ({"sure": True} if pool.sure else {}) | {"candidates": candidates}


def parse_pool(record: Any) -> tuple[Key, int, Pool]:
    """(task_id, test_index), copy and pool of a record; KeyError, TypeError or ValueError if it is none."""
    kind = int(record.get("zoom", 1)), str(record.get("weights", ""))
    pool = Pool(int(record["steps"]), bool(record["settled"]), *kind)
    pool.total_views, pool.copies = int(record["views"]), int(record["copies"])
    pool.sure = bool(record.get("sure", False))
    for entry in record["candidates"]:
        rows = [np.frombuffer(row.encode(), np.uint8) - ord("0") for row in entry["grid"]]
        candidate = pool.propose(np.stack(rows))
        candidate.views = int(entry["views"])
        candidate.log_prob_sum = float(entry["log_prob_sum"])
        candidate.confidence_sum = float(entry["confidence_sum"])
        candidate.halt_sum = float(entry.get("halt_sum", 0.0))
        candidate.likelihoods = [(float(value), int(views)) for value, views in entry["likelihoods"]]
        candidate.opinions = {str(name): float(weight) for name, weight in entry.get("opinions", {}).items()}
    return (str(record["task"]), int(record["test"])), int(record["copy"]), pool
