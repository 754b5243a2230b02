"""How many tasks an hour adaptation, views and voting get through, by canvas size and stack size.

    python benchmarks/adapt_speed.py
    python benchmarks/adapt_speed.py --weights base --canvas 16 32 --stack 1 16 64 --steps 50

Tasks are ARC-1 training tasks repeated to fill a stack; a few steps are measured and scaled to `--full` steps.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace

import torch

from solver import presets
from solver.arc import datasets
from solver.arc.expected import needed_side
from solver.device import compute_dtype, pick_device, prepare
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.canvas import choose_size
from solver.learn.predict import predict
from solver.model import unstack
from solver.weights import checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="random:nano")
    parser.add_argument("--canvas", nargs="+", type=int)
    parser.add_argument("--stack", nargs="+", type=int)
    parser.add_argument("--steps", type=int, default=10, help="fine-tuning steps measured")
    parser.add_argument("--full", type=int, help="fine-tuning steps a task is to get (default: the preset's)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (solving uses one a worker)")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    gpu = device.type == "cuda"
    prepare(device, None if gpu else arguments.threads)
    config = presets.gpu() if gpu else presets.cpu()
    network = checkpoint.load(arguments.weights)
    sizes = arguments.canvas or ([12, 16, 24, 32] if gpu else [8, 12, 16])
    stacks = arguments.stack or ([1, 16, 64] if gpu else [1, 2])
    full = arguments.full or config.adapt.steps
    tasks = datasets.load("arc1-train").tasks
    print(f"{arguments.weights} on {device}, {compute_dtype(device)}, {config.adapt.batch} pairs a step and task, ")
    print(f"{full} steps and {config.predict.views} views a task\n")
    print("canvas  stack  ms a step  ms a step and task  s of views  tasks an hour  peak GB")
    for size, stack in itertools.product(sizes, stacks):
        fitting = [task for task in tasks if choose_size(needed_side(task)) == size]
        chosen = list(itertools.islice(itertools.cycle(fitting), stack))
        slots = [Slot(task.support, seed) for seed, task in enumerate(chosen)]
        short = replace(config.adapt, steps=arguments.steps, patience=10**6)
        if gpu:
            torch.cuda.reset_peak_memory_stats(device)
        dtype = compute_dtype(device)
        adapt(network, slots, size, replace(short, steps=2), device=device, dtype=dtype)
        adapted = adapt(network, slots, size, short, device=device, dtype=dtype)
        begun = time.monotonic()
        predict(unstack(adapted.network, 0), chosen[0], 0, size, config.predict, seed=0, device=device, dtype=dtype)
        views = time.monotonic() - begun
        step = adapted.seconds / arguments.steps
        hour = 3600 / (step / stack * full + views)
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e9:7.1f}" if gpu else "      -"
        print(f"{size:6} {stack:6} {1e3 * step:10.1f} {1e3 * step / stack:19.1f} {views:11.2f} {hour:14.0f}  {memory}")


if __name__ == "__main__":
    main()
