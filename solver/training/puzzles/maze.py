"""Mazes: walls, a start, a goal; the answer draws a shortest path between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.compiled import compiled
from solver.training.puzzles.classes import square_classes, turned
from solver.training.puzzles.puzzle import Answerer, Drawn, Puzzle

FREE, GOAL, START, PATH, WALL = 0, 2, 3, 4, 5
"""What a cell holds, as ARC's colours: black, red, green, yellow, grey."""


@compiled
def _distances(grid: np.ndarray, row: int, column: int, over: int) -> np.ndarray:
    """Steps int64 (S, S) to each cell from (row, column) by way of cells that hold `over` (those next to them are
    reached, but not left); -1 where there is no way."""
    size = grid.shape[0]
    steps = np.full((size, size), -1, dtype=np.int64)
    queue = np.empty(size * size, dtype=np.int64)
    queue[0], head, tail = row * size + column, 0, 1
    steps[row, column] = 0
    while head < tail:
        r, c = queue[head] // size, queue[head] % size
        head += 1
        if grid[r, c] != over and steps[r, c] > 0:
            continue
        for k in range(4):
            y, x = r + (k == 1) - (k == 0), c + (k == 3) - (k == 2)
            if 0 <= y < size and 0 <= x < size and steps[y, x] < 0 and grid[y, x] != WALL:
                steps[y, x] = steps[r, c] + 1
                queue[tail] = y * size + x
                tail += 1
    return steps


@compiled
def _carve(size: int, seed: int, opened: float) -> np.ndarray:
    """Corridors, one cell wide, carved from a random cell on, and then a share `opened` of those walls opened that part
    two corridors: uint8 (S, S) of FREE and WALL."""
    np.random.seed(seed)  # of numba's generator; numpy's has its own
    grid = np.full((size, size), WALL, dtype=np.uint8)
    stack = np.empty(size * size, dtype=np.int64)
    stack[0], height = np.random.randint(size * size), 1
    grid[stack[0] // size, stack[0] % size] = FREE
    while height > 0:
        r, c = stack[height - 1] // size, stack[height - 1] % size
        chosen, count = -1, 0
        for k in range(4):
            y, x = r + (k == 1) - (k == 0), c + (k == 3) - (k == 2)
            if 0 <= y < size and 0 <= x < size and grid[y, x] == WALL and _open_sides(grid, y, x) == 1:
                count += 1
                if np.random.randint(count) == 0:
                    chosen = y * size + x
        if chosen < 0:
            height -= 1
        else:
            grid[chosen // size, chosen % size] = FREE
            stack[height] = chosen
            height += 1
    for r in range(size):
        for c in range(size):
            if grid[r, c] == WALL and _open_sides(grid, r, c) == 2 and np.random.random() < opened:
                grid[r, c] = FREE
    return grid


@compiled
def _open_sides(grid: np.ndarray, row: int, column: int) -> int:
    """How many of the four cells beside one are free."""
    size, count = grid.shape[0], 0
    for k in range(4):
        y, x = row + (k == 1) - (k == 0), column + (k == 3) - (k == 2)
        if 0 <= y < size and 0 <= x < size and grid[y, x] == FREE:
            count += 1
    return count


@compiled
def _pose(grid: np.ndarray, seed: int, least: int) -> np.ndarray:
    """A maze with a start and a goal that are more than `least` steps apart, uint8 (S, S); without them where no such
    two were found."""
    np.random.seed(seed)
    size = grid.shape[0]
    maze: np.ndarray = grid.copy()
    free = np.flatnonzero(grid.copy().reshape(size * size) == FREE)
    for _ in range(8):
        start = free[np.random.randint(len(free))]
        steps = _distances(grid, start // size, start % size, FREE)
        far = np.flatnonzero(steps.reshape(size * size) > least)
        if len(far) == 0:
            continue
        goal = far[np.random.randint(len(far))]
        maze[start // size, start % size] = START
        maze[goal // size, goal % size] = GOAL
        break
    return maze


@compiled
def _solved(maze: np.ndarray) -> np.ndarray:
    """A maze with its shortest path drawn, uint8 (S, S): of several the one that, from the start on, goes up rather
    than down, left or right, in this order. So what is asked for follows from the maze as it is seen, turned or not."""
    size = maze.shape[0]
    solved: np.ndarray = maze.copy()
    goal = np.flatnonzero(maze.copy().reshape(size * size) == GOAL)[0]
    start = np.flatnonzero(maze.copy().reshape(size * size) == START)[0]
    back = _distances(maze, goal // size, goal % size, FREE)
    r, c = start // size, start % size
    while back[r, c] > 1:
        for k in range(4):
            y, x = r + (k == 1) - (k == 0), c + (k == 3) - (k == 2)
            if 0 <= y < size and 0 <= x < size and back[y, x] == back[r, c] - 1:
                break
        r, c = y, x
        solved[r, c] = PATH
    return solved


def path_length(maze: np.ndarray, over: int = FREE) -> int:
    """Steps of the shortest way from start to goal in a maze (S, S) over cells that hold `over`; -1 without one."""
    (start,), (goal,) = np.argwhere(maze == START), np.argwhere(maze == GOAL)
    return int(_distances(maze, start[0], start[1], over)[goal[0], goal[1]])


def is_shortest(maze: np.ndarray, answer: np.ndarray) -> bool:
    """Whether an answer is the maze with one of its shortest paths drawn and nothing else changed."""
    drawn = answer == PATH
    if not ((answer == maze) | (drawn & (maze == FREE))).all():
        return False
    length = path_length(answer, PATH)
    return length == path_length(maze) == int(drawn.sum()) + 1


@dataclass(frozen=True)
class Maze(Puzzle):
    """Mazes of `size` x `size` cells; of 30 they are posed as Maze-Hard's are, with over 110 steps."""

    name = "maze"
    about = "a maze of --size cells a side (10): draw a shortest path; 30 as in Maze-Hard, over 110 steps"
    metrics = {  # noqa: RUF012
        "shortest": "any valid shortest path, with nothing else changed",
        "exact": "the path that the data has, which is one of the shortest",
    }
    goal = "95% for 10x10 in 10 minutes"
    turns = True
    size: int = 10
    opened: float = 0.1  # share of the walls between two corridors that are opened
    held_out: int = 4
    seconds: float = 600.0
    batch: int = 6
    shrink: int = 4
    blocks: int = 1
    loops: int = 16
    convolution: bool = True
    spread: int = 8  # examples to train on that turns and reflections make of each maze, at most 8

    def __post_init__(self) -> None:
        if not 6 <= self.size <= 30:
            raise ValueError(f"--size {self.size}: a maze has 6 to 30 cells a side")

    @property
    def canvas(self) -> int:  # type: ignore[override]
        return self.size + 2 - self.size % 2

    @property
    def patch(self) -> int:  # type: ignore[override]
        return 1 if self.size <= 16 else 2

    @property
    def least(self) -> int:
        """Steps that a shortest path must have more than: its square grows with the maze, to 110 of 30 cells."""
        return 110 if self.size == 30 else round(self.size**2 * 110 / 900)

    @property
    def amount(self) -> int:  # type: ignore[override]
        return 100_000 if self.size <= 16 else 32_000

    def make(self, count: int, generator: np.random.Generator, part: str) -> Drawn:
        spread = self.spread if part == "train" else 1
        seeds = generator.integers(2**31, size=(max(1, count // spread), 2))
        mazes = np.array([_pose(_carve(self.size, one, self.opened), two, self.least) for one, two in seeds.tolist()])
        mazes = mazes[(mazes == START).any((1, 2))]
        inputs = np.concatenate(turned(mazes)[:spread])
        targets = np.array([_solved(maze) for maze in inputs])
        swapped = np.choose(inputs, [FREE, 1, START, GOAL, PATH, WALL]).astype(np.uint8)
        classes = np.minimum(square_classes(inputs), square_classes(swapped))
        return Drawn(inputs, targets, classes)

    def marks(self, drawn: Drawn, answer: Answerer) -> dict[str, np.ndarray]:
        answers = answer(drawn.inputs)
        shortest = [is_shortest(maze, answer) for maze, answer in zip(drawn.inputs, answers, strict=True)]
        return {"shortest": np.array(shortest, dtype=bool), "exact": (answers == drawn.targets).all((1, 2))}
