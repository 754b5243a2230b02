"""Prediction: what the views say is undone and scored right, checked against grids handled one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from solver import presets
from solver.arc import datasets
from solver.arc.expected import expected_colors, expected_size, needed_side, size_rule
from solver.arc.tasks import Pair, Task
from solver.learn import predict as predicting
from solver.learn.augment import draw_plan, pair_table
from solver.learn.canvas import BACKGROUND, BORDER, choose_size, pack, random_placement
from solver.learn.predict import PredictConfig, likelihoods, predict, trace
from solver.model import MODELS, Step
from tta import random_views, view_size

CPU = torch.device("cpu")


class Sure:
    """A network that answers every canvas with the canvas itself, `doubt` of the time with something else."""

    config = MODELS["toy"]

    def __init__(self, doubt=0.0):
        self.doubt, self.generator = doubt, torch.Generator().manual_seed(0)

    def steps(self, canvas, task, elements, palettes, examples, dtype):
        logits = 10.0 * F.one_hot(canvas, 12).float()
        spoiled = torch.rand(canvas.shape[:2], generator=self.generator) < self.doubt
        logits[spoiled] = 0.0
        yield Step(logits, None, ())


def square_task(grid):
    return Task("same", (Pair(grid, grid),), (grid,))


def test_a_zoomed_answer_is_in_the_grids_own_cells():
    grid = np.random.default_rng(1).integers(0, 10, (4, 6)).astype(np.uint8)
    sure: Any = Sure()
    config = presets.cpu().at(zoom=2)
    pool = predict(sure, square_task(grid), 0, 16, replace(config.predict, views=8), seed=3, device=CPU)
    assert [(c.views, c.grid.tolist()) for c in pool.candidates] == [(8, grid.tolist())]
    (strip,) = trace(sure, square_task(grid), 0, 16, zoom=2, device=CPU)
    assert strip == ["".join(map(str, row)) + "#" for row in grid.tolist()] + ["#" * 7]
    table = pair_table(square_task(grid).support)
    generator = torch.Generator().manual_seed(0)
    plan = draw_plan(table, torch.zeros(40, dtype=torch.int64), 16, generator, config.adapt.augmentation)
    assert (plan.place.scale == 2).all()
    crowded = draw_plan(table, torch.zeros(40, dtype=torch.int64), 12, generator, config.adapt.augmentation)
    assert (crowded.place.scale == 1).all()


def test_a_sure_network_gets_every_view_and_undecodable_views_are_counted_only():
    grid = np.random.default_rng(0).integers(0, 10, (4, 6)).astype(np.uint8)
    sure: Any = Sure()
    pool = predict(sure, square_task(grid), 0, 12, PredictConfig(views=24, chunk=7), seed=3, device=CPU)
    assert [c.views for c in pool.candidates] == [24]
    np.testing.assert_array_equal(pool.candidates[0].grid, grid)
    doubtful: Any = Sure(0.5)
    pool = predict(doubtful, square_task(grid), 0, 12, PredictConfig(views=24, chunk=7), seed=3, device=CPU)
    assert pool.total_views == 24
    right = pool.get(grid)
    assert right is not None
    assert 4 < right.views < 20
    assert right.scored_views == 24


def test_likelihood_is_that_of_the_candidate_drawn_by_hand_in_every_view():
    generator = torch.Generator().manual_seed(1)
    grids = [np.random.default_rng(s).integers(0, 10, (3, 5)).astype(np.uint8) for s in range(3)]
    views = random_views(6, generator, fix_zero=False)
    sides = view_size(views.elements, torch.full((6,), 3), torch.full((6,), 5))
    place = random_placement(*sides, 12, generator, max_scale=2)
    log_probs = torch.randn(6, 12, 12, 12, generator=generator).log_softmax(-1)
    got = likelihoods(pack(grids), log_probs, views, place, 12)
    for k, grid in enumerate(grids):
        for v in range(6):
            seen = views.apply(torch.from_numpy(grid), v).numpy()
            framed = np.full((seen.shape[0] + 1, seen.shape[1] + 1), BORDER)
            framed[:-1, :-1] = seen
            scale, top, left = (int(t[v]) for t in (place.scale, place.top, place.left))
            canvas = np.full((12, 12), BACKGROUND)
            block = np.kron(framed, np.ones((scale, scale), int))
            canvas[top : top + block.shape[0], left : left + block.shape[1]] = block
            expected = sum(float(log_probs[v, y, x, canvas[y, x]]) for y in range(12) for x in range(12))
            assert float(got[k, v]) == pytest.approx(expected, rel=1e-4)


def test_a_deadline_cuts_views_but_never_the_first_chunk():
    grid = np.ones((3, 3), np.uint8)
    ticks = iter(range(100))
    sure: Any = Sure()
    pool = predict(
        sure,
        square_task(grid),
        0,
        8,
        PredictConfig(views=40, chunk=8),
        seed=0,
        device=CPU,
        deadline=2.0,
        clock=lambda: next(ticks),
    )
    assert pool.total_views == 24
    pool = predict(sure, square_task(grid), 0, 8, PredictConfig(views=40, chunk=8), seed=0, device=CPU, deadline=-1.0)
    assert pool.total_views == 8


class Cramped(Sure):
    """`Sure`, for which `room` views at once are the most that the memory holds; says it with `error`, after the first
    of two loop steps."""

    def __init__(self, room, error):
        super().__init__()
        self.room, self.error, self.seen = room, error, []

    def steps(self, canvas, task, elements, palettes, examples, dtype):
        self.seen.append(canvas.shape[1])
        yield Step(torch.zeros(*canvas.shape, 12), None, ())
        if canvas.shape[1] > self.room:
            raise self.error
        noise = torch.sin(canvas.double() * 37 + elements[..., None, None] + palettes[..., 3, None, None] * 5).float()
        logits = 3.0 * F.one_hot(canvas, 12).float() + noise[..., None] * torch.arange(12) / 12
        yield Step(logits, None, ())


LACKS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_makes_chunks_smaller_and_changes_nothing_else(error):
    grid = np.random.default_rng(2).integers(0, 10, (4, 6)).astype(np.uint8)
    config = PredictConfig(views=21, chunk=8)

    def cast(network):
        pool = predict(network, square_task(grid), 0, 12, config, seed=3, device=CPU)
        return [(c.grid.tolist(), c.views, c.log_prob_sum, c.scored_views, c.log_likelihood) for c in pool.candidates]

    plenty, cramped = Cramped(100, error), Cramped(3, error)
    expected, got = cast(plenty), cast(cramped)
    assert plenty.seen == [8, 8, 5]
    assert cramped.seen == [8, 4] + [2] * 10 + [1]
    assert len(expected) == len(got) > 0
    for mine, theirs in zip(got, expected, strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2:] == pytest.approx(theirs[2:], rel=1e-5)
    none = Cramped(0, error)
    with pytest.raises(type(error)):
        cast(none)
    assert none.seen == [8, 4, 2, 1]
    other = Cramped(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        cast(other)
    assert other.seen == [8]


def test_likelihoods_of_many_views_are_those_of_the_views_in_parts(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    views = random_views(10, generator, fix_zero=False)
    place = random_placement(torch.full((10,), 5), torch.full((10,), 5), 8, generator)
    log_probs = torch.randn(10, 8, 8, 12, generator=generator).log_softmax(-1)
    table = pack([np.full((3, 5), k, np.uint8) for k in range(2)])
    whole = likelihoods(table, log_probs, views, place, 8)
    monkeypatch.setattr(predicting, "AT_ONCE", 3)
    assert whole.shape == (2, 10)
    assert torch.equal(likelihoods(table, log_probs, views, place, 8), whole)


@pytest.mark.parametrize(
    ("shapes", "test", "rule", "expected"),
    [
        ([((3, 3), (3, 3)), ((4, 5), (4, 5))], (7, 2), "same", (7, 2)),
        ([((3, 3), (2, 2)), ((4, 5), (2, 2))], (7, 2), "constant", (2, 2)),
        ([((2, 3), (4, 9)), ((3, 3), (6, 9))], (7, 2), "ratio", (14, 6)),
        ([((4, 4), (2, 2)), ((6, 6), (3, 3))], (5, 4), "ratio", None),
        ([((4, 4), (2, 2)), ((6, 6), (4, 3))], (5, 4), "other", None),
    ],
)
def test_output_sizes_follow_the_supports(shapes, test, rule, expected):
    support = tuple(Pair(np.zeros(a, np.uint8), np.zeros(b, np.uint8)) for a, b in shapes)
    task = Task("t", support, (np.zeros(test, np.uint8),))
    assert size_rule(task) == rule
    assert expected_size(task, task.test_inputs[0]) == expected
    assert choose_size(needed_side(task)) >= 1 + max(expected or (1, 1))


def test_no_view_answers_with_a_colour_that_the_supports_rule_out():
    class Stray:
        """Sees every cell as it is, and a colour 9, as the view shows it, in the place of every other."""

        config = MODELS["toy"]

        def steps(self, canvas, task, elements, palettes, examples, dtype):
            nine = F.one_hot(palettes[..., 9], 12)[:, :, None, None] * (canvas < 10)[..., None]
            yield Step(10.0 * F.one_hot(canvas, 12) + 20.0 * nine, None, ())

    shown = ([[1, 2, 4]], [[3, 2, 4]]), ([[1, 0, 2]], [[3, 0, 2]])
    support = tuple(Pair(np.array(before, np.uint8), np.array(after, np.uint8)) for before, after in shown)
    grid = np.array([[1, 0, 5], [2, 1, 5]], np.uint8)
    task = Task("three for one", support, (grid,))
    assert expected_colors(task, grid) == [0, 1, 2, 3, 5]  # 3 is new, 2 in every output; 4 is neither, nor in the input
    stray: Any = Stray()
    strict = predict(stray, task, 0, 12, PredictConfig(views=16), seed=3, device=CPU)
    assert [(c.views, c.grid.tolist()) for c in strict.candidates] == [(16, grid.tolist())]
    free = predict(stray, task, 0, 12, PredictConfig(views=16, colors=False), seed=3, device=CPU)
    assert [np.unique(c.grid).tolist() for c in free.candidates] == [[9]]


@pytest.mark.parametrize(("name", "exceptions"), [("arc1-train", []), ("arc2-train", ["6cbe9eb8"])])
def test_every_answer_of_arc_training_has_the_colours_that_the_supports_allow(name, exceptions):
    data, others = datasets.load(name), []
    for task in data.tasks:
        for grid, truth in zip(task.test_inputs, data.solutions[task.id], strict=True):
            if not set(np.unique(truth).tolist()) <= set(expected_colors(task, grid)):
                others.append(task.id)
    assert others == exceptions
