"""Whose mistake an error is: the user's, for whom one line will do, or the program's, which leaves its traceback.

The house raises ValueError for what a user got wrong, RuntimeError and FloatingPointError for what a machine or a
training did not bear, and asserts everything else. An error of these kinds whose traceback ends in a `raise` of this
project is *deliberate*, and so is an OSError that names a file. All others are bugs: what Python, numpy or torch
raised by themselves, be it a ValueError too, and every KeyError or AssertionError.
"""

from __future__ import annotations

import contextlib
import dis
import os
import sys
import traceback
from collections.abc import Iterator

PACKAGES = ("solver", "tta", "voting", "submission")
CODES = ((ValueError, 2), (OSError, 2), (RuntimeError, 1), (FloatingPointError, 1))
"""Kinds of errors for which one line may do, and the exit codes they end a command with."""

_asked = False


@contextlib.contextmanager
def tracebacks(asked: bool) -> Iterator[None]:
    """Within, tracebacks are shown if they were `asked` for."""
    global _asked
    before, _asked = _asked, asked
    try:
        yield
    finally:
        _asked = before


def shows_tracebacks() -> bool:
    """Whether tracebacks are asked for, by `tracebacks` or the environment variable TINYARC_TRACEBACK."""
    return _asked or os.environ.get("TINYARC_TRACEBACK", "0") not in ("", "0")


def explain(error: BaseException) -> tuple[str, int]:
    """What to print of an error that ends a command, and the exit code: one line and 2 or 1 if it is deliberate,
    below its traceback where those are shown; the traceback and 1 if it is a bug."""
    trace = "".join(traceback.format_exception(error))
    if _is_out_of_memory(error):
        line, code = f"tinyarc: not enough memory: {' '.join(str(error).split())}", 1
    elif lack := _lacking(error):
        line, code = f"tinyarc: {lack}", 1
    elif is_deliberate(error):
        line, code = f"tinyarc: {_text(error)}", next(code for kind, code in CODES if isinstance(error, kind))
    else:
        return f"{trace}tinyarc: this is a bug, please report it with the lines above and the command", 1
    return (trace + line if shows_tracebacks() else line), code


def _text(error: BaseException) -> str:
    """The message of an error; of the system's about a file, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and str(error).startswith("[Errno"):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def is_deliberate(error: BaseException) -> bool:
    """Whether the message of an error is all that its reader needs."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    return isinstance(error, tuple(kind for kind, _ in CODES)) and _raised_here(error)


def _raised_here(error: BaseException) -> bool:
    """Whether the instruction that an error comes from is a `raise`, and lies in this project."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code, module = last.tb_frame.f_code, last.tb_frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in PACKAGES and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def _lacking(error: BaseException) -> str | None:
    """One line about the operation that torch lacks on a device, see `solver.device.lacking`."""
    if "torch" not in sys.modules:
        return None
    from solver.device import lacking

    return lacking(error)


def _is_out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from solver.device import is_out_of_memory

    return is_out_of_memory(error)
