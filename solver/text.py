"""Plain text for people: durations, and how they are read back."""

from __future__ import annotations

import re


def parse_duration(text: str) -> float:
    """`90`, `90s`, `6m`, `11h40m` -> seconds. ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 6m or 11h40m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest
