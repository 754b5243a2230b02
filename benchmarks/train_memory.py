"""Memory and arithmetic of one pretraining step on each canvas, counted without a GPU and without any data.

    python benchmarks/train_memory.py
    python benchmarks/train_memory.py --preset base --supervision detached --cells 131072

The trainer's own step runs on a pretend device (see `pretend.py`), in bfloat16, and every byte that would be there is
counted: weights, their average, optimizer, gradients, and what is kept for the backward pass. Eager: what
`torch.compile` saves by fusing is not taken off. Not counted: gaps in the allocator's memory, the buffers of libraries
and the pairs of RE-ARC. Arithmetic is that of matrix products, attention and convolutions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any
from unittest import mock

import torch
from pretend import Pretend, pretend
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from solver.text import aligned
from solver.training import pretrain
from solver.training.optimizer import OPTIMIZERS
from solver.training.presets import TRAIN_PRESETS, TrainConfig
from solver.training.sources import Sources, collect


@dataclass(frozen=True)
class StepCost:
    """Of one step: floating-point operations; bytes of weights, average, optimizer and pairs, there `before` it; of all
    that is `kept` from its forward for its backward pass; and of everything at its `peak`."""

    flops: int
    before: int
    kept: int
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=list(TRAIN_PRESETS), default="base")
    parser.add_argument("--supervision", choices=("last", "all", "detached"))
    parser.add_argument("--optimizer", choices=OPTIMIZERS)
    parser.add_argument("--cells", type=int, help="canvas cells in a batch (default: the preset's)")
    arguments = parser.parse_args()
    config = TRAIN_PRESETS[arguments.preset]()
    config = replace(
        config,
        model=replace(config.model, supervision=arguments.supervision or config.model.supervision),
        optimizer=arguments.optimizer or config.optimizer,
        batch_cells=arguments.cells or config.batch_cells,
    )
    sources = collect(config.target, max_side=config.max_side)
    tasks, loops = len(sources.pairs.ids), config.model.loops
    taught = f"{config.optimizer}, supervision {config.model.supervision}"
    print(f"{config.name}, {taught}, {loops} loop steps, {tasks} tasks\n")
    columns = ("canvas", "samples", "tokens", "TFLOP a step", "GB before", "GB kept for backward", "GB in all")
    rows = []
    for size in tqdm(config.mix, desc="canvas sizes", leave=False):
        cost, samples = step_cost(config, sources, size), config.batch_cells // size**2
        bytes = (f"{count / 1e9:.2f}" for count in (cost.before, cost.kept, cost.peak))
        rows.append((size, samples, samples * config.model.tokens(size), f"{cost.flops / 1e12:.2f}", *bytes))
    print("\n".join(aligned(columns, rows)))


def step_cost(config: TrainConfig, sources: Sources, size: int, dtype: torch.dtype = torch.bfloat16) -> StepCost:
    """The cost of the second step on canvases of `size`, with all loop steps, when the optimizer has its state."""
    config = replace(config, mix={size: 1.0})
    with pretend() as device, mock.patch.object(pretrain, "training_dtype", return_value=dtype):
        trainer = pretrain.Trainer(config, sources, device.device)
        trainer.train_step(0.9)
        for optimizer in trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)
        before = device.peak = device.live
        with _Kept(device) as kept, FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            trainer.train_step(0.9)
    return StepCost(counter.get_total_flops(), before, kept.most, device.peak)


class _Kept:
    """Watches `Tensor.backward`: `most` is the largest growth of the device's memory that it was called with."""

    def __init__(self, device: Pretend) -> None:
        self.device, self.begun, self.most = device, device.live, 0

    def __enter__(self) -> _Kept:
        whole = torch.Tensor.backward

        def backward(tensor: torch.Tensor, *rest: Any, **named: Any) -> None:
            self.most = max(self.most, self.device.live - self.begun)
            whole(tensor, *rest, **named)

        self.patch = mock.patch.object(torch.Tensor, "backward", backward)
        self.patch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.patch.stop()


def _convolution_backward(
    gradient: Sequence[int],
    inputs: object,
    weight: Sequence[int],
    *rest: object,
    out_shape: object = None,
    **named: object,
) -> int:
    """Twice the forward pass. torch's own formula takes a depthwise convolution for a dense one."""
    return 2 * 2 * prod(gradient) * prod(weight[1:])


FORMULAS = {torch.ops.aten.convolution_backward: _convolution_backward}

if __name__ == "__main__":
    main()
