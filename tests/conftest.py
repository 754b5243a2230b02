"""What pytest gives all tests: `benchmarks/` to import from, as its scripts do; and how fast the machine is now."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture
def start_seconds():
    """How long a process takes here and now to import what a worker needs."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import solver.run.pipeline"], cwd=ROOT, check=True)
    return time.monotonic() - begun
