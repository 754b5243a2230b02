"""One set of weights, or a stack of independent ones: the same layers run both.

A plain network keeps each parameter in its natural shape and works on activations (1, B, ...). A stacked
network has the same parameters with a leading task axis N and works on (N, B, ...); task n's activations
only ever meet task n's weights. Suffixes: N task, B batch, L token, D width, E another width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Kind = TypeVar("Kind", bound=nn.Module)


def linear(x_NBLD: Tensor, weight_DE: Tensor) -> Tensor:
    """`x @ weight`, with weight (D, E), or (N, D, E) for a stack, in the dtype of `x`."""
    weight_DE = weight_DE.to(x_NBLD.dtype)
    if weight_DE.dim() == 2:
        return x_NBLD @ weight_DE
    tasks, width, other = weight_DE.shape
    return (x_NBLD.reshape(tasks, -1, width) @ weight_DE).reshape(*x_NBLD.shape[:-1], other)


def lookup(table_VD: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (N, ...) of a table (V, D), or of each task's own table (N, V, D): (N, ..., D)."""
    if not table_VD.shape[-1]:  # CUDA's embedding has no gradient for rows without width: it reads where it must not
        return index[..., None][..., :0] + table_VD.sum()
    if table_VD.dim() == 2:
        return nn.functional.embedding(index, table_VD)
    tasks, rows, _ = table_VD.shape
    first = torch.arange(tasks, device=index.device) * rows
    return nn.functional.embedding(index + first.view(-1, *[1] * (index.dim() - 1)), table_VD.flatten(0, 1))


def spread(vector_D: Tensor, dims: int, dtype: torch.dtype) -> Tensor:
    """A parameter (D,) or (N, D) shaped to broadcast against activations of `dims` dimensions (N, ..., D)."""
    return vector_D.to(dtype).reshape(-1, *[1] * (dims - 2), vector_D.shape[-1])


def shared(table_TD: Tensor) -> Tensor:
    """A table (T, D) or (N, T, D) shaped to broadcast over the batch: (N or 1, 1, T, D)."""
    return table_TD[None, None] if table_TD.dim() == 2 else table_TD[:, None]


def stack(network: Kind, copies: int, device: torch.device | None = None) -> Kind:
    """`copies` independent networks in one, on `device` (None: where the network is): every parameter repeated along
    a new leading axis."""
    return _with_parameters(network, lambda p: p.to(device or p.device)[None].repeat(copies, *[1] * p.dim()))


def pick(stacked: Kind, copies: Tensor) -> Kind:
    """The copies with the indices `copies`, int64 (M,), of a stack: a smaller stack."""
    return _with_parameters(stacked, lambda p: p[copies])


def unstack(stacked: Kind, task: int) -> Kind:
    """Copy `task` of a stack, as a plain network."""
    return _with_parameters(stacked, lambda p: p[task].clone())


def _with_parameters(network: Kind, change: Callable[[Tensor], Tensor]) -> Kind:
    """A copy of the network whose parameters are `change` of its own, which are not copied first."""
    changed = {id(p): nn.Parameter(change(p.detach())) for p in network.parameters()}
    return copy.deepcopy(network, memo=changed)
