"""Fine-tuning recipes and weights compared by how likely they make the truth, which tells more than hits do.

    python benchmarks/recipes.py --steps 60 --recipe lr=2e-3 --recipe lr=4e-3
    python benchmarks/recipes.py --seconds 10 --weights nano checkpoints/nano/nano.safetensors --limit 24
    python benchmarks/recipes.py --seconds 20 --large --recipe batch=8 --recipe batch=4

Held-out ARC-1 training tasks, one core each, a copy each, no schedule. A score of 48 tasks moves in steps of 2
points; the likelihood of the true output under each view moves with everything. Columns: `nats`, the mean over
tasks of minus the log-likelihood of the truth per grid and border cell, cut at 3 a task; `views`, the share of
single views whose answer is right; `two attempts` under the rule confidence; and the mean difference of the first
two from the first row, task by task, with its standard error. `--seconds` are of processor time, so that other
work on the machine takes nothing away.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch
from tqdm import tqdm

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Grid, Task
from solver.device import compute_dtype, cpu_count, prepare
from solver.learn.adapt import adapt
from solver.learn.ballot import counted
from solver.learn.batches import Slot
from solver.learn.canvas import pack, task_canvas
from solver.learn.predict import draw_views, likelihoods, look
from solver.learn.recipe import AdaptConfig
from solver.model import unstack
from solver.probes.measured import mark
from solver.seeds import stable_seed
from solver.weights import checkpoint
from voting import Pool

CPU = torch.device("cpu")
WORST = 3.0
"""Nats a cell at which a task's loss is cut: a blind guess is 2.5, and one task gone astray must not decide."""


@dataclass(frozen=True)
class Trial:
    """What to do with a task: `weights`, loop steps to run (None: as many as the weights say), a recipe and its
    limit in processor `seconds` (None: the recipe's steps)."""

    weights: str
    loops: int | None
    config: AdaptConfig
    seconds: float | None
    views: int
    seed: int


@dataclass(frozen=True)
class Mark:
    """One task: mean nats a cell of the truth, shares of views and of outputs (two attempts) right, steps taken."""

    nats: float
    views: float
    both: float
    steps: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", default=["nano"])
    parser.add_argument("--recipe", action="append", help="changes to AdaptConfig, such as lr=1e-3,batch=16")
    parser.add_argument("--loops", type=int, help="loop steps to run (default: the weights' own)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--seconds", type=float, help="processor seconds of one fine-tuning")
    limits.add_argument("--steps", type=int, default=60, help="optimizer steps of one fine-tuning")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--limit", type=int, default=48)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="the 16 large held-out tasks instead of the small ones")
    parser.add_argument("--workers", type=int, default=cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = datasets.load("arc1-train")
    ids = datasets.held_out(data, small=0) if arguments.large else datasets.held_out(data, large=0)
    by_id = {task.id: task for task in data.tasks}
    tasks = [by_id[i] for i in ids[arguments.skip :][: arguments.limit]]
    base = presets.cpu().adapt
    base = replace(base, steps=arguments.steps if arguments.seconds is None else 10**6)
    rows: list[tuple[str, list[Mark]]] = []
    with ProcessPoolExecutor(arguments.workers) as crew:
        for weights in arguments.weights:
            for recipe in arguments.recipe or [""]:
                trial = Trial(
                    weights, arguments.loops, changed(base, recipe), arguments.seconds, arguments.views, arguments.seed
                )
                jobs = crew.map(functools.partial(measure, trial), tasks, (data.solutions[t.id] for t in tasks))
                marks = list(tqdm(jobs, total=len(tasks), desc=f"{weights} {recipe}", dynamic_ncols=True))
                rows.append((f"{weights} {recipe}".strip(), marks))
                print(line(*rows[-1], rows[0][1]), flush=True)
    limit = f"{arguments.seconds:g} processor seconds" if arguments.seconds else f"{arguments.steps} steps"
    print(f"\n{len(tasks)} held-out tasks, {limit} each, {arguments.views} views, seed {arguments.seed}")
    print(f"{'':44}  nats  views  two attempts  steps   nats and views against the first row")
    for name, marks in rows:
        print(line(name, marks, rows[0][1]))


def changed(config, recipe: str):
    """`config` with the changes of a `recipe`, "name=value,name=value"; names of its augmentation too."""
    for part in filter(None, recipe.split(",")):
        name, value = part.split("=")
        inside = not hasattr(config, name) and hasattr(config, "augmentation")
        holder = config.augmentation if inside else config
        kind = type(getattr(holder, name))
        new = replace(holder, **{name: value == "True" if kind is bool else kind(value)})
        config = replace(config, augmentation=new) if inside else new
    return config


def measure(trial: Trial, task: Task, truths: list[Grid]) -> Mark:
    """Fine-tunes on the supports of a task, then looks at its test inputs; only the marks know the truth."""
    prepare(CPU, threads=1)
    network = loaded(trial.weights, trial.loops)
    where = {"device": CPU, "dtype": compute_dtype(CPU)}
    size = task_canvas(task, network.config.canvas)
    slot = Slot(task.support, stable_seed(trial.seed, task.id, 0, "adapt"))
    adapted = adapt(network, [slot], size, trial.config, seconds=trial.seconds, clock=time.process_time, **where)
    single = unstack(adapted.network, 0)
    seen = [_seen(single, task, index, truth, size, trial, where) for index, truth in enumerate(truths)]
    pools, nats = zip(*seen, strict=True)
    marks = mark(pools, task.test_inputs, truths, "confidence")
    return Mark(min(statistics.mean(nats), WORST), marks.views, marks.both, adapted.steps[0])


@functools.lru_cache(maxsize=4)
def loaded(weights: str, loops: int | None):
    return checkpoint.load(weights, loops=loops)


@torch.inference_mode()
def _seen(network, task: Task, index: int, truth: Grid, size: int, trial: Trial, where) -> tuple[Pool, float]:
    """The pool of a test input, and the mean nats a cell of the truth under its views."""
    config = replace(presets.cpu().predict, views=trial.views)
    views, place = draw_views(task, index, size, config, stable_seed(trial.seed, task.id, 0, "views", index, 0))
    chunks = look(network, task, index, views, place, size, config, **where)
    log_probs = torch.cat([steps[-1][0].log_softmax(-1) for _, _, steps, _ in chunks])
    cells = (truth.shape[0] + 1) * (truth.shape[1] + 1) * place.scale**2
    nats = -likelihoods(pack([truth]), log_probs, views, place, size)[0] / cells
    return counted(log_probs, views, place, size).pool(), float(nats.mean())


def line(name: str, marks: list[Mark], first: list[Mark]) -> str:
    mean = {key: statistics.mean(getattr(m, key) for m in marks) for key in ("nats", "views", "both", "steps")}
    told = f"{name[-44:]:44} {mean['nats']:5.3f} {mean['views']:6.1%} {mean['both']:13.1%} {mean['steps']:6.0f}"
    if marks is first:
        return told
    nats = [b.nats - a.nats for a, b in zip(first, marks, strict=True)]
    views = [100 * (b.views - a.views) for a, b in zip(first, marks, strict=True)]
    return f"{told}   {_spread(nats, 3)} nats, {_spread(views, 1)} points"


def _spread(values: list[float], digits: int) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):+.{digits}f} +- {error:.{digits}f}"


if __name__ == "__main__":
    main()
