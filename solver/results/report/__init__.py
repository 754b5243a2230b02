"""A run as one self-contained HTML page: the scores, every task, and what the network thought at each step."""

from solver.results.report.build import write_report

__all__ = ["write_report"]
