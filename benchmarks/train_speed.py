"""How fast training runs, as a share of what the same device multiplies in the same minute.

    python benchmarks/train_speed.py                          # toy and nano on a CPU; nano and base on a GPU
    python benchmarks/train_speed.py --models base --canvas 16 24 32 --seconds 5

Floating-point operations are counted from the configuration, as the dry run counts them: products with matrices, those
of attention, convolutions and the head, forward once and backward twice; norms and embeddings are not counted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from solver.device import pick_device, prepare, training_dtype
from solver.model import MODELS
from solver.model.flops import forward_flops
from solver.text import aligned
from solver.training.presets import TRAIN_PRESETS, nano
from solver.training.pretrain import Trainer
from solver.training.sources import collect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS))
    parser.add_argument("--canvas", nargs="+", type=int)
    parser.add_argument("--cells", type=int, help="canvas cells in a batch (default: the preset's)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time for each line")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    prepare(device)
    gpu = device.type == "cuda"
    models = arguments.models or (["nano", "base"] if gpu else ["toy", "nano"])
    sizes = arguments.canvas or ([16, 24, 32] if gpu else [8, 12])
    if not gpu:
        print("no GPU: a small setting on the CPU")
    sources = collect(max_side=max(sizes) - 1)
    rows = []
    for name in models:
        for size in sizes:
            preset = TRAIN_PRESETS[name]()
            config = replace(nano(), model=MODELS[name], mix={size: 1.0}, half_loops=0.0)
            config = replace(config, batch_cells=arguments.cells or preset.batch_cells)
            trainer = Trainer(config, sources, device)
            begun = time.monotonic()
            rate = _samples_per_second(trainer, arguments.seconds)
            tera = rate * forward_flops(config.model, size, trained=True) / 1e12
            peak = product_rate(device, trainer.dtype)
            ready = time.monotonic() - begun - arguments.seconds
            tokens = rate * config.model.tokens(size)
            speeds = (f"{rate:.0f}", f"{tokens:.0f}", f"{tera:.2f}", f"{peak:.2f}", f"{tera / peak:.1%}", ready)
            rows.append((name, size, config.batch_cells // size**2, *speeds))
            print(*rows[-1], flush=True)
    print(f"\n{_describe(device)}, torch {torch.__version__}, {training_dtype(device)}")
    columns = ("model", "canvas", "batch", "samples/s", "tokens/s", "TFLOP/s", "product", "share", "warm-up")
    print("\n".join(aligned(columns, rows, left=("model",))))


def _samples_per_second(trainer: Trainer, seconds: float) -> float:
    for _ in range(3):
        trainer.train_step(0.3)
    _wait(trainer.device)
    before, begun = trainer.samples, time.monotonic()
    while time.monotonic() - begun < seconds:
        trainer.train_step(0.3)
        _wait(trainer.device)
    return (trainer.samples - before) / (time.monotonic() - begun)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of a large matrix product on random data, the best of a few."""
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(8):
        begun = time.monotonic()
        for _ in range(4):
            a @ b
        _wait(device)
        best = max(best, 4 * 2 * side**3 / (time.monotonic() - begun) / 1e12)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
