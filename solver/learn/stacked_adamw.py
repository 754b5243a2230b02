"""AdamW, and Muon for matrices, for a stack of copies, each with a rate, a clipping and a momentum of its own; and, for
float16, with a loss scale of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from solver.learn.orthogonal import FEWER, update
from solver.model import Network


def rows(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One number a copy, (N,), shaped to broadcast against a parameter (N, ...)."""
    return value.view(-1, *[1] * (like.dim() - 1))


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


class StackedAdamW:
    """AdamW without decay. `rates`: the peak rate of every parameter of `stacked`, in order; `muon`: whether it is a
    matrix that is moved as Muon does (none given: no one is), with `products` of that type. The gradient of each copy,
    over all its weights, is clipped to the norm `clip`."""

    BETAS, EPS = (0.9, 0.98), 1e-8
    scale: torch.Tensor | None = None
    """What the loss of each copy is to be multiplied by, (N,); None for one."""

    def __init__(
        self,
        stacked: Network,
        rates: Sequence[float],
        clip: float,
        muon: Sequence[bool] = (),
        products: torch.dtype = torch.float32,
    ) -> None:
        self.parameters = list(stacked.parameters())
        self.peaks, self.clip, self.muon = list(rates), clip, list(muon) or [False] * len(self.parameters)
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p[:, :0] if m else p) for p, m in zip(self.parameters, self.muon, strict=True)]
        self.updates = 0
        self.products = products

    def keep(self, stacked: Network, copies: torch.Tensor) -> None:
        """Goes on with `stacked`, which holds only `copies` (indices) of the stack so far."""
        self.parameters = list(stacked.parameters())
        for state in (self.mean, self.square):
            for index, value in enumerate(state):
                state[index] = value[copies]

    def lost(self) -> torch.Tensor | None:
        """Bool (N,): copies that cannot be trained on; None if there is no such thing."""
        return None

    @torch.no_grad()
    def step(self, factor: torch.Tensor) -> None:
        """One update with rates `factor` (N,) times the peaks; clears the gradients."""
        self.updates += 1
        gradients = [_gradient(p) for p in self.parameters]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        gradients = [g * rows(scale, g) for g in gradients]
        first, second = self.BETAS
        torch._foreach_lerp_(self.mean, gradients, 1 - first)
        others = [index for index, moved in enumerate(self.muon) if not moved]
        squares, seen = [self.square[index] for index in others], [gradients[index] for index in others]
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, seen, seen, 1 - second)
        root = torch._foreach_sqrt(squares)
        torch._foreach_div_(root, (1 - second**self.updates) ** 0.5)
        torch._foreach_add_(root, self.EPS)
        divisors = dict(zip(others, root, strict=True))
        for index, (p, gradient, mean, peak) in enumerate(
            zip(self.parameters, gradients, self.mean, self.peaks, strict=True)
        ):
            if self.muon[index]:
                p.sub_(rows(factor * peak, p) * update(gradient, mean, first, self.products, FEWER))
            else:
                p.sub_(rows(factor * (peak / (1 - first**self.updates)), p) * mean / divisors[index])
            p.grad = None


class ScaledAdamW(StackedAdamW):
    """The same for activations in float16, whose small gradients would vanish: the loss of each copy is multiplied
    by its own `scale` before it is differentiated, and the gradients are divided by it here.

    Where a copy's gradients are not finite, that copy alone skips the update and halves its scale; after `PATIENCE`
    updates without such an event it doubles it. A copy whose scale falls below `FLOOR` is lost.
    """

    START, FLOOR, CEILING, PATIENCE = 2.0**13, 1.0, 2.0**20, 200
    scale: torch.Tensor

    def __init__(self, stacked: Network, rates: Sequence[float], clip: float, muon: Sequence[bool] = ()) -> None:
        super().__init__(stacked, rates, clip, muon)
        first = self.parameters[0]
        self.scale = torch.full((len(first),), self.START, device=first.device)
        self.streak = torch.zeros_like(self.scale)
        self.count = torch.zeros_like(self.scale)

    def keep(self, stacked: Network, copies: torch.Tensor) -> None:
        super().keep(stacked, copies)
        self.scale, self.streak, self.count = self.scale[copies], self.streak[copies], self.count[copies]

    def lost(self) -> torch.Tensor | None:
        return self.scale < self.FLOOR

    @torch.no_grad()
    def step(self, factor: torch.Tensor) -> None:
        """As `StackedAdamW.step`, for the gradients of the scaled loss. Nothing here waits for the device."""
        gradients = [_gradient(p).div_(rows(self.scale, p)) for p in self.parameters]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        fine = norm.isfinite()
        clip = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        self.count += fine
        first, second = self.BETAS
        steps = self.count.clamp(min=1)
        rate, root = factor * fine / (1 - first**steps), (1 - second**steps).sqrt()
        state = zip(self.parameters, gradients, self.mean, self.square, self.peaks, self.muon, strict=True)
        for p, gradient, mean, square, peak, moved in state:
            use = rows(fine, p)
            gradient = torch.where(use, gradient * rows(clip, p), 0.0)
            mean.lerp_(gradient, (1 - first) * use)
            if moved:
                p.sub_(rows(factor * fine * peak, p) * update(gradient, mean, first, self.products, FEWER))
            else:
                square.lerp_(gradient.square(), (1 - second) * use)
                p.sub_(rows(rate * peak, p) * mean / (square.sqrt() / rows(root, p) + self.EPS))
            p.grad = None
        self.streak = torch.where(fine, self.streak + 1, 0.0)
        grown = self.streak >= self.PATIENCE
        self.streak = self.streak.masked_fill(grown, 0.0)
        larger = torch.where(grown, (2 * self.scale).clamp(max=self.CEILING), self.scale)
        self.scale = torch.where(fine, larger, self.scale / 2)
