"""Where results come from: the commit of this code and the versions of what it runs on."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch


def commit() -> str | None:
    """The commit of this checkout, marked "-dirty" where files differ from it; None where the code lies in none (an
    installed wheel, also one in an environment inside somebody else's repository)."""
    root = Path(__file__).resolve().parents[1]
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        return _git(root, "describe", "--always", "--dirty", "--abbrev=12") if Path(top).resolve() == root else None
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide what is computed."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
