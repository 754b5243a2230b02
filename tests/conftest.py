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


LONGEST = ("test_rehearse", "test_faults_processes", "test_pipeline", "test_cluster")
"""The files that take longest, minutes to half a minute each. With a process a core they go first, so that no core
waits at the end for the other's longest file."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture
def start_seconds():
    """How long a process takes here and now to import what a worker needs."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import solver.run.pipeline"], cwd=ROOT, check=True)
    return time.monotonic() - begun
