"""A pretend device: its tensors have a shape, a type and a place but no data, so that code written for a GPU runs,
forward and backward, on a machine without one and at no cost.

Two faults are seen here that a CPU alone cannot show: a tensor of the CPU that meets one of the device, which is an
error, and a wait for the device, which is noted with its line. Bytes held are counted. Tensors of the CPU are real.
Not seen: what happens within an operation on a GPU, and what `torch.compile` would make of it.
"""

from __future__ import annotations

import contextlib
import functools
import linecache
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

ROOT = Path(__file__).parents[1]
aten = torch.ops.aten


class Pretend(TorchDispatchMode):
    """`waits`: in order, the lines of the project where the host would wait for the device, to copy from it or to it or
    to read a value. What is read is `reads` of the tensor that has no data. `live`, `peak`: bytes on the device now
    and at most since they were set; what is there already when this begins does not count. More than `room` bytes are
    an error like a full card's."""

    def __init__(self, reads: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.device, self.fake = _register()
        self.reads = reads
        self.waits: list[str] = []
        self.live = self.peak = 0
        self.room = float("inf")
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        there = [t for t in tensors if isinstance(t, FakeTensor)]
        target = torch.device(kwargs.get("device") or self.device)
        if func is torch.ops.prim.device.default or (not there and ("device" not in kwargs or target.type == "cpu")):
            return func(*args, **kwargs)
        with self:  # in inference mode whole functions arrive here, to be taken apart
            if (made := func.decompose(*args, **kwargs)) is not NotImplemented:
                return made
        if func is aten._local_scalar_dense.default:
            self.waits.append(_line())
            return self.reads(there[0]).item()
        mixed = len(there) < len(tensors)
        if func in (aten._to_copy.default, aten.copy_.default):
            if mixed or target.type == "cpu":
                self.waits.append(_line())
            args = pytree.tree_map_only(torch.Tensor, self._without_data, args)
        elif mixed:
            raise RuntimeError(f"{_line()}: {func} mixes a tensor of the CPU with one of the device")
        with self.fake:
            made = func(*args, **kwargs | ({"generator": None} if "generator" in kwargs else {}))
        return pytree.tree_map_only(FakeTensor, self._note, made)

    def _without_data(self, tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        with self.fake:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=self.device)

    def _note(self, made: FakeTensor) -> torch.Tensor:
        if made.device.type == "cpu":
            return self.reads(made)
        storage = made.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
            if self.live > self.room:
                raise torch.OutOfMemoryError(f"out of memory on the pretend device: {self.live} of {self.room} bytes")
        return made

    def _forget(self, which: int, size: int) -> None:
        self._known.discard(which)
        self.live -= size


def ones(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of ones on the CPU."""
    return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")


@contextlib.contextmanager
def pretend(reads: Callable[[torch.Tensor], torch.Tensor] = ones) -> Iterator[Pretend]:
    """Within, tensors can be on the `device` of what is given. Attention and RMS norm are one operation each there, and
    keep no more for the backward pass than on a GPU."""
    with (
        Pretend(reads) as mode,
        mock.patch.object(torch, "Generator", _generator),
        mock.patch.object(F, "scaled_dot_product_attention", _attention),
        mock.patch.object(F, "rms_norm", _rms_norm),
        mock.patch.object(FakeTensor, "__deepcopy__", _copy),
        contextlib.ExitStack() as stack,
    ):
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)  # so torch.tensor(..., device=...) is a copy from the CPU
        yield mode


class _Module(_DummyBackendModule):
    """What `torch.manual_seed` asks of a device."""

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass


@functools.cache
def _register() -> tuple[torch.device, FakeTensorMode]:
    """Once for a process, which cannot be undone."""
    _setup_privateuseone_for_python_backend("npy", _Module())
    return torch.device("npy", 0), FakeTensorMode()


GENERATOR, RMS_NORM = torch.Generator, F.rms_norm


def _generator(device: torch.device | str = "cpu") -> torch.Generator:
    return GENERATOR()  # none can be made for this device; what it draws there has no value anyway


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float) -> torch.Tensor:
    if q.device.type == "cpu":
        return torch._C._nn.scaled_dot_product_attention(q, k, v, scale=scale)
    mixed: torch.Tensor
    if q.dtype == torch.float32:
        mixed = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, scale=scale)[0]
    else:
        mixed = aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[0]
    return mixed


class _Norm(torch.autograd.Function):
    """torch would make it of many operations here, with copies in float32; for CUDA it has one, which keeps its input
    and a number a row."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, _ = ctx.saved_tensors
        return torch.empty_like(x)


def _rms_norm(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    normal: torch.Tensor = RMS_NORM(x, shape) if x.device.type == "cpu" else _Norm.apply(x)
    return normal


def _copy(tensor: FakeTensor, memo: dict[int, torch.Tensor]) -> torch.Tensor:
    if id(tensor) not in memo:
        copy = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        memo[id(tensor)] = torch.nn.Parameter(copy) if isinstance(tensor, torch.nn.Parameter) else copy
    return memo[id(tensor)]


def _line() -> str:
    """The line of the project that runs, with its text."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path != Path(__file__) and path.is_relative_to(ROOT) and "site-packages" not in path.parts:
            text = linecache.getline(str(path), frame.f_lineno).strip()
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}: {text}"
        frame = frame.f_back
    return "outside of the project"
