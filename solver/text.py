"""Plain text for people: durations, and how they are read back; tables with aligned columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence


def parse_duration(text: str) -> float:
    """`90`, `90s`, `6m`, `11h40m` -> seconds. ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 6m or 11h40m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest


def format_duration(seconds: float) -> str:
    """`43.0 s`, `12m40s`, `11h39m`."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"


def aligned(columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: Collection[str] = ()) -> list[str]:
    """A table as lines, its header first, two spaces between columns; the columns called `left` are flush left, all
    others flush right. Floats get one digit after the point, None is a dash, all else is as `str` has it."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = []
    for row in [list(columns), *cells]:
        placed = zip(columns, row, widths, strict=True)
        parts = [text.ljust(width) if name in left else text.rjust(width) for name, text, width in placed]
        lines.append("  ".join(parts).rstrip())
    return lines


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
