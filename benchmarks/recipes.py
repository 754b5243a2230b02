"""Fine-tuning recipes and weights compared by how likely they make the truth, which tells more than hits do.

    python benchmarks/recipes.py --steps 60 --recipe lr=2e-3 --recipe lr=4e-3
    python benchmarks/recipes.py --seconds 10 --weights nano checkpoints/nano/nano.safetensors --limit 24
    python benchmarks/recipes.py --seconds 20 --large --recipe batch=8 --recipe batch=4
    python benchmarks/recipes.py --seconds 8 --recipe zoom=1 --recipe zoom=2

Held-out ARC-1 training tasks, one core each, a copy each, no schedule. A score of 48 tasks moves in steps of 2
points; the likelihood of the true output under each view moves with everything. Columns: `nats`, the mean over
tasks of minus the log-likelihood of the truth per grid and border cell, cut at 3 a task; `views`, the share of
single views whose answer is right; `two attempts` under the rule confidence; and the mean difference of the first
two from the first row, task by task, with its standard error. `--seconds` are of processor time, so that other
work on the machine takes nothing away.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from scoring import Mark, Trial, held_out_tasks, measured

from solver import presets
from solver.device import cpu_count


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
    tasks, truths = held_out_tasks(arguments.limit, arguments.skip, arguments.large)
    base = presets.cpu().adapt
    base = replace(base, steps=arguments.steps if arguments.seconds is None else 10**6)
    rows: list[tuple[str, list[Mark]]] = []
    with ProcessPoolExecutor(arguments.workers) as crew:
        for weights in arguments.weights:
            for recipe in arguments.recipe or [""]:
                trial = Trial(
                    weights, arguments.loops, changed(base, recipe), arguments.seconds, arguments.views, arguments.seed
                )
                name = f"{weights} {recipe}".strip()
                rows.append((name, measured(trial, tasks, truths, crew, name)))
                print(line(*rows[-1], rows[0][1]), flush=True)
    limit = f"{arguments.seconds:g} processor seconds" if arguments.seconds else f"{arguments.steps} steps"
    print(f"\n{len(tasks)} held-out tasks, {limit} each, {arguments.views} views, seed {arguments.seed}")
    print(f"{'':44}  nats  views  two attempts  steps   nats and views against the first row")
    for name, marks in rows:
        print(line(name, marks, rows[0][1]))


def changed(config: Any, recipe: str) -> Any:
    """`config` with the changes of a `recipe`, "name=value,name=value"; names of its augmentation too."""
    for part in filter(None, recipe.split(",")):
        name, value = part.split("=")
        inside = not hasattr(config, name) and hasattr(config, "augmentation")
        holder = config.augmentation if inside else config
        kind = type(getattr(holder, name))
        new = replace(holder, **{name: value == "True" if kind is bool else kind(value)})
        config = replace(config, augmentation=new) if inside else new
    return config


def line(name: str, marks: list[Mark], first: list[Mark]) -> str:
    mean = {key: statistics.mean(getattr(m, key) for m in marks) for key in ("nats", "views", "both", "steps")}
    text = f"{name[-44:]:44} {mean['nats']:5.3f} {mean['views']:6.1%} {mean['both']:13.1%} {mean['steps']:6.0f}"
    if marks is first:
        return text
    nats = [b.nats - a.nats for a, b in zip(first, marks, strict=True)]
    views = [100 * (b.views - a.views) for a, b in zip(first, marks, strict=True)]
    return f"{text}   {_spread(nats, 3)} nats, {_spread(views, 1)} points"


def _spread(values: list[float], digits: int) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):+.{digits}f} +- {error:.{digits}f}"


if __name__ == "__main__":
    main()
