"""What a probe found: tables, and a chart of the most telling one. Numbers in; text, JSON and plots come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from solver.results.intervals import Estimate
from solver.text import aligned

Value = str | int | float | Estimate


@dataclass(frozen=True)
class Table:
    """Every row has a value for each of the columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]

    @property
    def text(self) -> str:
        """Aligned plain text; estimates as per cent."""
        words = {
            name
            for name, column in zip(self.columns, zip(*self.rows, strict=True), strict=True)
            if all(isinstance(value, str) for value in column)
        }
        return "\n".join([self.title, "", *(f"  {line}" for line in aligned(self.columns, self.rows, left=words))])

    @property
    def record(self) -> dict[str, Any]:
        """For JSON: shares as they are, not as per cent."""
        rows = [
            {name: asdict(v) if isinstance(v, Estimate) else v for name, v in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows}


@dataclass(frozen=True)
class Series:
    """Estimates `y` at `x`: numbers, or names of categories."""

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[Estimate]


@dataclass(frozen=True)
class Chart:
    """All series share one axis; `doubling` draws it in powers of two."""

    title: str
    label: str
    series: Sequence[Series]
    doubling: bool = False


@dataclass(frozen=True)
class Finding:
    """`per_task`: {task id: what goes into a table beyond the marks of the arms, for JSON}."""

    tables: Sequence[Table]
    chart: Chart
    per_task: dict[str, dict[str, Any]] = field(default_factory=dict)
