"""Views: every D4 element, palette and their inverses, against numpy's own flips and turns."""

import numpy as np
import pytest
import torch

from tta import ELEMENTS, Views, inverse_element, invert_palettes, random_palettes, spread_views, transform
from tta.dihedral import source_index, view_size

BY_NUMPY = {
    "identity": lambda g: g,
    "transpose": lambda g: g.T,
    "flip_rows": np.flipud,
    "rotate_left": lambda g: np.rot90(g),
    "flip_columns": np.fliplr,
    "rotate_right": lambda g: np.rot90(g, -1),
    "rotate_180": lambda g: np.rot90(g, 2),
    "antitranspose": lambda g: np.rot90(g, 2).T,
}


def grid(height=3, width=5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 10, (height, width)))


@pytest.mark.parametrize("element", range(8))
def test_element_is_what_its_name_says_and_its_inverse_undoes_it(element):
    source = grid()
    view = transform(source, element)
    np.testing.assert_array_equal(view.numpy(), BY_NUMPY[ELEMENTS[element]](source.numpy()))
    assert torch.equal(transform(view, inverse_element(element)), source)


def test_index_arithmetic_is_the_same_for_tensors_and_for_integers():
    elements = torch.arange(8)
    y, x, height, width = map(torch.tensor, (1, 2, 3, 5))
    heights, widths = view_size(elements, height, width)
    rows, columns = source_index(elements, y, x, height, width)
    for element in range(8):
        assert (int(heights[element]), int(widths[element])) == view_size(element, 3, 5)
        assert (int(rows[element]), int(columns[element])) == source_index(element, 1, 2, 3, 5)
    assert torch.equal(inverse_element(elements), torch.tensor([inverse_element(e) for e in range(8)]))


def test_palettes_are_permutations_and_their_inverse_undoes_them():
    palettes = random_palettes(50, torch.Generator().manual_seed(1), fix_zero=False)
    assert torch.equal(palettes.sort(1).values, torch.arange(10).expand(50, 10))
    assert torch.equal(invert_palettes(palettes).gather(1, palettes), torch.arange(10).expand(50, 10))
    assert (palettes[:, 0] != 0).any()
    assert (random_palettes(50, torch.Generator().manual_seed(1))[:, 0] == 0).all()


def test_views_undo_what_they_apply_and_the_spread_is_even():
    views = spread_views(24, torch.Generator().manual_seed(2), fix_zero=False)
    source = grid(4, 7, seed=3)
    assert torch.equal(views.apply(source, 0), source)
    for index in range(len(views)):
        assert torch.equal(views.undo(views.apply(source, index), index), source)
    assert views.elements.bincount().tolist() == [3] * 8
    assert isinstance(views.inverse(), Views)
