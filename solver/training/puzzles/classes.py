"""Numbers for puzzles that their symmetries do not change: 64-bit hashes over arrays of many puzzles at once."""

from __future__ import annotations

import numpy as np

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # the finaliser of splitmix64
_STEP = np.uint64(0x9E3779B97F4A7C15)


def mix(values: np.ndarray) -> np.ndarray:
    """Scrambled uint64 for uint64, one to one, the same shape."""
    x = values + _STEP
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def hash_rows(rows: np.ndarray) -> np.ndarray:
    """A hash uint64 (P,) of each row of `rows` uint8 (P, N)."""
    place = np.arange(rows.shape[1], dtype=np.uint64) << np.uint64(8)
    return mix(np.bitwise_xor.reduce(mix(place | rows.astype(np.uint64)), axis=1))


def turned(grids: np.ndarray) -> list[np.ndarray]:
    """The eight symmetries of the square of grids (P, S, S), each (P, S, S)."""
    turns = [np.rot90(grids, k, axes=(1, 2)) for k in range(4)]
    return turns + [np.swapaxes(turn, 1, 2) for turn in turns]


def square_classes(grids: np.ndarray) -> np.ndarray:
    """The smallest hash, uint64 (P,), over the symmetries of the square, of grids uint8 (P, S, S)."""
    smallest: np.ndarray = np.min([hash_rows(grid.reshape(len(grids), -1)) for grid in turned(grids)], axis=0)
    return smallest
