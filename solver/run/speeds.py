"""How fast this machine is, learned from the log rows of what it has done so far."""

from __future__ import annotations

from collections import defaultdict


class Speeds:
    """Mean seconds of one task's fine-tuning step and of one view, by canvas size.

    A size not met yet is estimated from the nearest one met, by the number of cells. Times are a task's share of
    its stack's, so they hold for stacks as they were.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def learn(self, row: dict) -> None:
        """Takes a log row of a copy that gave an answer; others say nothing about speed."""
        if "error" in row:
            return
        for what, seconds, count in (
            ("step", row["adapt_seconds"], row["steps"]),
            ("view", row["predict_seconds"], sum(row["views"])),
        ):
            if count:
                total = self._spent[what, row["canvas"]]
                total[0] += seconds
                total[1] += count

    def seconds(self, what: str, size: int) -> float | None:
        """Seconds of a "step" or a "view" of one task on canvases of `size`; None before anything was measured."""
        known = [own for kind, own in self._spent if kind == what]
        if not known:
            return None
        nearest = min(known, key=lambda own: abs(own - size))
        seconds, count = self._spent[what, nearest]
        return seconds / count * (size / nearest) ** 2
