"""What the machine offers: device, number type, threads; the switches that make it fast, and how it says that its
memory is full or that it lacks an operation."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re

import torch

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")
"""Any of these in a RuntimeError, in lower case, says that there was not enough memory."""


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is the first CUDA device, or the CPU where none can be used; anything else is a torch device name. Apple's
    GPUs, `mps`, are taken only when asked for. ValueError for one that is absent, or a card that this torch was not
    built for."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and has_kernels(torch.device("cuda")) else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is not known; try auto, cpu, cuda or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r} is not supported; try auto, cpu, cuda or mps")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {name!r}: this machine has no Apple GPU that torch can use")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine has no usable CUDA GPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA GPUs")
    if device.type == "cuda" and not has_kernels(device):
        raise ValueError(f"device {name!r}: torch {torch.__version__} was not built for {_architecture(device)}")
    return device


def device_name(device: torch.device) -> str:
    """`cpu`, or a card's name such as `NVIDIA L4`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def has_kernels(device: torch.device) -> bool:
    """Whether this build of torch has kernels for a CUDA card: for its own architecture, an earlier one of the same
    major version, or code that the driver can translate. Recent builds leave out a P100, which then fails at its
    first kernel although CUDA is there."""
    major, minor = torch.cuda.get_device_capability(device)
    built = [re.match(r"(sm|compute)_(\d+)(\d)", name) for name in torch.cuda.get_arch_list()]
    if not any(built):
        return True  # not a list of CUDA architectures, so nothing is known
    return any(
        (int(m[2]), int(m[3])) <= (major, minor) and (m[1] == "compute" or int(m[2]) == major) for m in built if m
    )


def _architecture(device: torch.device) -> str:
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def compute_dtype(device: torch.device) -> torch.dtype:
    """The activations' type: bfloat16 where the hardware multiplies it natively (Ampere and later; x86 with
    AVX512-BF16 or AMX), float16 on cards whose tensor cores know only that (V100, T4), else float32, as on Apple GPUs.
    Weights and optimizer state are float32 everywhere."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 0):
            return torch.bfloat16
        return torch.float16 if capability >= (7, 0) else torch.float32
    if device.type == "mps":
        return torch.float32
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    native = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return torch.bfloat16 if native else torch.float32


def training_dtype(device: torch.device) -> torch.dtype:
    """`compute_dtype`, but float32 in place of float16: pretraining does not scale its loss."""
    dtype = compute_dtype(device)
    return torch.float32 if dtype == torch.float16 else dtype


def prepare(device: torch.device, threads: int | None = None) -> None:
    """Process-wide switches. Denormals cost a CPU a factor of 2.6 when trained weights are fine-tuned."""
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if device.type == "cpu":
        _keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def _keep_freed_memory() -> None:
    """Tells the C library, where it is GNU's, to keep up to half a gigabyte of what is freed, and to take large blocks
    from there too. Else a step's activations are handed back and asked for again, page by page, step after step."""
    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 32 * 2**20)  # the most that it accepts
        library.mallopt(trim_threshold, 512 * 2**20)


def cpu_count() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, its CPU allocator or Python says that there was not enough memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in NO_MEMORY)


def release(device: torch.device) -> None:
    """Gives memory that torch holds back, but does not use, to the device again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def lacking(error: BaseException) -> str | None:
    """One line about the operation that torch lacks on a device, if that is what an error of torch is about."""
    match = re.search(r"operator '([\w:.]+)' is not currently implemented for the (\w+) device", str(error))
    if match is None:
        return None
    text = f"torch {torch.__version__} has no {match[1]} on {match[2].lower()}; take --device cpu"
    return text + (", or set PYTORCH_ENABLE_MPS_FALLBACK=1" if match[2].lower() == "mps" else "")


def worker_devices(where: torch.device, workers: int | None, jobs: int) -> tuple[list[str], int]:
    """A device for each worker process on this machine, and the CPU threads of each.

    On a CPU one worker per processor, but no more than there are `jobs`; else one per GPU, and one on Apple's.
    `workers` may ask for fewer, and on a CPU for more.
    """
    if where.type == "cpu":
        count = max(1, min(workers or cpu_count(), jobs))
        return ["cpu"] * count, max(1, cpu_count() // count)
    if where.type == "mps":
        return ["mps"], 1
    count = torch.cuda.device_count() if where.index is None else 1
    first = where.index or 0
    return [f"cuda:{first + i}" for i in range(min(workers or count, count))], 1
