"""Small networks and tasks that several tests use."""

from dataclasses import replace

import numpy as np
import torch

from solver.arc.tasks import Pair
from solver.model import ModelConfig, Network

CPU = torch.device("cpu")
TOY = ModelConfig(width=32, heads=2, hidden=48, blocks=1, patch=2, task_tokens=2)
POST = replace(TOY, style="post", convolution=False, recursion="trm", supervision="halting")
SYSTEMS = {
    "trm": replace(POST, loops=3, cycles=3, inner=2, rotary="1d"),
    "trm-mlp": replace(POST, loops=2, cycles=2, rotary="none", mixer="mlp", canvas=8),
    "dis": replace(POST, loops=3, inner=2, supervision="dis"),
    "ierm": replace(TOY, loops=3, program_tokens=3, examples=2),
    "program alone": replace(TOY, task_tokens=0, loops=2, program_tokens=3, supervision="detached"),
    "trm with a program, pre": replace(
        TOY, recursion="trm", loops=2, cycles=2, supervision="detached", program_tokens=2
    ),
}
"""A toy of every system."""


def shaken(config, tasks=1, seed=0):
    """A network whose zero-initialised matrices are not zero, so that everything takes part."""
    torch.manual_seed(seed)
    network = Network(config, tasks)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return network


def inputs(copies, batch, size, tasks=1, seed=0):
    """Random canvases, tasks, elements and palettes for a network."""
    g = torch.Generator().manual_seed(seed)
    canvas = torch.randint(0, 12, (copies, batch, size, size), generator=g)
    task = torch.randint(0, tasks, (copies, batch), generator=g)
    elements = torch.randint(0, 8, (copies, batch), generator=g)
    palettes = torch.rand(copies, batch, 10, generator=g).argsort(-1)
    return canvas, task, elements, palettes


def given(config, copies=1, batch=2, seed=0):
    """Inputs for a network, with examples where it needs them."""
    examples = None
    if config.program_tokens:
        generator = torch.Generator().manual_seed(seed + 1)
        examples = torch.randint(0, 12, (copies, batch, config.examples, 2, 8, 8), generator=generator)
    return inputs(copies, batch, 8, seed=seed), {"examples": examples}


def copy_task(seed, size=3):
    """Supports of the rule "the output is the input"."""
    rng = np.random.default_rng(seed)
    grids = [rng.integers(0, 10, (size, size)).astype(np.uint8) for _ in range(3)]
    return [Pair(g, g) for g in grids]


def supports(seed):
    """The same, each grid from a seed of its own."""
    grids = [np.random.default_rng(seed + i).integers(0, 10, (3, 3)).astype(np.uint8) for i in range(3)]
    return [Pair(grid, grid) for grid in grids]
