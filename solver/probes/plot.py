"""A chart as an SVG file. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from solver.plot import COLORS
from solver.probes.finding import Chart, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Markers say the same as the colours once more.
MARKERS = ("o", "s", "^", "D", "v", "P")
HEIGHT = 4.0  # inches


def draw(chart: Chart, note: str, path: Path) -> None:
    """Writes the chart, per cent with 95% intervals, and `note` below it. The same numbers give the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "tinyarc", "svg.fonttype": "none", "font.size": 10}):
        names = [str(x) for x in chart.series[0].x] if isinstance(chart.series[0].x[0], str) else None
        height = HEIGHT if names is None else 1.4 + 0.28 * len(names) * (len(chart.series) + 0.6)
        figure = Figure(figsize=(7.0, height), layout="constrained")
        axes = figure.add_subplot()
        for number, series in enumerate(chart.series):
            style = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
            if names is None:
                _line(axes, series, style)
            else:
                _dots(axes, series, style, number, len(chart.series))
        if names is None:
            if chart.doubling:
                axes.set_xscale("log", base=2)
            axes.set_xticks(chart.series[0].x, [f"{x:g}" for x in chart.series[0].x])
            axes.minorticks_off()
            axes.set_ylim(-2, 102)
            axes.set_xlabel(chart.label)
            axes.set_ylabel("per cent")
        else:
            axes.set_yticks(range(len(names)), names)
            axes.invert_yaxis()
            axes.set_xlim(-2, 102)
            axes.set_xlabel("per cent")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(chart.title, loc="left", fontsize=11)
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.supxlabel(note, fontsize=7, color="#555555")
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": chart.title})


def _line(axes: Axes, series: Series, style: dict[str, Any]) -> None:
    low, high = ([100 * getattr(e, end) for e in series.y] for end in ("low", "high"))
    axes.fill_between(series.x, low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.plot(series.x, [100 * e.value for e in series.y], label=series.label, **style)


def _dots(axes: Axes, series: Series, style: dict[str, Any], number: int, count: int) -> None:
    place = [row + 0.28 * (number - (count - 1) / 2) for row in range(len(series.x))]
    values = [100 * e.value for e in series.y]
    below = [100 * (e.value - e.low) for e in series.y]
    above = [100 * (e.high - e.value) for e in series.y]
    axes.errorbar(values, place, xerr=[below, above], label=series.label, linestyle="none", capsize=2, **style)
