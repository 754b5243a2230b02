"""What the fused passes and Muon in float32 save on a CPU: plain and fused alternate in one run.

    python benchmarks/fused_speed.py
    python benchmarks/fused_speed.py --canvas 12 32 --repeats 20

One thread. A figure is the least processor time of the repeats, so that other work on the machine disturbs little. The
plain step is what the network does without `solver.model.fused`, with Muon's products in bfloat16, as torch's own has
them. `share`: operations counted as in train_speed.py, over what a large product reaches in the same minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from solver.arc import datasets
from solver.arc.expected import needed_side
from solver.device import compute_dtype, prepare
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.canvas import choose_size
from solver.learn.predict import predict
from solver.model import fused, unstack
from solver.model.flops import forward_flops
from solver.presets import cpu
from solver.training.muon import Muon
from solver.training.presets import nano
from solver.training.pretrain import Trainer
from solver.training.sources import Sources, collect
from solver.weights import checkpoint

CPU, STEPS = torch.device("cpu"), 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--canvas", nargs="+", type=int, default=[8, 12, 16, 24, 32])
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    prepare(CPU, 1)
    sources = collect(max_side=max(arguments.canvas) - 1)
    print(f"one thread, torch {torch.__version__}, {compute_dtype(CPU)}; ms of processor time, plain -> fused\n")
    print("canvas  product  training step (share)          fine-tuning step (share)       64 views")
    for size in arguments.canvas:
        peak = Fastest(functools.partial(torch.matmul, *torch.randn(2, 1024, 1024).to(compute_dtype(CPU))))
        training = Compared(*training_step(size, sources))
        tuning, views = (Compared(task, contextlib.nullcontext) for task in solving(size))
        for _ in range(arguments.repeats):
            for timed in (training, tuning, views, peak):
                timed.run()
        rate = 2 * 1024**3 / peak.best
        one = forward_flops(replace(nano().model, loops=2), size, trained=True) / rate
        texts = (training.text(nano().batch_cells // size**2 * one), tuning.text(cpu().adapt.batch * one, STEPS))
        print(f"{size:6}  {rate / 1e9:7.0f}  {texts[0]:30} {texts[1]:30} {views.text()}", flush=True)


class Fastest:
    """The least processor time, in seconds, of what is run again and again."""

    def __init__(self, task: Callable[[], object]) -> None:
        self.task, self.best = task, float("inf")

    def run(self) -> None:
        begun = time.thread_time()
        self.task()
        self.best = min(self.best, time.thread_time() - begun)


class Compared:
    """The same for a task in turn as it was, within `before()` and without fused passes, and as it is."""

    def __init__(
        self, task: Callable[[], object], before: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> None:
        self.before, self.plain, self.fused = before, Fastest(task), Fastest(task)
        task()

    def run(self) -> None:
        with fused.plain(), self.before():
            self.plain.run()
        self.fused.run()

    def text(self, least: float | None = None, steps: int = 1) -> str:
        """Both times of one of the `steps` that were taken, and what they are to the `least` that products need."""
        old, new = self.plain.best / steps, self.fused.best / steps
        shares = f" ({least / old:.0%} -> {least / new:.0%})" if least else ""
        return f"{1e3 * old:.0f} -> {1e3 * new:.0f}, {old / new:.2f}x{shares}"


def training_step(
    size: int, sources: Sources
) -> tuple[Callable[[], object], Callable[[], contextlib.AbstractContextManager[None]]]:
    """A step of `nano` on canvases of `size`, and the context in which Muon multiplies in bfloat16."""
    trainer = Trainer(replace(nano(), mix={size: 1.0}), sources, CPU)
    muon = next(optimizer for optimizer in trainer.optimizers if isinstance(optimizer, Muon))

    @contextlib.contextmanager
    def half() -> Iterator[None]:
        dtype, muon.dtype = muon.dtype, torch.bfloat16
        yield
        muon.dtype = dtype

    return lambda: trainer.train_step(0.7), half


def solving(size: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """STEPS steps of fine-tuning of one task, its start included, and the views of its test input."""
    tasks = datasets.load("arc1-train").tasks
    task = next(task for task in tasks if choose_size(needed_side(task)) == size)
    network, config, dtype = checkpoint.load("nano"), cpu(), compute_dtype(CPU)
    slot, short = Slot(task.support, 0), replace(config.adapt, steps=STEPS, patience=10**6)
    tuned = unstack(adapt(network, [slot], size, short, device=CPU, dtype=dtype).network, 0)
    return (
        lambda: adapt(network, [slot], size, short, device=CPU, dtype=dtype),
        lambda: predict(tuned, task, 0, size, config.predict, seed=0, device=CPU, dtype=dtype),
    )


if __name__ == "__main__":
    main()
