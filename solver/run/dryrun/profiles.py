"""Kinds of machines, and how fast they are taken to be. What a profile says about a machine that was not measured is
an estimate; each number has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Profile:
    """A machine whose time a dry run simulates."""

    name: str  # what `--profile` takes
    text: str  # one line for people
    devices: int | None = None  # how many it has; None: as many as this machine
    rate: float | None = None  # FLOP/s that a device sustains for this kind of work; None: speeds are measured here
    dispatch: float = 0.0  # seconds of the host that an operation of torch takes, on a GPU where a step waits for it
    memory: float | None = None  # bytes of a device
    dtype: torch.dtype | None = None  # of the activations
    known_as: str = ""  # part of the name that torch gives the device

    @property
    def gpu(self) -> bool:
        return self.rate is not None


# ESTIMATE, all rates, wrong by a factor of two perhaps; no such card was at hand. The networks are narrow, so most of
# a step is reading and writing activations, and a small share of the peak is reached. Of an H100 (790 TFLOP/s
# measured, dense bfloat16) VARC's training, 512 wide, reaches 5%.
H100 = 40e12
# ESTIMATE: 0.15 of an H100 by its peak (121 TFLOP/s), 0.09 by its memory (300 GB/s): between the two.
L4 = 4.8e12
# ESTIMATE: half of an L4. Its peak (65 TFLOP/s, float16) is half of an L4's, its memory as fast (320 GB/s), but its
# cache a twelfth, and float16 needs the losses scaled.
T4 = 2.4e12
# ESTIMATE: no tensor cores and no fast float16, so float32: 9.3 TFLOP/s peak, of which small products reach a fifth.
# Its memory is twice as fast as an L4's (732 GB/s), and float32 needs twice as much of it.
P100 = 2.0e12
# ESTIMATE: eager torch hands out an operation in 5 to 10 us on a server processor; many of those counted are views of
# tensors, which cost less, and Kaggle's virtual processors are slow, which costs more.
DISPATCH = 8e-6
HOST = 5e-6
"""The same on the faster host that an H100 usually has."""
# ESTIMATE: a process that uses a GPU opens its context and loads CUDA's libraries besides.
CUDA_STARTUP = 5.0
"""Seconds."""

GB = 1e9
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("l4x4", "four L4, as Kaggle lends them", 4, L4, DISPATCH, 22 * GB, torch.bfloat16, "L4"),
        Profile("t4x2", "two T4, as Kaggle lends them", 2, T4, DISPATCH, 15 * GB, torch.float16, "T4"),
        # Recent builds of torch leave this card out; solving then falls back to the CPU.
        Profile("p100", "one P100, with a torch built for it", 1, P100, DISPATCH, 16 * GB, torch.float32, "P100"),
        Profile("h100", "one H100", 1, H100, HOST, 80 * GB, torch.bfloat16, "H100"),
        # ESTIMATE: a Kaggle session without a GPU has four processors; each is taken to be as fast as one here.
        Profile("cpu", "four processors, as in a Kaggle session without a GPU", 4),
        Profile("here", "this machine"),
    )
}


def find(name: str) -> Profile:
    """The profile with this name; ValueError if there is none."""
    if name not in PROFILES:
        raise ValueError(f"no profile is called {name!r}; choose from {', '.join(PROFILES)}")
    return PROFILES[name]
