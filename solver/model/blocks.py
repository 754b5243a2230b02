"""One block: tokens are mixed by attention with rotary positions and QK-norm (or by an MLP), then each passes a gated
MLP with a 3x3 depthwise convolution (LoopViT puts it there too). Norms stand before the layers, or after the residual
as in TRM. Shape suffixes: N task, B batch, L token, D width, E another width, P prefix."""

from __future__ import annotations

import functools
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solver.model.config import ModelConfig
from solver.model.stacking import linear, spread


def fused_for(x: Tensor) -> ModuleType | None:
    """The module `fused` where its passes are for activations like `x`, those of a CPU; else None. It is not imported
    before it is needed, for numba comes with it."""
    if x.device.type != "cpu":
        return None
    from solver.model import fused

    return fused if fused.usable(x) else None


def norm(x: Tensor, skip: int = 0) -> Tensor:
    """RMS norm over the last axis, without weights, of x (..., L, D) without its first `skip` tokens."""
    if fast := fused_for(x):
        normal: Tensor = fast.norm(x, skip)
        return normal
    return F.rms_norm(x[..., skip:, :], (x.shape[-1],))


def branch(x: Tensor) -> tuple[Tensor, Tensor]:
    """x and its norm, for a residual layer."""
    if fast := fused_for(x):
        both: tuple[Tensor, Tensor] = fast.branch(x)
        return both
    return x, norm(x)


def inject(state: Tensor, added: Tensor, step: Tensor) -> Tensor:
    """The norm of the state, plus what is added to it, (N, B, L, D) both, plus a parameter `step`, (D,) or (N, D)."""
    if fast := fused_for(state):
        injected: Tensor = fast.inject(state, added, step)
        return injected
    return norm(state) + added + spread(step, added.dim(), added.dtype)


Rotary = tuple[Tensor, Tensor]


@functools.lru_cache(maxsize=32)
def rotary_table(
    side: int, prefix: int, head: int, dtype: torch.dtype, device: torch.device, kind: str = "2d"
) -> Rotary:
    """Cosines and sines (P + side², head / 2) of the angles by which cells are turned; prefix tokens are not.

    `kind` "2d": the first half of the angles turns with the row, the second with the column; "1d": all with the
    place in reading order; "none": nothing is turned."""
    with torch.inference_mode(False):  # the cached table must serve training too, whoever asked first
        angle = torch.cat([torch.zeros(prefix, head // 2), _angles(side, head // 2, kind)])
        return angle.cos().to(device, dtype), angle.sin().to(device, dtype)


def _angles(side: int, count: int, kind: str) -> Tensor:
    """Angles (side², count), in radians."""
    if kind == "none":
        return torch.zeros(side * side, count)
    if kind == "1d":
        frequency = 10000.0 ** -(torch.arange(count, dtype=torch.float32) / count)
        return torch.arange(side * side, dtype=torch.float32)[:, None] * frequency
    half = count // 2
    frequency = 32.0 ** -(torch.arange(half, dtype=torch.float32) / half)
    line = torch.arange(side, dtype=torch.float32)
    row = (line[:, None] * frequency)[:, None, :].expand(side, side, half)
    column = (line[:, None] * frequency)[None, :, :].expand(side, side, half)
    return torch.cat([row, column], dim=-1).reshape(side * side, count)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the halves of (batch, L, ..., head) against each other by the angles (L, head / 2)."""
    a, b = x.chunk(2, dim=-1)
    shape = (x.shape[1], *[1] * (x.dim() - 3), -1)
    cos, sin = cos.view(shape), sin.view(shape)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Unscaled attention over (batch, heads, L, head). On a CPU in bf16 two batched products beat the fused
    kernel, whose bf16 backward is slow there (4x at 158 tokens); everywhere else the fused kernel runs."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return (q @ k.transpose(-1, -2)).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


class Attention(nn.Module):
    """Multi-head attention over prefix and cells. Queries and keys are unit vectors (QK-norm) times a
    sharpness learned per head, which starts where plain attention would be."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Parameter(torch.randn(config.width, 3 * config.width) * config.width**-0.5)
        self.sharpness = nn.Parameter(torch.full((config.heads,), (config.width // config.heads) ** 0.25))
        self.out = nn.Parameter(torch.zeros(config.width, config.width))

    def forward(self, x_NBLD: Tensor, rotary: Rotary) -> Tensor:
        tasks, batch, length, width = x_NBLD.shape
        head = width // self.heads
        qkv = linear(x_NBLD, self.qkv)
        if head % 16 == 0 and (fast := fused_for(qkv)):
            return linear(fast.attention(qkv, self.sharpness, *rotary), self.out)
        qkv = qkv.reshape(tasks * batch, length, 3, self.heads, head)
        qk = rotate(norm(qkv[:, :, :2]), *rotary).reshape(tasks, batch, length, 2, self.heads, head)
        # rms norm leaves vectors of length head**0.5, so both factors together give |q||k| = sharpness².
        scale = (self.sharpness * head**-0.5).to(qk.dtype).reshape(-1, 1, 1, 1, self.heads, 1)
        q, k = (qk * scale).reshape(tasks * batch, length, 2, self.heads, head).transpose(1, 3).unbind(2)
        mixed = attend(q, k, qkv[:, :, 2].transpose(1, 2))
        return linear(mixed.transpose(1, 2).reshape(tasks, batch, length, width), self.out)


class TokenMixer(nn.Module):
    """A gated MLP over the tokens of one canvas size, the same for every channel, in place of attention: TRM's variant
    for small boards. As wide inside as there are tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.canvas, self.length = config.canvas, config.tokens(config.canvas)
        self.up = nn.Parameter(torch.randn(self.length, 2 * self.length) * self.length**-0.5)
        self.down = nn.Parameter(torch.zeros(self.length, self.length))

    def forward(self, x_NBLD: Tensor, rotary: Rotary) -> Tensor:
        """(N, B, L, D) for the one L there is; `rotary` is not used, for the weights know every place."""
        if x_NBLD.shape[2] != self.length:
            raise ValueError(f"mixer 'mlp' is for canvases of {self.canvas} alone, not for {x_NBLD.shape[2]} tokens")
        gate, value = linear(x_NBLD.transpose(2, 3), self.up).chunk(2, dim=-1)
        return linear(F.silu(gate) * value, self.down).transpose(2, 3)


class GatedMLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(config.width, 2 * config.hidden) * config.width**-0.5)
        self.conv = nn.Parameter(torch.randn(config.hidden, 3, 3) / 3) if config.convolution else None
        self.down = nn.Parameter(torch.zeros(config.hidden, config.width))

    def forward(self, x_NBLD: Tensor, side: int) -> Tensor:
        up = linear(x_NBLD, self.up)
        if self.conv is not None and up.shape[-1] % 16 == 0 and (fast := fused_for(up)):
            return linear(fast.gate(up, self.conv, side), self.down)
        gate, value = up.chunk(2, dim=-1)
        if self.conv is not None:
            prefix = value.shape[2] - side * side
            cells = value[:, :, prefix:]
            cells = cells + depthwise(cells, self.conv, side)
            value = torch.cat([value[:, :, :prefix], cells], dim=2)
        return linear(F.silu(gate) * value, self.down)


def depthwise(x_NBLE: Tensor, weight_E33: Tensor, side: int) -> Tensor:
    """3x3 depthwise convolution over the token grid; weight (E, 3, 3), or (N, E, 3, 3) for a stack."""
    tasks, batch, _, width = x_NBLE.shape
    image = x_NBLE.reshape(tasks, batch, side, side, width).permute(1, 0, 4, 2, 3)
    image = image.reshape(batch, tasks * width, side, side)
    kernel = weight_E33.reshape(-1, 1, 3, 3).to(image.dtype)
    image = F.conv2d(image, kernel, padding=1, groups=tasks * width)
    image = image.reshape(batch, tasks, width, side * side).permute(1, 0, 3, 2)
    return image


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.post = config.style == "post"
        self.attention = Attention(config) if config.mixer == "attention" else TokenMixer(config)
        self.mlp = GatedMLP(config)

    def forward(self, x_NBLD: Tensor, side: int, rotary: Rotary) -> Tensor:
        """One step on (N, B, P + side², D); `rotary` from `rotary_table`."""
        if self.post:
            x_NBLD = norm(x_NBLD + self.attention(x_NBLD, rotary))
            return norm(x_NBLD + self.mlp(x_NBLD, side))
        x_NBLD, normal_NBLD = branch(x_NBLD)
        x_NBLD = x_NBLD + self.attention(normal_NBLD, rotary)
        x_NBLD, normal_NBLD = branch(x_NBLD)
        x_NBLD = x_NBLD + self.mlp(normal_NBLD, side)
        return x_NBLD
