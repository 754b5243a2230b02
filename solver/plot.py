"""What all pictures that matplotlib draws have in common. It is optional: `pip install matplotlib`."""

from __future__ import annotations

import importlib.util

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's, which colour-blind readers can tell apart."""


def require_matplotlib() -> None:
    """ValueError, one line, if it is not installed; for before the work, not after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("pictures are drawn with matplotlib: pip install matplotlib")
