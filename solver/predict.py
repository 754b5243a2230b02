"""Adapted weights times views: candidate pools. Views are rendered, predicted, decoded and undone in batches;
every candidate is then scored under every view from the log-probabilities already at hand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from solver.canvas import BACKGROUND, TOKENS, Packed, Placement, cell_log_probs, decode, pack, random_placement, render
from solver.model import Network
from solver.sizes import expected_size
from solver.tasks import MAX_SIDE, Grid, Task
from tta import Views, identity_views, spread_views, view_size
from voting import Pool


@dataclass(frozen=True)
class PredictConfig:
    """`views` of each test input, `chunk` at a time (fewer on canvases above 16); at most `scored` candidates get
    a likelihood."""

    views: int = 64
    chunk: int = 16
    scored: int = 64
    fix_zero: bool = True
    turn: bool = True
    recolor: bool = True
    move: bool = True


def draw_views(
    task: Task, test_index: int, size: int, config: PredictConfig, seed: int
) -> tuple[Views, Placement]:
    """The views of a test input and where each is placed, on the CPU; the same for the same seed everywhere.

    Room is left for the output that the task's size rule expects, or, where no rule holds, for one as high and as
    wide as any of the supports'.
    """
    grid = task.test_inputs[test_index]
    generator = torch.Generator().manual_seed(seed)
    views = spread_views(config.views, generator, fix_zero=config.fix_zero)
    elements = views.elements if config.turn else torch.zeros_like(views.elements)
    plain = torch.arange(10).expand_as(views.palettes).contiguous()
    views = Views(elements, views.palettes if config.recolor else plain)
    shapes = [expected] if (expected := expected_size(task, grid)) else [p.output.shape for p in task.support]
    height, width = (max(sides) for sides in zip(grid.shape, *shapes, strict=True))
    many = torch.ones(config.views, dtype=torch.int64)
    sides = view_size(views.elements, many * height, many * width)
    return views, random_placement(*sides, size, generator, move=config.move)


def look(
    network: Network, grid: Grid, views: Views, place: Placement, size: int, chunk: int, *, device, dtype
) -> Iterator[tuple[Views, Placement, Iterator[torch.Tensor]]]:
    """Chunk after chunk of the views of a test input: the chunk's views and places on the device, and the logits
    (1, V, size, size, 12) after each loop step. At most `chunk` views at once, fewer on canvases above 16."""
    table = pack([grid], device)
    chunk = max(4, round(chunk * min(1.0, (16 / size) ** 2)))
    for begin in range(0, len(views), chunk):
        part = slice(begin, begin + chunk)
        some = Views(views.elements[part].to(device), views.palettes[part].to(device))
        where = Placement(*(t[part].to(device) for t in (place.top, place.left, place.scale)))
        first = torch.zeros(len(some), dtype=torch.int64, device=device)
        canvas = render(table, first, some, where, size)
        yield some, where, network(canvas[None], first[None], some.elements[None], some.palettes[None], dtype=dtype)


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
    grid = task.test_inputs[test_index]
    views, place = draw_views(task, test_index, size, config, seed)
    back = views.inverse()
    pool, seen = Pool(), []
    for some, where, steps in look(network, grid, views, place, size, config.chunk, device=device, dtype=dtype):
        if seen and deadline is not None and clock() >= deadline:
            break
        begin = pool.total_views
        *_, logits = steps
        log_probs = logits[0].log_softmax(-1)
        decoded = decode(cell_log_probs(log_probs, where)).cpu()
        for index, valid in enumerate(decoded.valid.tolist()):
            answer = decoded.grid(index) if valid else None
            if answer is None or max(answer.shape) > MAX_SIDE:
                pool.add_undecoded()
                continue
            answer = back.apply(torch.from_numpy(answer), begin + index).numpy()
            pool.add(answer, min(0.0, float(decoded.log_prob[index])))
        seen.append((log_probs, some, where))
    _score(pool, seen, size, config, device)
    return pool


def _score(pool: Pool, seen: list, size: int, config: PredictConfig, device: torch.device) -> None:
    """Adds to the most frequent candidates their log-likelihood under every view that was cast."""
    ranked = sorted(pool.candidates, key=lambda c: (-c.views, -c.mean_log_prob))[: config.scored]
    if not ranked:
        return
    table = pack([np.array(c.grid) for c in ranked], device)
    total = torch.zeros(len(ranked), dtype=torch.float64)
    for log_probs, views, place in seen:
        total += likelihoods(table, log_probs, views, place, size).double().sum(1).cpu()
    count = sum(len(views) for _, views, _ in seen)
    for candidate, value in zip(ranked, total.tolist(), strict=True):
        pool.add_likelihood(candidate.grid, min(0.0, value), count)


def likelihoods(
    table: Packed, log_probs: torch.Tensor, views: Views, place: Placement, size: int
) -> torch.Tensor:
    """Log-likelihood (K, V), nats, of the K grids of a table under V views: the candidate is rendered as each
    view would show it, and its canvas read off `log_probs` (V, size, size, 12). A cell of it that falls off the
    canvas counts as a blind guess, log(1 / 12)."""
    rows = []
    for index in range(len(table.start)):
        which = torch.full((len(views),), index, dtype=torch.int64, device=log_probs.device)
        canvas = render(table, which, views, place, size)
        cells = (table.height[index] + 1) * (table.width[index] + 1) * place.scale**2
        lost = cells - (canvas != BACKGROUND).flatten(1).sum(1)
        told = log_probs.gather(-1, canvas[..., None]).squeeze(-1).flatten(1).sum(1)
        rows.append(told - lost * math.log(TOKENS))
    return torch.stack(rows)


@torch.inference_mode()
def trace(
    network: Network, task: Task, test_index: int, size: int, *, device, dtype=torch.float32
) -> list[list[str]]:
    """The canvas after every loop step, for the test input as it is, at the top left: rows of characters,
    digits for colours, "." for background and "#" for the border; empty rows and columns at the end cut."""
    views = identity_views(1, device)
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    place = Placement(zero, zero, zero + 1)
    canvas = render(pack([task.test_inputs[test_index]], device), zero, views, place, size)
    steps = network(canvas[None], zero[None], views.elements[None], views.palettes[None], dtype=dtype)
    return [_as_text(logits[0, 0].argmax(-1).cpu().numpy()) for logits in steps]


def _as_text(tokens: np.ndarray) -> list[str]:
    rows = ["".join("0123456789.#"[token] for token in row).rstrip(".") for row in tokens]
    while len(rows) > 1 and not rows[-1]:
        rows.pop()
    width = max(1, *map(len, rows))
    return [row.ljust(width, ".") for row in rows]
