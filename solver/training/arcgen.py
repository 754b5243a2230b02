"""ARC-GEN (github: google/ARC-GEN): pairs made by running the generators of a checkout in a process of their own.

The checkout's `task_list.py` has a function `task_list` that returns `{task id: (generator, validator)}`; a generator
draws from Python's `random` and returns `{input, output}`, a validator returns the task itself, `{train, test}`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import random
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from solver.arc.datasets import DataSet
from solver.arc.tasks import MAX_SIDE, TaskError, parse_grid
from solver.training.published import FilesRead, Gathered, Pairs

STARTING = 120.0
"""Seconds that a process may take until it has imported all generators."""
FAILURES = 5
"""Times that a generator may be too slow or fail before it is given up."""
FEWEST_PAIRS = 20
"""A generator that gives fewer pairs is left out."""


class Generators:
    """The generators of a checkout, answered by another process, which is killed and replaced when it takes longer
    than `limit` seconds. ValueError if the checkout cannot be imported."""

    def __init__(self, checkout: Path, limit: float) -> None:
        self.checkout, self.limit = checkout.resolve(), limit
        if not (self.checkout / "task_list.py").is_file():
            raise ValueError(f"{checkout}: is no checkout of ARC-GEN: it has no task_list.py")
        self.ids: list[str] = self._start()

    def _start(self) -> list[str]:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, str(self.checkout)), daemon=True)
        self.process.start()
        far.close()
        answer = self._answer(STARTING)
        if not isinstance(answer, list):
            self.close()
            raise ValueError(f"{self.checkout}: its task_list cannot be used: {answer or 'it took too long'}")
        return answer

    def _answer(self, seconds: float) -> Any:
        """What the process says within so many seconds, None for nothing."""
        with suppress(EOFError, ConnectionError):
            if self.pipe.poll(seconds):
                return self.pipe.recv()
        return None

    def ask(self, task_id: str, seed: int | None) -> dict[str, Any] | None:
        """A pair `{input, output}` of a task drawn with `seed`, or with None the task itself; None if the generator
        failed or took too long."""
        self.pipe.send((task_id, seed))
        answer = self._answer(self.limit)
        if answer is None:
            self.close()
            self._start()
        return answer if isinstance(answer, dict) else None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def __enter__(self) -> Generators:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gather(
    checkout: Path, known: Mapping[str, DataSet], pairs: Mapping[str, int], *, limit: float, progress: FilesRead
) -> Gathered:
    """For each set of `known`, by name, of each of its tasks that ARC-GEN has a generator of, `pairs[name]` pairs. A
    task of several sets counts for the first. `limit`: seconds a pair.

    Seeds count from 0 for each task, twice as many as pairs at most. Left out are generators that do not reproduce
    every pair of their task and those with fewer than FEWEST_PAIRS; pairs that were there before, have a side above
    MAX_SIDE, or change nothing where no pair of the task does so.
    """
    gathered = Gathered()
    wanted = {task.id: (name, data) for name, data in reversed(list(known.items())) for task in data.tasks}
    with Generators(checkout, limit) as generators:
        ids = sorted(set(generators.ids) & set(wanted))
        gathered.left_out["generators of tasks that are in none of the sets"] = len(generators.ids) - len(ids)
        for done, task_id in enumerate(ids, 1):
            name, data = wanted[task_id]
            official = _official(data, task_id)
            claimed = generators.ask(task_id, None)
            if claimed is None or _content([*claimed["train"], *claimed["test"]]) != Counter(map(_key, official)):
                gathered.left_out["generators that do not reproduce their task"] += 1
            else:
                still = any(np.array_equal(before, after) for before, after in official)
                found = _draw(generators, task_id, pairs[name], still, gathered.left_out)
                if len(found) >= FEWEST_PAIRS:
                    gathered.tasks.append((task_id, found))
                else:
                    gathered.left_out[f"generators with fewer than {FEWEST_PAIRS} pairs"] += 1
            progress(done, len(ids))
    return gathered


def _draw(generators: Generators, task_id: str, count: int, still: bool, left_out: Counter[str]) -> Pairs:
    """Up to `count` different pairs; `still`: an output may equal its input."""
    found: dict[object, tuple[Any, Any]] = {}
    failures = 0
    for seed in range(2 * count):
        if len(found) == count or failures == FAILURES:
            break
        drawn = generators.ask(task_id, seed)
        if drawn is None:
            failures += 1
            left_out["pairs that took too long or failed"] += 1
            continue
        try:
            before, after = (parse_grid(drawn[key], f"{task_id}: {key}") for key in ("input", "output"))
        except TaskError:
            left_out[f"pairs with a side above {MAX_SIDE} or no grid at all"] += 1
            continue
        if (key := _key((before, after))) in found:
            left_out["pairs that were there before"] += 1
        elif not still and np.array_equal(before, after):
            left_out["pairs that change nothing"] += 1
        else:
            found[key] = before, after
    return list(found.values())


def _official(data: DataSet, task_id: str) -> Pairs:
    task = next(task for task in data.tasks if task.id == task_id)
    supports = [(pair.input, pair.output) for pair in task.support]
    return [*supports, *zip(task.test_inputs, data.solutions[task_id], strict=True)]


def _content(pairs: list[dict[str, Any]]) -> Counter[object]:
    """The pairs of a task, in whatever order."""
    try:
        return Counter(_key([parse_grid(pair[key], "") for key in ("input", "output")]) for pair in pairs)
    except (TaskError, KeyError, TypeError):
        return Counter()


def _key(pair: Any) -> object:
    return tuple((grid.shape, grid.tobytes()) for grid in pair)


def _serve(pipe: Connection, checkout: str) -> None:
    """The other process: sends the ids, then answers until nobody asks any more."""
    sys.path.insert(0, checkout)
    sys.stdout = sys.stderr  # what a generator prints is no result
    try:
        tasks = importlib.import_module("task_list").task_list()
        pipe.send([str(task_id) for task_id in tasks])
    except Exception as error:  # whatever a stranger's code may raise
        pipe.send(f"{type(error).__name__}: {error}")
        return
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        while True:
            task_id, seed = pipe.recv()
            generator, validator = tasks[task_id]
            try:
                random.seed(seed)
                pipe.send(_plain(generator() if seed is not None else validator()))
            except Exception as error:  # the same; the pair is counted as failed
                pipe.send(f"{type(error).__name__}: {error}")


def _plain(value: Any) -> Any:
    """Nested lists and dictionaries of plain numbers, whatever they were made of."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value)
