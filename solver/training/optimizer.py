"""Optimizers for pretraining: Muon or AdamW for the blocks' matrices, AdamW for everything else."""

from __future__ import annotations

import torch
from torch import nn

from solver.training.muon import Muon

OPTIMIZERS = ("muon", "adamw")


def build_optimizers(
    network: nn.Module,
    kind: str,
    *,
    lr: float,
    task_lr: float,
    weight_decay: float = 0.05,
    dtype: torch.dtype = torch.bfloat16,
) -> list[torch.optim.Optimizer]:
    """One or two optimizers whose groups remember their peak rate as `peak`.

    Muon, with products in `dtype`, takes the matrices of the blocks, at AdamW's update size; the task table learns
    at `task_lr`, and only matrices decay.
    """
    assert kind in OPTIMIZERS, kind
    matrices, tables, rest = [], [], []
    for name, parameter in network.named_parameters():
        if name == "conditioning.tasks":
            tables.append(parameter)
        elif parameter.dim() == 2 and ".blocks." in name:
            matrices.append(parameter)
        else:
            rest.append(parameter)
    groups = [
        {"params": rest, "lr": lr, "weight_decay": 0.0},
        {"params": tables, "lr": task_lr, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if kind == "muon":
        optimizers.append(Muon(matrices, lr=lr, weight_decay=weight_decay, dtype=dtype))
    else:
        groups.append({"params": matrices, "lr": lr, "weight_decay": weight_decay})
    optimizers.append(torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Every group at `factor` of its peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def rate_factor(progress: float, *, warmup: float, decay: float) -> float:
    """Warm-up over the first `warmup` share of the budget, constant, linear to zero over the last `decay`."""
    return max(0.0, min(1.0, (progress + 1e-3) / warmup if warmup else 1.0, (1.0 - progress) / decay))
