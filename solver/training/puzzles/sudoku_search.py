"""A plain Sudoku solver, compiled: it fills in what is forced, guesses where there are fewest choices, and counts the
guesses that failed. Grids are uint8 (n, n), n = 4 or 9, with 0 for an empty cell."""

from __future__ import annotations

import numpy as np

from solver.compiled import compiled


@compiled
def _choices(cells: np.ndarray, n: int, box: int, masks: np.ndarray) -> bool:
    """Fills `masks` (n * n,) with a bit for every digit that an empty cell may still have, 0 for a filled one; False if
    a digit stands twice in a unit."""
    used = np.zeros((3, n), dtype=np.int64)
    for i in range(n * n):
        if cells[i]:
            r, c = i // n, i % n
            bit = np.int64(1) << cells[i]
            b = r // box * box + c // box
            if (used[0, r] | used[1, c] | used[2, b]) & bit:
                return False
            used[0, r] |= bit
            used[1, c] |= bit
            used[2, b] |= bit
    every = (np.int64(1) << (n + 1)) - 2
    for i in range(n * n):
        r, c = i // n, i % n
        masks[i] = 0 if cells[i] else every & ~(used[0, r] | used[1, c] | used[2, r // box * box + c // box])
    return True


@compiled
def _cell(unit: int, k: int, n: int, box: int) -> int:
    """The index of the k-th cell of a unit: n rows, then n columns, then n boxes."""
    kind, u = unit // n, unit % n
    if kind == 0:
        return u * n + k
    if kind == 1:
        return k * n + u
    return (u // box * box + k // box) * n + u % box * box + k % box


@compiled
def _fill(cells: np.ndarray, n: int, box: int, masks: np.ndarray, units: bool) -> bool:
    """Writes every digit that is forced, because its cell allows no other or, with `units`, its unit no other cell,
    until none is left; False for a contradiction. `masks` are those of the result."""
    while True:
        if not _choices(cells, n, box, masks):
            return False
        changed = False
        for i in range(n * n):
            if cells[i] == 0:
                if masks[i] == 0:
                    return False
                if masks[i] & (masks[i] - 1) == 0:
                    digit = 1
                    while masks[i] >> digit != 1:
                        digit += 1
                    cells[i] = digit
                    changed = True
        if changed:
            continue
        if not units:
            return True
        for unit in range(3 * n):
            for digit in range(1, n + 1):
                where, count = -1, 0
                for k in range(n):
                    i = _cell(unit, k, n, box)
                    if cells[i] == digit:
                        count = 2
                        break
                    if (masks[i] >> digit) & 1 and cells[i] == 0:
                        where = i
                        count += 1
                if count == 0:
                    return False
                if count == 1:
                    cells[where] = digit
                    changed = True
        if not changed:
            return True


@compiled
def search(grid: np.ndarray, limit: int, order: np.ndarray, units: bool) -> tuple[int, int, np.ndarray]:
    """Solutions found, up to `limit`; guesses that failed on the way; the last solution, (n, n). Digits are tried in
    the `order` (n,) given; without `units` nothing is concluded but that a cell allows one digit alone."""
    n = grid.shape[0]
    box = 2 if n == 4 else 3
    stack = np.zeros((n * n * n + 1, n * n), dtype=np.uint8)
    stack[0] = grid.copy().reshape(n * n)
    masks = np.zeros(n * n, dtype=np.int64)
    solution = np.zeros(n * n, dtype=np.uint8)
    height, found, failed = 1, 0, 0
    while height > 0 and found < limit:
        height -= 1
        cells = stack[height].copy()
        if not _fill(cells, n, box, masks, units):
            failed += 1
            continue
        best, fewest = -1, 99
        for i in range(n * n):
            if cells[i] == 0:
                count = 0
                for digit in range(1, n + 1):
                    count += (masks[i] >> digit) & 1
                if count < fewest:
                    best, fewest = i, count
        if best < 0:
            found += 1
            solution[:] = cells
            continue
        for k in range(n - 1, -1, -1):  # the first of the order is looked at first
            if (masks[best] >> order[k]) & 1:
                stack[height] = cells
                stack[height, best] = order[k]
                height += 1
    return found, failed, solution.reshape(n, n)


@compiled
def dig(full: np.ndarray, order: np.ndarray, least: int, easy: bool) -> np.ndarray:
    """The puzzle that is left of a full grid once its cells are emptied in `order` (n * n,), each only if the solution
    stays unique and at least `least` givens are left. With `easy` it is to follow without a guess."""
    n = full.shape[0]
    box = 2 if n == 4 else 3
    puzzle: np.ndarray = full.copy()
    digits = np.arange(1, n + 1)
    masks = np.zeros(n * n, dtype=np.int64)
    left = n * n
    for i in order:
        if left <= least:
            break
        r, c = i // n, i % n
        digit = puzzle[r, c]
        puzzle[r, c] = 0
        if easy:
            cells = puzzle.copy().reshape(n * n)
            unique = _fill(cells, n, box, masks, True) and cells.min() > 0
        else:
            unique = search(puzzle, 2, digits, True)[0] == 1
        if unique:
            left -= 1
        else:
            puzzle[r, c] = digit
    return puzzle
