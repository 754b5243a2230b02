"""One number per pair of grids, the same for all its rotations, reflections and recolourings.

With these a set of weights can carry proof that it never saw a pair it is scored on, in any of its guises.
"""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from solver.arc.tasks import Grid, Task
from solver.compiled import compiled
from submission.files import write_whole

_PRIME = np.uint64(0x100000001B3)  # FNV-1a, 64 bits
_START = np.uint64(0xCBF29CE484222325)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)  # the finaliser of splitmix64
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNSEEN = np.uint8(255)


def canonical_hash(input: Grid, output: Grid) -> int:
    """The hash of one pair, 0 <= hash < 2**64.

    For each of the eight symmetries of the square, applied to both grids alike: number the colours as they
    first appear, reading the input row by row and then the output, and hash the four sides and the numbers.
    The smallest of the eight hashes stands for the pair.
    """
    return int(canonical_hashes(*pack_pairs([(input, output)]))[0])


def canonical_hashes(shapes: np.ndarray, cells: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The hashes of P pairs, (P,) uint64.

    shapes: (P, 4) uint8, in_h, in_w, out_h, out_w. cells: (N,) uint8, colours, of each pair first the input's
    row by row, then the output's. offsets: (P,) int64, where each pair begins in cells.
    ValueError if a pair would lie outside cells.
    """
    sides = shapes.astype(np.int64)
    sizes = sides[:, 0] * sides[:, 1] + sides[:, 2] * sides[:, 3]
    if len(shapes) != len(offsets) or (offsets < 0).any() or (offsets + sizes > len(cells)).any():
        raise ValueError(f"{len(shapes)} pairs at {len(offsets)} offsets do not fit {len(cells)} cells")
    hashes = np.empty(len(shapes), dtype=np.uint64)
    # The kernel lets go of the interpreter's lock, so plain threads share the pairs out.
    threads = min(os.cpu_count() or 1, 1 + len(shapes) // 1000)
    edges = np.linspace(0, len(shapes), threads + 1).astype(np.int64)
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(_hash_pairs, sides[a:b], cells, offsets[a:b], hashes[a:b]) for a, b in pairwise(edges)]
        for job in jobs:
            job.result()
    return hashes


def pair_hashes(tasks: Iterable[Task], solutions: dict[str, list[Grid]] | None = None) -> dict[str, list[int]]:
    """By task id the hashes of its supports, then, where solutions are given, those of its test pairs."""
    pairs: list[tuple[Grid, Grid]] = []
    owners: list[str] = []
    hashes: dict[str, list[int]] = {}
    for task in tasks:
        first = len(pairs)
        pairs += [(pair.input, pair.output) for pair in task.support]
        if solutions is not None:
            pairs += zip(task.test_inputs, solutions[task.id], strict=True)
        owners += [task.id] * (len(pairs) - first)
        hashes[task.id] = []
    for owner, value in zip(owners, canonical_hashes(*pack_pairs(pairs)).tolist(), strict=True):
        hashes[owner].append(value)
    return hashes


def save_hashes(path: str | Path, hashes: np.ndarray | Iterable[int]) -> None:
    """Write the hashes, sorted and each once, as a .npy of uint64."""
    values = hashes if isinstance(hashes, np.ndarray) else np.array(list(hashes), dtype=np.uint64)
    assert values.dtype == np.uint64
    content = io.BytesIO()
    np.save(content, np.unique(values), allow_pickle=False)
    write_whole(path, content.getvalue())


def load_hashes(path: str | Path) -> np.ndarray:
    """What save_hashes wrote, (N,) uint64, ascending. ValueError if the file is anything else."""
    try:
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # of a damaged header numpy raises many kinds
        raise ValueError(f"{path}: is not a file of hashes: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, np.ndarray) or values.dtype != np.uint64 or values.ndim != 1:
        raise ValueError(f"{path}: is not a file of hashes: expected one row of uint64")
    if (values[1:] <= values[:-1]).any():
        raise ValueError(f"{path}: the hashes are not in ascending order")
    return values


def pack_pairs(pairs: list[tuple[Grid, Grid]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs as the flat arrays that `canonical_hashes` takes: shapes (P, 4), cells, offsets (P,)."""
    shapes = np.array([a.shape + b.shape for a, b in pairs], dtype=np.uint8).reshape(-1, 4)
    grids = [grid.ravel() for pair in pairs for grid in pair]
    cells = np.concatenate(grids) if grids else np.zeros(0, dtype=np.uint8)
    sizes = np.array([a.size + b.size for a, b in pairs], dtype=np.int64)
    return shapes, cells, np.cumsum(sizes) - sizes


def _kernel(sides: np.ndarray, cells: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> None:
    names = np.empty(256, dtype=np.uint8)
    for p in range(len(hashes)):
        best = ~np.uint64(0)
        for symmetry in range(8):
            value = _START
            names[:] = _UNSEEN
            fresh = np.uint8(0)
            start = offsets[p]
            for grid in range(2):
                height, width = sides[p, 2 * grid], sides[p, 2 * grid + 1]
                # The turned grid's cell (r, c) is cells[first + r * down + c * right].
                first, down, right = start, width, np.int64(1)
                start += height * width
                if symmetry & 1:
                    first, down = first + (height - 1) * down, -down
                if symmetry & 2:
                    first, right = first + (width - 1) * right, -right
                if symmetry & 4:
                    height, width, down, right = width, height, right, down
                value = (value ^ np.uint64(height)) * _PRIME
                value = (value ^ np.uint64(width)) * _PRIME
                for r in range(height):
                    at = first + r * down
                    for _ in range(width):
                        color = cells[at]
                        if names[color] == _UNSEEN:
                            names[color] = fresh
                            fresh += np.uint8(1)
                        value = (value ^ np.uint64(names[color])) * _PRIME
                        at += right
            value = (value ^ (value >> np.uint64(30))) * _MIX_1
            value = (value ^ (value >> np.uint64(27))) * _MIX_2
            best = min(best, value ^ (value >> np.uint64(31)))
        hashes[p] = best


_hash_pairs = compiled(_kernel)
