"""The candidate pool of one test input: which grids the views gave, and how surely.

Two kinds of evidence are kept apart. A *vote* is a view that decoded to a grid, with the mean log-probability
of its cells. A *likelihood* is how probable a view finds a given grid, whether or not it decoded to it. All
logarithms are natural, in nats, and at most 0.
"""

import math
from dataclasses import dataclass, field

import numpy as np

GridKey = tuple[tuple[int, ...], bytes]  # shape and cells


@dataclass(eq=False)
class Candidate:
    """One answer to one test input. The sums are over the views that gave it."""

    grid: np.ndarray  # uint8 (H, W), colours 0-9, read-only
    views: int = 0  # how many views gave it; 0 when it was only scored
    log_prob_sum: float = 0.0  # of the view's mean log-probability per cell
    confidence_sum: float = 0.0  # of exp(mean log-probability per cell), in (0, views]
    # Of the probability of being exact that the network gave its answer, in [0, views]; 0 where it does not say.
    halt_sum: float = 0.0
    # (sum, views) for each fine-tuned copy that scored it: the log-likelihood of the whole grid, summed over that many
    # of the copy's views.
    likelihoods: list[tuple[float, int]] = field(default_factory=list)
    # By name of a solver, how much its word for this grid weighs, where answers of several solvers were put together;
    # see `voting.opinions`.
    opinions: dict[str, float] = field(default_factory=dict)

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability per cell over the views that gave this grid; -inf if none did."""
        return self.log_prob_sum / self.views if self.views else -math.inf

    @property
    def mean_halt(self) -> float:
        """Mean probability of being exact over the views that gave this grid; 0 if none did."""
        return self.halt_sum / self.views if self.views else 0.0

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
    steps: fine-tuning steps that the copy took; after merging, the most that any of them took.
    zoom: how many times as large the copy saw its task; after merging, the first of them.
    weights: of which the copy was made, "" for those of the run; after merging, the first of them.
    settled: whether the copy stopped early because it had learned its supports; after merging, whether all had.
    sure: whether the views' best candidate keeps its place against the opinions of other solvers.
    """

    def __init__(self, steps: int = 0, settled: bool = False, zoom: int = 1, weights: str = "") -> None:
        self.total_views = 0
        self.copies = 1
        self.steps, self.settled, self.zoom, self.weights = steps, settled, zoom, weights
        self.sure = False
        self._by_key: dict[GridKey, Candidate] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def candidates(self) -> list[Candidate]:
        """Every candidate, first seen first."""
        return list(self._by_key.values())

    def get(self, grid: np.ndarray) -> Candidate | None:
        """The candidate with this very grid, or None."""
        return self._by_key.get(_key(as_grid(grid)))

    def add(self, grid: np.ndarray, log_prob: float, halt: float | None = None) -> Candidate:
        """Count one view that decoded to `grid` (integers (H, W), 0-9).

        log_prob is that view's mean log-probability per cell; halt, where the network says so, how probable it holds
        that the answer is exact. ValueError on a bad grid or number.
        """
        log_prob = _log(log_prob, 1)
        if halt is not None and not 0.0 <= halt <= 1.0:
            raise ValueError(f"a halting probability is from 0 to 1, not {halt}")
        candidate = self.propose(grid)
        candidate.views += 1
        candidate.log_prob_sum += log_prob
        candidate.confidence_sum += math.exp(log_prob)
        candidate.halt_sum += halt or 0.0
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
        candidate = self.propose(grid)
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
        self.steps, self.settled = max(self.steps, other.steps), self.settled and other.settled
        self.sure = self.sure or other.sure
        for theirs in other.candidates:
            ours = self.propose(theirs.grid)
            ours.views += theirs.views
            ours.log_prob_sum += theirs.log_prob_sum
            ours.confidence_sum += theirs.confidence_sum
            ours.halt_sum += theirs.halt_sum
            ours.likelihoods = ours.likelihoods + theirs.likelihoods
            for name, weight in theirs.opinions.items():
                ours.opinions[name] = ours.opinions.get(name, 0.0) + weight

    def propose(self, grid: np.ndarray) -> Candidate:
        """The candidate with this grid, made with no votes if there is none yet."""
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


def _key(grid: np.ndarray) -> GridKey:
    return grid.shape, grid.tobytes()


def _log(value: float, views: int) -> float:
    """`value` as a float, at most 0; a trace above 0 is rounding and becomes 0."""
    value = float(value)
    if not math.isfinite(value) or value > 1e-3 * views:
        raise ValueError(f"a log-probability is finite and at most 0, not {value}")
    return min(value, 0.0)
