"""A simulated run as a picture: a lane per device, time from left to right. Needs matplotlib, as the probes do."""

from __future__ import annotations

from pathlib import Path

from solver.plot import COLORS
from solver.run.dryrun.simulate import Box, Result

STARTING, LOST = "#9a9a9a", "#000000"


def draw(result: Result, workers: int, budget: float | None, share: float, title: str, path: Path) -> None:
    """Writes an SVG. Colours are copy numbers, the last one for all further copies; black is work that was lost."""
    import matplotlib
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    unit, name = (3600.0, "h") if max(result.end, budget or 0.0) >= 5400 else (60.0, "min")
    with matplotlib.rc_context({"svg.hashsalt": "tinyarc", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9.0, 1.7 + 0.45 * workers), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        handles: list[Artist] = []
        for label, color, boxes in _groups(result):
            for worker in range(workers):
                spans = [(box.start / unit, (box.end - box.start) / unit) for box in boxes if box.worker == worker]
                axes.broken_barh(spans, (worker - 0.36, 0.72), facecolors=color, edgecolors="white", linewidth=0.3)
            handles.append(Patch(facecolor=color, label=label))
        for fault in result.hit:
            handles = [h for h in handles if h.get_label() != "fault"]
            handles.append(axes.axvline(fault.seconds / unit, color="#CC0000", linewidth=1.2, label="fault"))
            axes.plot(fault.seconds / unit, -0.62, marker="v", color="#CC0000", clip_on=False)
        if budget is not None:
            first = axes.axvline(share * budget / unit, color="#555555", linestyle=":", linewidth=1.2)
            first.set_label(f"{share:.0%} of the budget")
            end = axes.axvline(budget / unit, color="#222222", linestyle="--", linewidth=1.2, label="budget")
            handles += [first, end]
        axes.set_yticks(range(workers), [f"device {number}" for number in range(workers)])
        axes.set_ylim(workers - 0.5, -0.62)
        axes.set_xlim(0, 1.01 * max(result.end, budget or 0.0) / unit)
        axes.set_xlabel(name)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title, loc="left", fontsize=10, pad=12)
        axes.legend(handles=handles, frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})


def _groups(result: Result) -> list[tuple[str, str, list[Box]]]:
    """(label, color, boxes) of all that is drawn alike; groups without boxes are left out."""
    last = len(COLORS) - 1
    groups = [("start-up", STARTING, [box for box in result.boxes if box.copy is None])]
    most = max((box.copy for box in result.boxes if box.copy is not None), default=-1)
    for number in range(last + 1):
        label = f"copy {number + 1}" + (" and later" if number == last and most > last else "")
        alike = [b for b in result.boxes if b.copy is not None and not b.lost and min(b.copy, last) == number]
        groups.append((label, COLORS[number], alike))
    groups.append(("lost", LOST, [box for box in result.boxes if box.copy is not None and box.lost]))
    return [group for group in groups if group[2]]
