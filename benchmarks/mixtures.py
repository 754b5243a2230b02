"""What seconds buy: fine-tuned copies of several kinds, each made once and kept, and any mixture of them voted.

    python benchmarks/mixtures.py --make nano-250:4,small-250:2 --limit 16      # processor minutes a task; goes on
    python benchmarks/mixtures.py --mix nano-250 --mix nano-250:1+small-250:1 --budgets 5,30,300

A copy of a kind (see KINDS) is fine-tuned for its steps, or until it has learned its supports, and its views are kept
with the processor seconds that all of it took, in checkpoints/mixtures/KIND.jsonl; the same command goes on after a
stop. A mixture takes copies of its kinds in turn, as many as there are, or as it says behind a colon, and as a budget
has seconds for, and votes on their views as a run does. Columns: two attempts and, in brackets, the truth among the
candidates, then the copies and the seconds that a task took. Small held-out ARC-1 training tasks, which no bundled
weights have seen.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from recipes import changed
from scoring import CPU, canvas_of, held_out_tasks, loaded
from tqdm import tqdm

from solver import presets
from solver.arc.tasks import Grid, Task
from solver.device import compute_dtype, cpu_count, prepare
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.predict import predict
from solver.model import unstack
from solver.probes.measured import Marks, mark
from solver.results.intervals import mean_share
from solver.seeds import stable_seed
from solver.text import aligned
from voting.copies import merged
from voting.files import parse_pool, pool_record
from voting.lines import append_lines, read_lines


@dataclass(frozen=True)
class Kind:
    """How a copy is made: weights, steps, loop steps (None: the weights' own), changes to the CPU's recipe, and whether
    it sees a task zoomed, where the largest canvas has room for that."""

    weights: str
    steps: int
    loops: int | None = None
    recipe: str = ""
    zoomed: bool = False


SYSTEMS = "checkpoints/systems"
"""Where `python benchmarks/systems.py --seed 1 --only nano,ierm-nano` leaves weights of another seed and network."""

KINDS = {
    **{f"nano-{steps}": Kind("nano", steps) for steps in (50, 100, 250, 1000, 3000)},
    **{f"zoomed-{steps}": Kind("nano", steps, zoomed=True) for steps in (16, 40, 100, 250, 600)},
    **{f"small-{steps}": Kind("small", steps) for steps in (100, 250, 1000)},
    "small-zoomed-100": Kind("small", 100, zoomed=True),
    "nano-250-adamw": Kind("nano", 250, recipe="optimizer=adamw"),
    "nano-250-4-loops": Kind("nano", 250, loops=4),
    "small-100-2-loops": Kind("small", 100, loops=2),
    "nano-600-slow": Kind("nano", 600, recipe="lr=1e-3,task_lr=3e-3"),
    **{f"{size}-1000-random": Kind(f"random:{size}", 1000) for size in ("nano", "small")},
    "seed1-250": Kind(f"{SYSTEMS}/nano-seed1/nano.safetensors", 250),
    "ierm-250": Kind(f"{SYSTEMS}/ierm-nano-seed1/ierm-nano.safetensors", 250),
}
VIEWS = 32
"""Views of each test input, by every copy."""


@dataclass(frozen=True)
class Copy:
    """What is kept of a copy: processor seconds, and the pool's record for each test input of its task."""

    seconds: float
    pools: list[dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make", default="", help=f"copies to be made, KIND:COUNT,...; kinds: {', '.join(KINDS)}")
    parser.add_argument("--mix", action="append", default=[], metavar="KIND+KIND:COUNT",
                        help="kinds that take turns, so many copies of each at most; may be repeated")  # fmt: skip
    parser.add_argument("--budgets", default="5,30,300", help="processor seconds a task")
    parser.add_argument("--limit", type=int, default=16, help="tasks")
    parser.add_argument("--workers", type=int, default=cpu_count())
    parser.add_argument("--out", type=Path, default=Path("checkpoints/mixtures"))
    arguments = parser.parse_args(argv)
    try:
        wanted = dict(_count(part) for part in _parts(arguments.make, ","))
        mixtures = {name: dict(_limit(part) for part in _parts(name, "+")) for name in arguments.mix}
        budgets = [float(seconds) for seconds in _parts(arguments.budgets, ",")]
        if unknown := ({*wanted, *itertools.chain(*mixtures.values())} - set(KINDS)):
            raise ValueError(f"no kind is called {min(unknown)!r}; there are {', '.join(KINDS)}")
    except ValueError as error:
        print(f"mixtures: {error}", file=sys.stderr)
        return 2
    tasks, truths = held_out_tasks(arguments.limit)
    make(wanted, tasks, arguments.out, arguments.workers)
    if mixtures:
        print("\n".join(curve(mixtures, budgets, tasks, truths, arguments.out)))
    return 0


def _count(text: str) -> tuple[str, int]:
    """`KIND:COUNT` -> the two."""
    kind, _, count = text.partition(":")
    if not count.isdigit():
        raise ValueError(f"{text!r}: write KIND:COUNT")
    return kind, int(count)


def _limit(text: str) -> tuple[str, int | None]:
    """`KIND` or `KIND:COUNT` -> the two, without a count None."""
    return _count(text) if ":" in text else (text, None)


def _parts(text: str, separator: str) -> list[str]:
    return [part for part in text.split(separator) if part]


def make(wanted: dict[str, int], tasks: list[Task], out: Path, workers: int) -> None:
    """Makes what is missing of so many copies of each kind for every task, the first copies of all tasks first."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for kind, count in wanted.items():
        there = kept(out, kind)
        jobs += [(n, kind, task) for n in range(count) for task in tasks if n not in there.get(task.id, {})]
    with ProcessPoolExecutor(workers) as crew:
        running = {
            crew.submit(fine_tuned, KINDS[kind], task, n): (kind, task.id, n)
            for n, kind, task in sorted(jobs, key=lambda job: job[0])
        }
        try:
            for done in tqdm(as_completed(running), total=len(running), desc="copies", dynamic_ncols=True):
                kind, task_id, n = running[done]
                copy = done.result()
                row = {"task": task_id, "copy": n, "seconds": copy.seconds, "pools": copy.pools}
                append_lines(out / f"{kind}.jsonl", [row])
        except BaseException:  # raised again; what is not begun would only be waited for
            crew.shutdown(wait=False, cancel_futures=True)
            raise


def fine_tuned(how: Kind, task: Task, number: int) -> Copy:
    """One copy of a kind; test outputs are not given to it."""
    prepare(CPU, threads=1)
    began = time.process_time()
    network = loaded(how.weights, how.loops)
    where: dict[str, Any] = {"device": CPU, "dtype": compute_dtype(CPU)}
    size, zoom = canvas_of(task, network.config, zoomed=how.zoomed)
    config = presets.cpu().at(zoom)
    recipe = replace(changed(config.adapt, how.recipe), steps=how.steps)
    slot = Slot(task.support, stable_seed(0, task.id, number, "adapt"))
    adapted = adapt(network, [slot], size, recipe, **where)
    single, look = unstack(adapted.network, 0), replace(config.predict, views=VIEWS)
    pools = []
    for index in range(len(task.test_inputs)):
        seed = stable_seed(0, task.id, number, "views", index)
        with torch.inference_mode():
            pool = predict(single, task, index, size, look, seed=seed, **where)
        pool.steps, pool.settled = adapted.steps[0], adapted.settled[0]
        pool.zoom, pool.weights = zoom, how.weights
        pools.append(pool_record(task.id, index, number, pool))
    return Copy(round(time.process_time() - began, 2), pools)


def kept(out: Path, kind: str) -> dict[str, dict[int, Copy]]:
    """Task id -> number -> copy."""
    found: dict[str, dict[int, Copy]] = {}
    for _, row in read_lines(out / f"{kind}.jsonl"):
        found.setdefault(row["task"], {})[row["copy"]] = Copy(row["seconds"], row["pools"])
    return found


def curve(
    mixtures: dict[str, dict[str, int | None]],
    budgets: list[float],
    tasks: list[Task],
    truths: dict[str, list[Grid]],
    out: Path,
) -> list[str]:
    """The table: a row for each mixture, its kinds with the most copies of each, and a column for each budget."""
    rows = []
    for name, kinds in mixtures.items():
        copies = {kind: kept(out, kind) for kind in kinds}
        row: list[Any] = [name]
        for budget in budgets:
            have = [[in_order(copies[kind].get(task.id, {}))[:most] for kind, most in kinds.items()] for task in tasks]
            spent = [taken(each, budget) for each in have]
            marks = [voted(task, truths[task.id], chosen) for task, chosen in zip(tasks, spent, strict=True)]
            both, oracle = mean_share([m.both for m in marks]), statistics.mean(m.oracle for m in marks)
            count, none = statistics.mean(map(len, spent)), spent.count([])
            seconds = statistics.mean(sum(copy.seconds for copy in chosen) for chosen in spent)
            row.append(
                f"{both} ({oracle:.0%}), {count:.1f} copies, {seconds:.0f} s"
                + (f", {none} tasks without" if none else "")
            )
        rows.append(row)
    head = ["mixture", *(f"{budget:g} s" for budget in budgets)]
    return aligned(head, rows, left=head)


def in_order(copies: dict[int, Copy]) -> list[Copy]:
    """By number, for in the file those stand first that were finished first."""
    return [copies[number] for number in sorted(copies)]


def taken(kinds: list[list[Copy]], budget: float) -> list[Copy]:
    """Copies of the kinds in turn, those for which the budget has seconds; none where the first does not fit."""
    chosen: list[Copy] = []
    for copy in (copy for turn in itertools.zip_longest(*kinds) for copy in turn if copy is not None):
        if sum(one.seconds for one in chosen) + copy.seconds > budget:
            break
        chosen.append(copy)
    return chosen


def voted(task: Task, truth: list[Grid], copies: list[Copy]) -> Marks:
    """The marks of a vote of all views of these copies; all wrong without any."""
    if not copies:
        return Marks()
    by_test = zip(*[[parse_pool(record)[2] for record in copy.pools] for copy in copies], strict=True)
    return mark([merged(pools) for pools in by_test], task.test_inputs, truth, "confidence")


if __name__ == "__main__":
    sys.exit(main())
