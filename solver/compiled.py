"""Functions compiled by numba, whose machine code is kept between runs wherever there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """njit without the interpreter's lock, so that plain threads can share work out."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # the installation and the user's cache are both read-only
        return njit(nogil=True)(function)
