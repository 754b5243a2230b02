"""The candidate pool of one test input: which grids the views gave, how surely, and a file to keep pools in.

Two kinds of evidence are kept apart. A *vote* is a view that decoded to a grid, with the mean log-probability
of its cells. A *likelihood* is how probable a view finds a given grid, whether or not it decoded to it. All
logarithms are natural, in nats, and at most 0.

File format (`save_pools`, `append_pool`, `load_pools`): JSON lines, UTF-8, one line per test input:

    {"task": "0a1d4ef5", "test": 0, "views": 32, "copies": 1, "candidates": [
        {"grid": ["012", "330"], "views": 30, "log_prob_sum": -1.5, "confidence_sum": 28.6,
         "likelihoods": [[-40.25, 32]]}]}

(without the line breaks). The pool's `views` counts every view cast, `copies` the fine-tuned copies merged
into it. A grid is a list of digit strings, top row first. Candidates stand in the order they were first
seen; `likelihoods` holds one [sum, views] per copy that scored the candidate. A later line replaces an
earlier one for the same task and test input. A last line that a killed run left half-written is skipped.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson


@dataclass(eq=False)
class Candidate:
    """One answer to one test input.

    grid: uint8 (H, W), colours 0-9, read-only.
    views: how many views gave it (0 when it was only scored).
    log_prob_sum: over those views, the sum of the view's mean log-probability per cell.
    confidence_sum: over those views, the sum of exp(mean log-probability per cell), in (0, views].
    likelihoods: (sum, views) for each fine-tuned copy that scored it: the log-likelihood of the whole grid
        summed over that many of the copy's views.
    """

    grid: np.ndarray
    views: int = 0
    log_prob_sum: float = 0.0
    confidence_sum: float = 0.0
    likelihoods: list[tuple[float, int]] = field(default_factory=list)

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability per cell over the views that gave this grid; -inf if none did."""
        return self.log_prob_sum / self.views if self.views else -math.inf

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of this grid, summed over all `scored_views` views that scored it."""
        return sum(value for value, _ in self.likelihoods)

    @property
    def scored_views(self) -> int:
        """How many views `log_likelihood` is a sum over."""
        return sum(views for _, views in self.likelihoods)


class Pool:
    """The candidates of one test input, equal grids merged, in the order they were first seen.

    total_views: views cast, whether or not they decoded to a grid.
    copies: fine-tuned copies whose views are in here: 1, until pools are merged.
    """

    def __init__(self) -> None:
        self.total_views = 0
        self.copies = 1
        self._by_key: dict[tuple, Candidate] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def candidates(self) -> list[Candidate]:
        """Every candidate, first seen first."""
        return list(self._by_key.values())

    def get(self, grid: np.ndarray) -> Candidate | None:
        """The candidate with this very grid, or None."""
        return self._by_key.get(_key(as_grid(grid)))

    def add(self, grid: np.ndarray, log_prob: float) -> Candidate:
        """Count one view that decoded to `grid` (integers (H, W), 0-9).

        log_prob is that view's mean log-probability per cell. ValueError on a bad grid or number.
        """
        log_prob = _log(log_prob, 1)
        candidate = self._candidate(grid)
        candidate.views += 1
        candidate.log_prob_sum += log_prob
        candidate.confidence_sum += math.exp(log_prob)
        self.total_views += 1
        return candidate

    def add_undecoded(self, views: int = 1) -> None:
        """Count views that decoded to no grid at all."""
        self.total_views += int(views)

    def add_likelihood(self, grid: np.ndarray, value: float, views: int) -> Candidate:
        """Add the log-likelihood of the whole `grid`, summed over `views` views of this pool's copy.

        Calls add up, so views may come in batches. A grid that no view gave enters with no votes: that is how
        a copy scores what another copy proposed. ValueError on a bad grid or number, and on a merged pool,
        where it would be unclear which copy is speaking: score first, merge after.
        """
        if self.copies > 1:
            raise ValueError(f"likelihoods belong to one copy; this pool merges {self.copies}")
        if views < 1:
            raise ValueError(f"a likelihood needs at least one view, not {views}")
        value, views = _log(value, views), int(views)
        candidate = self._candidate(grid)
        old_value, old_views = candidate.likelihoods[0] if candidate.likelihoods else (0.0, 0)
        candidate.likelihoods = [(old_value + value, old_views + views)]
        return candidate

    def merge(self, other: "Pool") -> None:
        """Add the pool of the same test input from another fine-tuned copy; `other` stays as it was.

        Votes add up. Likelihoods stand side by side, one entry per copy, because the sum over both copies is
        unknown for a grid that only one of them scored; `rules.product` says what it makes of that.
        """
        if other is self:
            raise ValueError("a pool cannot be merged with itself: every view would count twice")
        self.total_views += other.total_views
        self.copies += other.copies
        for theirs in other.candidates:
            ours = self._candidate(theirs.grid)
            ours.views += theirs.views
            ours.log_prob_sum += theirs.log_prob_sum
            ours.confidence_sum += theirs.confidence_sum
            ours.likelihoods = ours.likelihoods + theirs.likelihoods

    def _candidate(self, grid: np.ndarray) -> Candidate:
        grid = as_grid(grid)
        candidate = self._by_key.get(_key(grid))
        if candidate is None:
            grid = grid.copy()
            grid.setflags(write=False)
            candidate = self._by_key[_key(grid)] = Candidate(grid)
        return candidate


def as_grid(grid: np.ndarray) -> np.ndarray:
    """`grid` as uint8 (H, W); ValueError unless it is a non-empty 2D array of integers 0-9."""
    array = np.asarray(grid)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"a grid has shape (H, W), both at least 1, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"a grid holds integers, not {array.dtype}")
    if array.min() < 0 or array.max() > 9:
        raise ValueError(f"a grid holds colours 0-9, not {array.min()} to {array.max()}")
    return array.astype(np.uint8, copy=False)


def save_pools(path: str | os.PathLike, pools: Mapping[tuple[str, int], Pool]) -> None:
    """Write {(task_id, test_index): pool} to a new file, which replaces `path` once it is complete."""
    aside = Path(path).with_name(f".{Path(path).name}.tmp")
    aside.write_bytes(b"".join(_line(task_id, index, pool) for (task_id, index), pool in pools.items()))
    os.replace(aside, path)


def append_pool(path: str | os.PathLike, task_id: str, test_index: int, pool: Pool) -> None:
    """Append one pool to `path`, made if absent; a half-written last line goes. One writer at a time."""
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                content = file.read()
                start = content.rfind(b"\n") + 1
                if _is_json(content[start:]):
                    file.write(b"\n")
                else:
                    file.truncate(start)
        file.write(_line(task_id, test_index, pool))


def load_pools(path: str | os.PathLike) -> dict[tuple[str, int], Pool]:
    """Read {(task_id, test_index): pool} from a file of `save_pools` or `append_pool`.

    ValueError names the file and line of anything malformed, other than a half-written last line.
    """
    pools = {}
    lines = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == len(lines) and not _is_json(line)):
            continue
        try:
            key, pool = _parse(line)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a candidate pool ({error!r})") from error
        pools[key] = pool
    return pools


def _line(task_id: str, test_index: int, pool: Pool) -> bytes:
    candidates = [
        {
            "grid": ["".join(map(str, row)) for row in candidate.grid.tolist()],
            "views": candidate.views,
            "log_prob_sum": candidate.log_prob_sum,
            "confidence_sum": candidate.confidence_sum,
            "likelihoods": candidate.likelihoods,
        }
        for candidate in pool.candidates
    ]
    record = {
        "task": task_id,
        "test": int(test_index),
        "views": pool.total_views,
        "copies": pool.copies,
        "candidates": candidates,
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _parse(line: bytes) -> tuple[tuple[str, int], Pool]:
    record = orjson.loads(line)
    pool = Pool()
    pool.total_views, pool.copies = int(record["views"]), int(record["copies"])
    for entry in record["candidates"]:
        rows = [np.frombuffer(row.encode(), np.uint8) - ord("0") for row in entry["grid"]]
        candidate = pool._candidate(np.stack(rows))
        candidate.views = int(entry["views"])
        candidate.log_prob_sum = float(entry["log_prob_sum"])
        candidate.confidence_sum = float(entry["confidence_sum"])
        candidate.likelihoods = [(float(value), int(views)) for value, views in entry["likelihoods"]]
    return (str(record["task"]), int(record["test"])), pool


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _key(grid: np.ndarray) -> tuple:
    return grid.shape, grid.tobytes()


def _log(value: float, views: int) -> float:
    """`value` as a float, at most 0; a trace above 0 is rounding and becomes 0."""
    value = float(value)
    if not math.isfinite(value) or value > 1e-3 * views:
        raise ValueError(f"a log-probability is finite and at most 0, not {value}")
    return min(value, 0.0)
