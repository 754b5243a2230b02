"""tinyarc: an offline ARC Prize solver. `solver.run.pipeline.solve` is the whole of it."""

__version__ = "0.1.0"
