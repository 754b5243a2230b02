"""Test-time augmentation: views of a grid under D4 and colour permutations, batched, each with its inverse."""

from tta.colors import invert_palettes, random_palettes
from tta.dihedral import ELEMENTS, inverse_element, source_index, transform, view_size
from tta.view import Views, identity_views, random_views, spread_views

__all__ = [
    "ELEMENTS",
    "Views",
    "identity_views",
    "inverse_element",
    "invert_palettes",
    "random_palettes",
    "random_views",
    "source_index",
    "spread_views",
    "transform",
    "view_size",
]
