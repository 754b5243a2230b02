"""The tests of `pretend_device.py`, in a process of their own: torch has to learn of a pretend device before it
differentiates anything, and no other test should know of one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_what_is_written_for_a_gpu_runs_on_a_pretend_device():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "pretend_device.py"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    if done.returncode == 5 or (done.returncode == 0 and "passed" not in done.stdout):
        pytest.skip("this torch has no devices made in Python")
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 18
