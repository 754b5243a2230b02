"""Puzzles: every generator against an independent check, and classes against symmetries."""

import itertools
from collections import deque

import numpy as np
import pytest

from solver.training.puzzles import arithmetic, cube, few_shot, maze, rubik, sudoku
from solver.training.puzzles.catalogue import PUZZLES, puzzle
from solver.training.puzzles.puzzle import PARTS
from solver.training.puzzles.sudoku_search import search

SMALL = {"sudoku4": {}, "sudoku9": {}, "maze": {"size": 8}, "rubik2": {"moves": 4}, "arithmetic": {"digits": 2}}


@pytest.fixture(scope="module")
def drawn():
    """Name -> part -> some examples."""
    amounts = {"sudoku9": 24}
    return {
        name: {part: puzzle(name, **how).draw(amounts.get(name, 400), part, seed=3) for part in PARTS}
        for name, how in SMALL.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PUZZLES)
def test_parts_share_no_class_and_a_seed_repeats(name, drawn):
    seen = [set(drawn[name][part].classes.tolist()) for part in PARTS]
    assert all(seen)
    assert not any(a & b for a, b in itertools.combinations(seen, 2))
    for part in ("validation", "test"):
        assert len(set(drawn[name][part].classes.tolist())) == len(drawn[name][part])
    one, other = (puzzle(name, **SMALL[name]).draw(16, "test", seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.inputs, other.inputs)


@pytest.mark.parametrize("name", PUZZLES)
def test_the_data_itself_gets_every_mark_and_the_input_as_an_answer_none(name, drawn):
    asked, test = puzzle(name, **SMALL[name]), drawn[name]["test"]
    if name == "rubik2":  # which asks for an answer to every answer
        answer = _nearer
    else:
        answer = lambda inputs: test.targets  # noqa: E731
    assert all(np.nanmin(marks) == 1 for marks in asked.marks(test, answer).values())
    assert all(np.nanmax(marks) == 0 for key, marks in asked.marks(test, np.copy).items() if key != "nearly")
    assert list(asked.marks(test, np.copy)) == list(asked.metrics)


def _nearer(nets):
    """The nets after the first move that brings each nearer, by trying all of them."""
    before, answers = rubik.steps_of(nets), nets.copy()
    for turn in cube.turns()[::-1]:
        after = cube.net(cube.folded(nets)[:, turn])
        better = rubik.steps_of(after) < before
        answers[better] = after[better]
    return answers


def _solutions(grid, box):
    """All solutions, by plain backtracking."""
    n = box * box
    where = next(((r, c) for r in range(n) for c in range(n) if grid[r][c] == 0), None)
    if where is None:
        return [[row[:] for row in grid]]
    r, c = where
    top, left = r // box * box, c // box * box
    near = {*grid[r], *(row[c] for row in grid)}
    near |= {grid[y][x] for y in range(top, top + box) for x in range(left, left + box)}
    found = []
    for digit in set(range(1, n + 1)) - near:
        grid[r][c] = digit
        found += _solutions(grid, box)
        grid[r][c] = 0
    return found


def test_every_sudoku_has_the_one_solution_that_the_data_has(drawn):
    for puzzles in (drawn["sudoku4"]["train"][:150], drawn["sudoku9"]["test"][:8]):
        box = 2 if puzzles.inputs.shape[1] == 4 else 3
        for given, target in zip(puzzles.inputs.tolist(), puzzles.targets.tolist(), strict=True):
            assert _solutions(given, box) == [target]
    assert len(sudoku.all_of_four()) == 288


def test_the_compiled_solver_counts_as_plain_backtracking_does(drawn):
    generator, counted = np.random.default_rng(0), set()
    for grid in drawn["sudoku4"]["train"].inputs[:60]:
        fewer = grid * (generator.random(grid.shape) < 0.7)
        plain = len(_solutions(fewer.tolist(), 2))
        for units in (False, True):
            assert search(fewer, 1000, np.arange(1, 5), units)[0] == plain
        counted.add(plain)
    assert len(counted) > 5


def test_hard_sudokus_take_guesses_and_easy_ones_none(drawn):
    hard = puzzle("sudoku9", hard=True).make(5, np.random.default_rng(0), "test")
    assert min(map(sudoku.rating, hard.inputs)) >= 1
    for one, target in zip(hard.inputs, hard.targets, strict=True):
        found, _, solution = search(one, 2, np.arange(1, 10), True)
        assert found == 1
        np.testing.assert_array_equal(solution, target)
    assert (hard.inputs > 0).sum((1, 2)).max() < 30
    for easy in drawn["sudoku9"]["test"].inputs[:20]:
        assert search(easy, 2, np.arange(1, 10), True)[:2] == (1, 0)


@pytest.mark.parametrize("name", ["sudoku4", "sudoku9"])
def test_a_sudokus_class_knows_no_symmetry(name, drawn):
    puzzles = drawn[name]["train"]
    kind = puzzle(name)
    assert isinstance(kind, sudoku.Sudoku)
    given, solved = sudoku.shuffled([puzzles.inputs, puzzles.targets], kind.box, np.random.default_rng(1))
    assert (given != puzzles.inputs).any()
    assert sudoku.complete(solved, kind.box).all()
    np.testing.assert_array_equal(sudoku.classes(given, solved, kind.box), puzzles.classes)


def test_classes_of_sudoku4_are_those_of_trying_all_symmetries(drawn):
    puzzles = drawn["sudoku4"]["test"][:150]
    lines = [(*a, *b) for a, b in itertools.product(itertools.permutations((0, 1)), itertools.permutations((2, 3)))]
    lines += [b[2:] + b[:2] for b in lines]
    forms = set()
    for grid in puzzles.inputs:
        guises = []
        for turned in (grid, grid.T):
            for rows, columns in itertools.product(lines, lines):
                cells = turned[list(rows)][:, list(columns)].ravel().tolist()
                names = {0: 0}
                guises.append(tuple(names.setdefault(cell, len(names)) for cell in cells))
        forms.add(min(guises))
    assert len(forms) == len(puzzles)


def _shortest(cells):
    """Every shortest path from start to goal, by breadth-first search; first the one that prefers up to down to left
    to right, from the start on."""
    (start,), (goal,) = (list(map(tuple, np.argwhere(cells == what))) for what in (maze.START, maze.GOAL))
    queue = deque([start])
    ways: dict[tuple[int, ...], list[list[tuple[int, ...]]]] = {start: [[]]}
    while queue:
        here = queue.popleft()
        for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            there = (here[0] + step[0], here[1] + step[1])
            if not all(0 <= x < len(cells) for x in there) or cells[there] == maze.WALL:
                continue
            longer = [[*way, there] for way in ways[here]]
            if there not in ways:
                ways[there] = longer
                queue.append(there)
            elif len(ways[there][0]) == len(longer[0]):
                ways[there] += longer
    return [set(way[:-1]) for way in ways[goal]]


def test_mazes_show_a_shortest_path_and_any_other_one_counts(drawn):
    several, kind = 0, puzzle("maze", size=8)
    assert isinstance(kind, maze.Maze)
    some = drawn["maze"]["train"][:: len(drawn["maze"]["train"]) // 150]  # turned ones among them
    for cells, target in zip(some.inputs, some.targets, strict=True):
        paths = _shortest(cells)
        assert set(map(tuple, np.argwhere(target == maze.PATH))) == paths[0]  # up, down, left, right
        assert len(paths[0]) >= kind.least
        for path in paths:
            answer = cells.copy()
            answer[tuple(np.array(sorted(path)).T)] = maze.PATH
            assert maze.is_shortest(cells, answer)
        cut, more, walls = target.copy(), target.copy(), target.copy()
        cut[tuple(np.argwhere(target == maze.PATH)[0])] = maze.FREE
        more[tuple(np.argwhere(target == maze.FREE)[0])] = maze.PATH
        walls[tuple(np.argwhere(target == maze.WALL)[0])] = maze.FREE
        assert not any(maze.is_shortest(cells, wrong) for wrong in (cut, more, walls))
        several += len(paths) > 1
    assert several


def test_mazes_of_thirty_cells_take_over_110_steps_and_turned_ones_are_one_class():
    made = puzzle("maze", size=30).make(16, np.random.default_rng(0), "train")
    assert min(map(maze.path_length, made.inputs)) > 110
    assert len(set(made.classes.tolist())) == len(made) // 8


def test_the_cube_has_its_states_and_is_solved_by_going_back():
    steps = cube.states().steps
    assert len(steps) == 3_674_160
    assert np.bincount(steps).tolist() == [1, 9, 54, 321, 1847, 9992, 50136, 227536, 870072, 1887748, 623800, 2644]
    generator = np.random.default_rng(0)
    colors = np.tile(cube.SOLVED, (200, 1)).astype(np.uint8)
    numbers = np.zeros(200, dtype=np.int64)
    for _ in range(25):  # stickers that are moved, and numbers that are looked up, are the same cubes
        move = int(generator.integers(9))
        colors, numbers = colors[:, cube.turns()[move]], cube.states().after(numbers, move)
        np.testing.assert_array_equal(cube.states().colors(numbers), colors)
        np.testing.assert_array_equal(cube.states().numbers(colors), numbers)
        colors[100:], numbers[100:] = np.roll(colors[100:], 1, axis=0), np.roll(numbers[100:], 1)
    quarter, half, back = cube.turns()[:3]
    np.testing.assert_array_equal(quarter[back], np.arange(24))
    np.testing.assert_array_equal(quarter[quarter], half)
    np.testing.assert_array_equal(cube.folded(cube.net(colors)), colors)


def test_cubes_of_a_class_are_equally_far_from_solved():
    numbers = np.random.default_rng(0).integers(cube.STATES, size=300)
    colors = cube.states().colors(numbers)
    for symmetry in cube.symmetries()[::5]:
        other = cube.renamed(colors[:, symmetry])
        np.testing.assert_array_equal(cube.states().steps[cube.states().numbers(other)], cube.states().steps[numbers])
        np.testing.assert_array_equal(rubik.classes(other), rubik.classes(colors))


def test_arithmetic_is_right_and_a_sum_is_in_the_part_of_its_difference(drawn):
    by_part: dict[frozenset[int], set[str]] = {}
    for part, examples in drawn["arithmetic"].items():
        for tokens, target in zip(examples.inputs, examples.targets, strict=True):
            question, answer = arithmetic.read(tokens[0]), int(arithmetic.read(target[1]))
            assert arithmetic.read(target[0]) == question
            assert arithmetic.read(tokens[1]) == ""
            if "=" in question:
                other, total = map(int, question.removeprefix("x+").split("="))
            elif "-" in question:
                total, other = map(int, question.split("-"))
            else:
                other, answer = map(int, question.split("+"))
                assert int(arithmetic.read(target[1])) == other + answer
                total = other + answer
            assert other + answer == total
            by_part.setdefault(frozenset((other, answer)), set()).add(part)
    assert all(len(parts) == 1 for parts in by_part.values())


def test_life_follows_its_rule_and_the_supports_show_all_that_the_test_asks_for():
    data = few_shot.life(12, seed=2)
    assert len({task.id for task in data.tasks}) == 12
    for task in data.tasks:
        born, kept = (set(map(int, digits)) for digits in task.id.removeprefix("life-b").split("s"))
        known: dict[tuple[int, int], int] = {}
        pairs = [(pair.input, pair.output) for pair in task.support]
        for before, after in [*pairs, (task.test_inputs[0], data.solutions[task.id][0])]:
            last = after is data.solutions[task.id][0]
            for (r, c), alive in np.ndenumerate(before):
                near = before[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].sum() - alive
                assert after[r, c] == (near in (kept if alive else born))
                assert not last or known[alive, near] == after[r, c]
                known[alive, near] = after[r, c]


def test_heat_is_kept_spreads_evenly_and_agrees_with_the_matrix_exponential():
    data = few_shot.heat(6, seed=1)
    for task in data.tasks:
        speed = float(task.id.removeprefix("heat-"))
        for pair in task.support:
            height, width = pair.input.shape
            graph = np.zeros((height * width,) * 2)
            for r, c in np.ndindex(height, width):
                for y, x in ((r + 1, c), (r, c + 1)):
                    if y < height and x < width:
                        a, b = r * width + c, y * width + x
                        graph[a, b] = graph[b, a] = 1
            values, vectors = np.linalg.eigh(graph - np.diag(graph.sum(0)))
            exact = vectors @ (np.exp(speed * values) * (vectors.T @ pair.input.ravel()))
            assert np.abs(pair.output.ravel() - exact).max() < 0.56  # half a level, and what short steps cost
            assert pair.output.max() <= pair.input.max()
