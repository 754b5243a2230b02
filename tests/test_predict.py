"""Prediction: what the views say is undone and scored right, checked against grids handled one by one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from solver.canvas import BACKGROUND, BORDER, choose_size, pack, random_placement
from solver.predict import PredictConfig, likelihoods, predict
from solver.sizes import expected_size, needed_side, size_rule
from solver.tasks import Pair, Task
from tta import random_views, view_size

CPU = torch.device("cpu")


class Sure:
    """A network that answers every canvas with the canvas itself, `doubt` of the time with something else."""

    def __init__(self, doubt=0.0):
        self.doubt, self.generator = doubt, torch.Generator().manual_seed(0)

    def __call__(self, canvas, task, elements, palettes, dtype):
        logits = 10.0 * F.one_hot(canvas, 12).float()
        spoiled = torch.rand(canvas.shape[:2], generator=self.generator) < self.doubt
        logits[spoiled] = 0.0
        yield logits


def square_task(grid):
    return Task("same", (Pair(grid, grid),), (grid,))


def test_a_sure_network_gets_every_view_and_undecodable_views_are_counted_only():
    grid = np.random.default_rng(0).integers(0, 10, (4, 6)).astype(np.uint8)
    pool = predict(Sure(), square_task(grid), 0, 12, PredictConfig(views=24, chunk=7), seed=3, device=CPU)
    assert [c.views for c in pool.candidates] == [24]
    np.testing.assert_array_equal(pool.candidates[0].grid, grid)
    pool = predict(Sure(0.5), square_task(grid), 0, 12, PredictConfig(views=24, chunk=7), seed=3, device=CPU)
    assert pool.total_views == 24
    right = pool.get(grid)
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
    pool = predict(
        Sure(), square_task(grid), 0, 8, PredictConfig(views=40, chunk=8),
        seed=0, device=CPU, deadline=2.0, clock=lambda: next(ticks),
    )
    assert pool.total_views == 24
    pool = predict(
        Sure(), square_task(grid), 0, 8, PredictConfig(views=40, chunk=8), seed=0, device=CPU, deadline=-1.0
    )
    assert pool.total_views == 8


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
