"""How much memory there is, and how many copies of a network can be adapted in it.

The first answer is an estimate, counted from the layers. On a GPU what adaptation really took is measured, and
corrects the answers that follow.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

import torch

from solver.device import cpu_count, is_out_of_memory
from solver.learn.recipe import AdaptConfig
from solver.model import ModelConfig, Network

SAFETY = 1.4
"""An estimate is multiplied by this before it is believed. On a CPU the estimate was 0.8 to 1.15 times the measured
growth of the process, over toy, nano and base, float32 and bfloat16, canvases of 8 to 24."""

USABLE = 0.9
"""Share of the free memory that is used: an allocator cannot fill it without gaps."""

UNKNOWN = 4 * 2**30
"""Bytes taken to be free where the system does not say."""


def free_bytes(device: torch.device) -> int:
    """Bytes that this process may still take: on a GPU what is free there, and what torch holds unused, on Apple's what
    the system recommends at most, less what is taken; on a CPU the available memory, divided by the processes that
    share the processors."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return _available() // max(1, cpu_count() // torch.get_num_threads())


def _available() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return UNKNOWN


class Gauge:
    """Says how many copies fit on a device; one for a process. `ratios`: what a copy took, over its estimate, the
    largest seen of each kind of network and canvas size."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ratios: dict[tuple[ModelConfig, int], float] = {}

    def ratio(self, model: ModelConfig, size: int) -> float:
        """Measured or, for what was not measured yet, `SAFETY` or the worst of the others."""
        return self.ratios.get((model, size)) or max([SAFETY, *self.ratios.values()])

    def fitting(self, network: Network, size: int, config: AdaptConfig, dtype: torch.dtype) -> int:
        """Copies of a plain `network` that can be adapted at once on canvases of `size`, one at least."""
        one = copy_bytes(network, size, config, self.device, dtype) * self.ratio(network.config, size)
        return max(1, int(USABLE * free_bytes(self.device) / one))

    @contextlib.contextmanager
    def measure(
        self, network: Network, size: int, config: AdaptConfig, dtype: torch.dtype, copies: int
    ) -> Iterator[None]:
        """Learns from the adaptation of `copies` copies that is done within: from its peak on a GPU, and everywhere
        from a lack of memory."""
        gpu = self.device.type == "cuda"
        if gpu:
            free = free_bytes(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
        try:
            yield
        except Exception as error:  # only looked at, and raised again
            if is_out_of_memory(error):
                self.ratios[network.config, size] = 2 * self.ratio(network.config, size)
            raise
        if gpu:
            taken = torch.cuda.max_memory_allocated(self.device) - before
            if taken > 0.1 * free:  # of less, the libraries' own buffers are too large a part, and little depends on it
                self.learn(network.config, size, taken / copies / copy_bytes(network, size, config, self.device, dtype))

    def learn(self, model: ModelConfig, size: int, ratio: float) -> None:
        """A copy of such a network on canvases of `size` took `ratio` times its estimate. What is kept is a tenth more,
        and never less than was kept before."""
        self.ratios[model, size] = max(1.1 * ratio, self.ratios.get((model, size), 0.0))


@functools.cache
def gauge(device: torch.device) -> Gauge:
    """The gauge of this process for a device."""
    return Gauge(device)


def copy_bytes(network: Network, size: int, config: AdaptConfig, device: torch.device, dtype: torch.dtype) -> int:
    """Estimate, without safety, of the bytes that one copy of a plain `network` needs while it is adapted on canvases
    of `size`: its weights and what the optimizer keeps, and what is saved of the forward pass for the backward."""
    model = network.config
    half = dtype != torch.float32
    weights = sum(p.numel() for p in network.parameters())
    # Weight, gradient, two moments and, in the optimizer, two temporaries, in float32; and where the activations
    # have another type, a copy in that type for every use.
    graphs = model.loops if (config.supervision or model.supervision) in ("last", "all") else 1
    state = weights * (6 * 4 + (2 * graphs if half else 0))
    tokens = config.batch * model.tokens(size)
    written_out = device.type == "cpu" and dtype == torch.bfloat16
    saved = graphs * _saved_by_loop(model, size, 2 if half else 4, written_out)
    # The backward pass of a block holds about as much again as the block saved.
    passing = saved / (graphs * model.trained_passes)
    if model.program_tokens:  # the encoder's blocks run over every example, and nothing else is as large there
        shown = model.examples * (size // model.patch) ** 2 / model.tokens(size)
        saved += graphs * shown * model.encoder_blocks * passing
    return int(state + tokens * (saved + passing))


def _saved_by_loop(model: ModelConfig, size: int, bytes: int, written_out: bool) -> float:
    """Bytes saved per token by one loop step: the blocks, the head and the loss. Counted in `solver.model.blocks`."""
    length = model.tokens(size)
    # Of width: both norms' inputs and outputs, q, k and v, q and k turned and scaled, attention's output twice.
    block = 14 * model.width
    # Of hidden: gate and value, silu, the convolution's input, value with it, the product.
    block += 6 * model.hidden
    if written_out:
        block += 2 * model.heads * length
    logits = model.patch**2 * model.vocabulary * (bytes + 3 * 4)
    return bytes * (model.trained_passes * block + 4 * model.width) + logits
