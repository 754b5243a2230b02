"""Long work in pieces: a clock for one piece, and settings that must stay the same from piece to piece."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson

from solver.run.folder import write_json


class Piece:
    """`seconds` from now; what does not fit is left to the next piece."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, negative when it is over."""
        return self.end - time.monotonic()


def keep_settings(directory: Path, settings: dict[str, Any]) -> None:
    """Notes `settings` in a fresh folder; ValueError if the folder was begun with others."""
    path = directory / "settings.json"
    if path.exists():
        before = orjson.loads(path.read_bytes())
        if other := [key for key in settings if before.get(key) != settings[key]]:
            changes = ", ".join(f"{key} {before.get(key)}, not {settings[key]}" for key in other)
            raise ValueError(f"{directory}: was begun with {changes}; choose another --out")
        return
    directory.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)
