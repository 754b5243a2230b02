"""How far a long piece of work is, on stderr: one live bar, or plain lines where that is no terminal."""

from __future__ import annotations

import sys
from typing import TypeVar

from tqdm import tqdm

Bar = TypeVar("Bar", bound="ProgressBar")


class ProgressBar:
    """A context manager; `unit` says in plain words what is counted, up to `total`. `layout` is how the bar looks, in
    tqdm's words, where it is not the count that matters; a `hidden` one shows nothing of itself. Whoever wants no
    plain lines asks whether it is `live`."""

    def __init__(self, total: int, unit: str = "tasks", *, layout: str | None = None, hidden: bool = False) -> None:
        self.total, self.unit = total, unit
        self.live = sys.stderr.isatty() and not hidden
        layout = layout or f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}} {unit}, {{elapsed}} gone{{postfix}}"
        self.bar = tqdm(total=total, dynamic_ncols=True, disable=not self.live, bar_format=layout)

    def show(self, done: int, *facts: str) -> None:
        """So many are done; each of the `facts` is said beside it, empty ones are not."""
        text = [fact for fact in facts if fact]
        if self.live:
            self.bar.set_postfix_str(", ".join(text), refresh=False)
            self.bar.update(done - self.bar.n)
            self.bar.refresh()
        else:
            print(", ".join([f"{done}/{self.total} {self.unit}", *text]), file=sys.stderr, flush=True)

    def __enter__(self: Bar) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def say(line: str) -> None:
    """A line on stdout, above the bar if one is live."""
    tqdm.write(line)
