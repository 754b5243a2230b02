"""The 2x2x2 cube, from its geometry: stickers, turns, all 3,674,160 states and how far each is from solved.

A sticker is where it sits, a corner of the cube, and where it looks. One corner, at the back, below, on the left, stays
where it is, so that turns of the up, right and front faces say everything.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np

FACES = ("U", "L", "F", "R", "B", "D")
_LOOKS = {"R": (1, 0, 0), "U": (0, 1, 0), "F": (0, 0, 1), "L": (-1, 0, 0), "D": (0, -1, 0), "B": (0, 0, -1)}
_RIGHT = {"U": (1, 0, 0), "D": (1, 0, 0), "F": (1, 0, 0), "R": (0, 0, -1), "B": (-1, 0, 0), "L": (0, 0, 1)}
"""To the right on the net, for somebody who looks at a face; see `net`."""

_DOWN = {"U": (0, 0, 1), "D": (0, 0, -1), "F": (0, -1, 0), "R": (0, -1, 0), "B": (0, -1, 0), "L": (0, -1, 0)}
MOVES = tuple(face + turn for face in "URF" for turn in ("", "2", "'"))
FIXED = (-1, -1, -1)
STATES = 5040 * 729
FARTHEST = 11


def _stickers() -> np.ndarray:
    """Int64 (24, 2, 3): corner and direction of every sticker, face by face, as a reader reads each."""
    found = []
    for face in FACES:
        look, right, down = (np.array(table[face]) for table in (_LOOKS, _RIGHT, _DOWN))
        found += [(look + y * down + x * right, look) for y in (-1, 1) for x in (-1, 1)]
    return np.array(found)


STICKERS = _stickers()
_NUMBER = {tuple(sticker.ravel().tolist()): i for i, sticker in enumerate(STICKERS)}
SOLVED = np.arange(24) // 4 + 1
"""The colour of every sticker of the solved cube, 1 to 6 in the order of `FACES`."""


def _carried(matrix: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The sticker int64 (24,) that comes to each place when those `moved` bool (24,) are turned by a matrix."""
    source = np.arange(24)
    for i in np.flatnonzero(moved):
        source[_NUMBER[tuple((STICKERS[i] @ matrix.T).ravel().tolist())]] = i
    return source


def _turn(face: str) -> np.ndarray:
    """The rotation matrix of a quarter turn, clockwise for somebody who looks at the face."""
    x, y, z = _LOOKS[face]
    matrix: np.ndarray = np.outer((x, y, z), (x, y, z)) - np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return matrix


@cache
def turns() -> np.ndarray:
    """Int64 (9, 24): which sticker comes to each place, for every one of `MOVES`."""
    rows = []
    for face in "URF":
        quarter = _carried(_turn(face), STICKERS[:, 0] @ np.array(_LOOKS[face]) > 0)
        rows += [quarter, quarter[quarter], quarter[quarter][quarter]]
    return np.array(rows)


@cache
def symmetries() -> np.ndarray:
    """Int64 (48, 24): the same for the rotations and reflections of the whole cube."""
    everything = np.ones(24, dtype=bool)
    rows = []
    for axes in permutations(range(3)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.zeros((3, 3), dtype=np.int64)
            matrix[range(3), axes] = 1 - 2 * np.array(signs)
            rows.append(_carried(matrix, everything))
    return np.array(rows)


def renamed(colors: np.ndarray) -> np.ndarray:
    """Cubes (P, 24) with colours exchanged such that the fixed corner has its own again."""
    corner = [i for i in range(24) if tuple(STICKERS[i, 0]) == FIXED]
    opposite = np.array([0, *(FACES.index("DRBLFU"[i]) + 1 for i in range(6))])
    names = np.zeros((len(colors), 7), dtype=np.uint8)
    for i in corner:
        seen = colors[:, i].astype(np.int64)
        np.put_along_axis(names, seen[:, None], SOLVED[i].astype(np.uint8), axis=1)
        np.put_along_axis(names, opposite[seen][:, None], opposite[SOLVED[i]].astype(np.uint8), axis=1)
    return np.take_along_axis(names, colors.astype(np.int64), axis=1)


def is_solved(colors: np.ndarray) -> np.ndarray:
    """Bool (P,): whether every face of the cubes (P, 24) has one colour."""
    faces = colors.reshape(-1, 6, 4)
    solved: np.ndarray = (faces == faces[:, :, :1]).all((1, 2))
    return solved


def net(colors: np.ndarray) -> np.ndarray:
    """Cubes (P, 24) unfolded: uint8 (P, 6, 8), up above front and down below it, left, front, right and back in the
    middle row; 0 where there is no sticker."""
    nets = np.zeros((len(colors), 6, 8), dtype=np.uint8)
    for (row, column), face in zip(_PLACES, colors.reshape(-1, 6, 2, 2).swapaxes(0, 1), strict=True):
        nets[:, row : row + 2, column : column + 2] = face
    return nets


_PLACES = ((0, 2), (2, 0), (2, 2), (2, 4), (2, 6), (4, 2))


def folded(nets: np.ndarray) -> np.ndarray:
    """The colours (P, 24) of nets (P, 6, 8)."""
    faces = [nets[:, row : row + 2, column : column + 2].reshape(-1, 4) for row, column in _PLACES]
    return np.concatenate(faces, axis=1)


class States:
    """All states as numbers below `STATES`: 729 x the arrangement of the seven free corners + their twists.

    `steps` int8 (STATES,): turns that it takes to solve each, at least."""

    def __init__(self) -> None:
        corners = sorted({tuple(c) for c in STICKERS[:, 0].tolist()} - {FIXED})
        # Of every corner its three stickers, beginning with the one that looks up or down, in one sense of rotation.
        self.corners = np.array([_around(corner) for corner in corners])
        self.orders = np.array(list(permutations(range(7))))
        self.twists = np.array(list(np.ndindex(*[3] * 6)))
        self.twists = np.concatenate([self.twists, -self.twists.sum(1, keepdims=True) % 3], axis=1)
        self.order_number = {tuple(order): i for i, order in enumerate(self.orders.tolist())}
        self.moves = [self._tables(turn) for turn in turns()]
        self.steps = self._distances()

    def _tables(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a turn makes of each arrangement, int64 (5040,), and of each combination of twists, int64 (729,)."""
        place = {sticker: (c, k) for c, three in enumerate(self.corners.tolist()) for k, sticker in enumerate(three)}
        came = [place[int(source[three[0]])] for three in self.corners]
        corner, twist = (np.array(column) for column in zip(*came, strict=True))
        orders = np.array([self.order_number[tuple(order)] for order in self.orders[:, corner].tolist()])
        twists = (self.twists[:, corner] - twist) % 3
        return orders, twists[:, :6] @ 3 ** np.arange(5, -1, -1)

    def after(self, states: np.ndarray, move: int) -> np.ndarray:
        """The numbers of the states after a move."""
        orders, twists = self.moves[move]
        numbers: np.ndarray = orders[states // 729] * 729 + twists[states % 729]
        return numbers

    def _distances(self) -> np.ndarray:
        steps = np.full(STATES, -1, dtype=np.int8)
        steps[0], front, depth = 0, np.zeros(1, dtype=np.int64), 0
        while len(front):
            depth += 1
            reached = np.concatenate([self.after(front, move) for move in range(len(MOVES))])
            steps[reached[steps[reached] < 0]] = depth
            front = np.flatnonzero(steps == depth)
        return steps

    def colors(self, states: np.ndarray) -> np.ndarray:
        """The cubes uint8 (P, 24) of states."""
        order, twist = self.orders[states // 729], self.twists[states % 729]
        cubes = np.tile(SOLVED.astype(np.uint8), (len(states), 1))
        for c, three in enumerate(self.corners):
            for k in range(3):
                shown = SOLVED[self.corners[order[:, c], k]]
                np.put_along_axis(cubes, three[(k + twist[:, c]) % 3][:, None], shown[:, None].astype(np.uint8), axis=1)
        return cubes

    def numbers(self, cubes: np.ndarray) -> np.ndarray:
        """The states int64 (P,) of cubes (P, 24) whose fixed corner has its colours."""
        order, twist = np.zeros((2, len(cubes), 7), dtype=np.int64)
        for c, place in enumerate(self.corners):
            for d, piece in enumerate(self.corners):
                for t in range(3):
                    same = (cubes[:, [place[(k + t) % 3] for k in range(3)]] == SOLVED[piece]).all(1)
                    order[same, c], twist[same, c] = d, t
        numbers = np.array([self.order_number[tuple(row)] for row in order.tolist()], dtype=np.int64)
        return numbers * 729 + twist[:, :6] @ 3 ** np.arange(5, -1, -1)


def _around(corner: tuple[int, int, int]) -> list[int]:
    """The three stickers of a corner, from the one that looks up or down on, clockwise seen from outside."""
    x, y, z = corner
    looks = [(0, y, 0), (0, 0, z), (x, 0, 0)] if x * y * z < 0 else [(0, y, 0), (x, 0, 0), (0, 0, z)]
    return [_NUMBER[corner + look] for look in looks]


@cache
def states() -> States:
    """All states, made once."""
    return States()
