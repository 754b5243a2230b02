"""Adapted weights times views: candidate pools. Views are rendered, predicted, decoded and undone in batches;
every candidate is then scored under every view from the log-probabilities already at hand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from solver.arc.expected import expected_colors, expected_size
from solver.arc.tasks import MAX_SIDE, Grid, Task
from solver.device import is_out_of_memory, release
from solver.learn.augment import PairTable, pair_table, render_examples
from solver.learn.canvas import (
    BACKGROUND,
    Packed,
    Placement,
    cell_log_probs,
    decode,
    pack,
    random_placement,
    render,
)
from solver.model import Network, Step
from tta import Views, identity_views, spread_views, view_size
from voting import Pool

AT_ONCE = 64
"""Views under which a candidate is scored at once."""


@dataclass(frozen=True)
class PredictConfig:
    """How a test input is looked at."""

    views: int = 64  # of each test input
    chunk: int = 16  # views at once on canvases up to 16, fewer above
    scored: int = 64  # candidates, the most frequent ones, that get a likelihood
    colors: bool = True  # no cell may have a colour that the supports rule out, see `solver.arc.expected`
    fix_zero: bool = True  # colour 0 stays 0
    turn: bool = True  # views are turned and flipped
    recolor: bool = True  # views are recoloured
    move: bool = True  # views are placed anywhere on the canvas, not at its top left
    zoom: int = 1  # canvas cells that a grid cell is a side, see `solver.learn.canvas`


def draw_views(task: Task, test_index: int, size: int, config: PredictConfig, seed: int) -> tuple[Views, Placement]:
    """The views of a test input and where each is placed, on the CPU; the same for the same seed everywhere.

    Room is left for the output that the task's size rule expects, or, where no rule holds, for one as high and as
    wide as any of the supports'.
    """
    grid = task.test_inputs[test_index]
    generator = torch.Generator().manual_seed(seed)
    views = spread_views(config.views, generator, fix_zero=config.fix_zero)
    views = views.restricted(turn=config.turn, recolor=config.recolor)
    shapes = [expected] if (expected := expected_size(task, grid)) else [p.output.shape for p in task.support]
    height, width = (max(sides) for sides in zip(grid.shape, *shapes, strict=True))
    each = torch.ones(config.views, dtype=torch.int64)
    sides = view_size(views.elements, each * height, each * width)
    return views, random_placement(*sides, size, generator, move=config.move, zoom=config.zoom)


def chunk_views(chunk: int, size: int) -> int:
    """Views at once on canvases of `size`: `chunk` up to 16, fewer above."""
    return max(4, round(chunk * min(1.0, (16 / size) ** 2)))


class Look(NamedTuple):
    """A chunk of V views of a test input: the `views` and where they are placed, on the device; the `logits` (1, V,
    size, size, tokens) after each loop step, IMPOSSIBLE for colours that are ruled out; and `halt` float32 (V,), how
    probable the network holds it that its last answer is exact, None for one without a halting head."""

    views: Views
    place: Placement
    logits: list[torch.Tensor]
    halt: torch.Tensor | None


def look(
    network: Network,
    task: Task,
    test_index: int,
    views: Views,
    place: Placement,
    size: int,
    config: PredictConfig,
    *,
    device: torch.device,
    dtype: torch.dtype,
    over: Callable[[], bool] = lambda: False,
) -> Iterator[Look]:
    """Chunk after chunk of the views of a test input; at most `config.chunk` views at once, fewer on canvases above 16.
    A network with a program is shown the supports, each view beginning with another of them.

    Where there is not enough memory a chunk is begun again with half of its views, down to one, and so are those
    after it; which views are seen, and in which order, stays the same. Once the first chunk is done, `over` is asked
    before each and can end it.
    """
    grid = task.test_inputs[test_index]
    table, chunk, begin = pack([grid], device), chunk_views(config.chunk, size), 0
    supports = pair_table(task.support, device) if network.config.program_tokens else None
    colors = torch.tensor(expected_colors(task, grid) if config.colors else range(10), device=device)
    while begin < len(views) and not (begin and over()):
        part = slice(begin, begin + chunk)
        seen, where = views[part].to(device), place[part].to(device)
        try:
            logits, halt = [], None
            for step in _steps(network, table, supports, seen, where, begin, size, dtype):
                logits.append(_ruled(step.logits, seen, colors))
                halt = None if step.halt is None else step.halt[0].sigmoid()
        except Exception as error:  # raised again, unless it says that memory is short
            if len(seen) == 1 or not is_out_of_memory(error):
                raise
            logits = []
        if not logits:  # here, because until its handler is left the error keeps what the chunk had allocated
            release(device)
            chunk = (len(seen) + 1) // 2
            continue
        yield Look(seen, where, logits, halt)
        begin += len(seen)


def _steps(
    network: Network,
    table: Packed,
    supports: PairTable | None,
    views: Views,
    place: Placement,
    begin: int,
    size: int,
    dtype: torch.dtype,
) -> Iterator[Step]:
    """The loop steps for the first grid of a table, seen under every view; `begin` is the number of the first view."""
    first = torch.zeros(len(views), dtype=torch.int64, device=views.elements.device)
    canvas = render(table, first, views, place, size)
    examples = None
    if supports is not None:
        count = len(supports.inputs.start)
        turn = torch.arange(network.config.examples, device=first.device)
        number = begin + torch.arange(len(views), device=first.device)
        shown = (number[:, None] + turn) % count
        examples = render_examples(supports, shown, views, place, size)[None]
    return network.steps(
        canvas[None], first[None], views.elements[None], views.palettes[None], examples=examples, dtype=dtype
    )


IMPOSSIBLE = -1e4
"""The logit of a colour that is ruled out: finite, for sums over cells to stay numbers."""


def _ruled(logits: torch.Tensor, views: Views, colors: torch.Tensor) -> torch.Tensor:
    """`logits` (1, V, size, size, tokens) that leave, of the ten colours, only what each view shows for `colors`."""
    allowed = torch.ones(len(views), logits.shape[-1], dtype=torch.bool, device=logits.device)
    allowed[:, :10] = False
    allowed.scatter_(1, views.palettes[:, colors], True)
    return logits.masked_fill(~allowed[:, None, None], IMPOSSIBLE)


@torch.inference_mode()
def predict(
    network: Network,
    task: Task,
    test_index: int,
    size: int,
    config: PredictConfig,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pool:
    """The pool of one test input, from a plain adapted network on canvases of `size`.

    Without a deadline all views are cast; with one, chunks are cast until it has passed (one at least).
    """
    views, place = draw_views(task, test_index, size, config, seed)
    pool, seen = Pool(), []
    over = partial(_passed, deadline, clock)
    chunks = look(network, task, test_index, views, place, size, config, device=device, dtype=dtype, over=over)
    for chunk, where, steps, halt in chunks:
        begin = pool.total_views
        log_probs = steps[-1][0].log_softmax(-1)
        halts = [None] * len(chunk) if halt is None else halt.tolist()
        for answer, sure in zip(answers(log_probs, views[begin : begin + len(chunk)], where), halts, strict=True):
            if answer is None:
                pool.add_undecoded()
            else:
                pool.add(*answer, sure)
        seen.append((log_probs, chunk, where))
    _score(pool, seen, size, config, device)
    return pool


def answers(log_probs: torch.Tensor, views: Views, place: Placement) -> list[tuple[Grid, float] | None]:
    """What V views say, from the log-probabilities of their canvases, (V, size, size, tokens): of each the grid, with
    its view undone, and the mean nats per cell; None where the canvas is no grid. `views` may be on the CPU."""
    decoded = decode(cell_log_probs(log_probs, place)).cpu()
    back = views.to("cpu").inverse()
    found: list[tuple[Grid, float] | None] = []
    for view, valid in enumerate(decoded.valid.tolist()):
        grid = decoded.grid(view) if valid else None
        if grid is None or max(grid.shape) > MAX_SIDE:
            found.append(None)
        else:
            nats = min(0.0, float(decoded.log_prob[view]))
            found.append((back.apply(torch.from_numpy(grid), view).numpy(), nats))
    return found


def _passed(deadline: float | None, clock: Callable[[], float]) -> bool:
    return deadline is not None and clock() >= deadline


def _score(
    pool: Pool,
    seen: list[tuple[torch.Tensor, Views, Placement]],
    size: int,
    config: PredictConfig,
    device: torch.device,
) -> None:
    """Adds to the most frequent candidates their log-likelihood under every view that was cast."""
    ranked = sorted(pool.candidates, key=lambda c: (-c.views, -c.mean_log_prob))[: config.scored]
    if not ranked:
        return
    table = pack([np.array(c.grid) for c in ranked], device)
    total = torch.zeros(len(ranked), dtype=torch.float64)
    for log_probs, views, place in seen:
        total += likelihoods(table, log_probs, views, place, size).cpu().double().sum(1)
    count = sum(len(views) for _, views, _ in seen)
    for candidate, value in zip(ranked, total.tolist(), strict=True):
        pool.add_likelihood(candidate.grid, min(0.0, value), count)


def likelihoods(table: Packed, log_probs: torch.Tensor, views: Views, place: Placement, size: int) -> torch.Tensor:
    """Log-likelihood (K, V), nats, of the K grids of a table under V views: the candidate is rendered as each
    view would show it, and its canvas read off `log_probs` (V, size, size, tokens). A cell of it that falls off the
    canvas counts as a blind guess, log(1 / 12).

    Beyond its arguments it needs the memory of `AT_ONCE` views of one candidate, however many there are."""
    columns = []
    for begin in range(0, len(views), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        chunk = (log_probs[part], views[part], place[part], size)
        columns.append(torch.stack([_likelihood(table, k, *chunk) for k in range(len(table.start))]))
    return torch.cat(columns, dim=1)


def _likelihood(
    table: Packed, index: int, log_probs: torch.Tensor, views: Views, place: Placement, size: int
) -> torch.Tensor:
    """Log-likelihood (V,) of grid `index` of a table under V views."""
    which = torch.full((len(views),), index, dtype=torch.int64, device=log_probs.device)
    canvas = render(table, which, views, place, size)
    cells = (table.height[index] + 1) * (table.width[index] + 1) * place.scale**2
    lost = cells - (canvas != BACKGROUND).flatten(1).sum(1)
    read = log_probs.gather(-1, canvas[..., None]).squeeze(-1).flatten(1).sum(1)
    return read - lost * math.log(log_probs.shape[-1])


@torch.inference_mode()
def trace(
    network: Network,
    task: Task,
    test_index: int,
    size: int,
    *,
    zoom: int = 1,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> list[list[str]]:
    """The canvas after every loop step, for the test input as it is, at the top left: rows of characters, digits for
    colours, "." for background and "#" for the border; empty rows and columns at the end cut. Of a grid cell that is
    `zoom` canvas cells a side, the first."""
    views = identity_views(1, device)
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    place = Placement(zero, zero, zero + zoom)
    supports = pair_table(task.support, device) if network.config.program_tokens else None
    steps = _steps(network, pack([task.test_inputs[test_index]], device), supports, views, place, 0, size, dtype)
    return [_as_text(step.logits[0, 0, ::zoom, ::zoom].argmax(-1).cpu().numpy()) for step in steps]


def _as_text(tokens: np.ndarray) -> list[str]:
    rows = ["".join("0123456789.#"[token] for token in row).rstrip(".") for row in tokens]
    while len(rows) > 1 and not rows[-1]:
        rows.pop()
    width = max(1, *map(len, rows))
    return [row.ljust(width, ".") for row in rows]
