"""What the tests share beyond pytest: `benchmarks/` can be imported, as its scripts import one another."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
