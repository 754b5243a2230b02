"""What pytest gives all tests: `benchmarks/` to import from, as its scripts do; to each test process its part of the
cores; and how fast the machine is now."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "benchmarks"))

# Before torch is imported, and for the processes that tests start: more threads than cores wait for one another.
if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))


@pytest.fixture
def start_seconds():
    """How long a process takes here and now to import what a worker needs."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import solver.run.pipeline"], cwd=ROOT, check=True)
    return time.monotonic() - begun
