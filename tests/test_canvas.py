"""Canvases: what is rendered decodes to the same grid, wherever and however it was placed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from solver.arc.tasks import Pair, Task
from solver.learn.canvas import (
    BACKGROUND,
    BORDER,
    TOKENS,
    Placement,
    cell_log_probs,
    choose_size,
    decode,
    pack,
    random_placement,
    render,
    zoomed_canvas,
)
from tta import identity_views, random_views, view_size


def certain(canvas):
    """Log-probabilities that leave no doubt about a canvas."""
    return F.one_hot(canvas, TOKENS).float().clamp(min=1e-6).log()


@pytest.mark.parametrize("size", [8, 16, 32])
def test_view_place_decode_and_undo_give_the_grid_back(size):
    rng, generator = np.random.default_rng(size), torch.Generator().manual_seed(size)
    grids = [rng.integers(0, 10, rng.integers(1, size - 1, 2)).astype(np.uint8) for _ in range(40)]
    table, which = pack(grids), torch.arange(40)
    views = random_views(40, generator, fix_zero=False)
    place = random_placement(*view_size(views.elements, table.height, table.width), size, generator, max_scale=4)
    decoded = decode(cell_log_probs(certain(render(table, which, views, place, size)), place))
    assert decoded.valid.all()
    assert size == 8 or (place.scale > 1).any()
    for index, grid in enumerate(grids):
        back = views.undo(torch.from_numpy(decoded.grid(index)), index)
        np.testing.assert_array_equal(back.numpy(), grid)


def test_render_agrees_with_drawing_by_hand():
    canvas = render(
        pack([np.array([[1, 2, 3]], np.uint8)]),
        torch.tensor([0]),
        identity_views(1),
        Placement(torch.tensor([1]), torch.tensor([0]), torch.tensor([2])),
        8,
    )[0]
    b, x = BACKGROUND, BORDER
    expected = [[b] * 8, [1, 1, 2, 2, 3, 3, x, x], [1, 1, 2, 2, 3, 3, x, x], [x] * 8, [x] * 8] + [[b] * 8] * 3
    assert canvas.tolist() == expected


@pytest.mark.parametrize(
    ("row", "column", "token", "why"),
    [
        (0, 2, 5, "no border on the first row"),
        (1, 2, 5, "a hole in the right border"),
        (2, 1, BACKGROUND, "a hole in the lower border"),
        (2, 2, 3, "no corner"),
        (1, 1, BACKGROUND, "background inside"),
        (1, 1, BORDER, "border inside"),
        (0, 0, BORDER, "an empty grid"),
    ],
)
def test_what_is_not_a_rectangle_with_a_border_is_no_candidate(row, column, token, why):
    here = Placement(*(torch.tensor([v]) for v in (0, 0, 1)))
    canvas = render(pack([np.ones((2, 2), np.uint8)]), torch.tensor([0]), identity_views(1), here, 8)
    assert decode(cell_log_probs(certain(canvas), here)).valid.item()
    canvas[0, row, column] = token
    if token == 5 and row == 0:  # the row is then wider, and its border is missing altogether
        canvas[0, 0, 3:] = BACKGROUND
    assert not decode(cell_log_probs(certain(canvas), here)).valid.item(), why


def test_canvas_sizes_leave_head_room_and_refuse_what_is_too_large():
    assert [choose_size(side) for side in (1, 6, 7, 10, 11, 14, 15, 18, 22, 23, 26, 27, 30)] == [
        8,
        8,
        12,
        12,
        16,
        16,
        20,
        20,
        24,
        28,
        28,
        32,
        32,
    ]
    with pytest.raises(ValueError, match="32"):
        choose_size(32)


def test_a_zoomed_canvas_is_a_smaller_one_with_larger_cells():
    rng = np.random.default_rng(0)
    grids = [rng.integers(0, 10, rng.integers(1, 8, 2)).astype(np.uint8) for _ in range(30)]
    table, which, views = pack(grids), torch.arange(30), identity_views(30)
    sides = table.height, table.width
    small = random_placement(*sides, 8, torch.Generator().manual_seed(1), max_scale=3)
    large = random_placement(*sides, 16, torch.Generator().manual_seed(1), max_scale=3, zoom=2)
    canvas = render(table, which, views, small, 8).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert torch.equal(render(table, which, views, large, 16), canvas)
    mixed = random_placement(*sides, 16, torch.Generator().manual_seed(1), zoom=1 + which % 2)
    assert (mixed.scale == 1 + which % 2).all()
    assert (mixed.top[1::2] % 2 == 0).all()


@pytest.mark.parametrize(("side", "canvas"), [(3, 12), (6, 16), (10, 24), (14, 32), (15, 32), (16, None)])
def test_a_zoomed_task_gets_the_canvas_that_holds_it(side, canvas):
    grid = np.zeros((side, 1), np.uint8)
    assert zoomed_canvas(Task("a", (Pair(grid, grid), Pair(grid, grid)), (grid,))) == canvas
