"""How hard to try, per kind of machine: configurations as functions that derive from one another."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solver.adapt import AdaptConfig
from solver.predict import PredictConfig


@dataclass(frozen=True)
class SolveConfig:
    """`weights`: a bundle's name, a file or `random:SIZE`. `stack`: tasks adapted at once. `adapt_share`: of a
    job's seconds, what fine-tuning may take. `rule`: how candidates are ranked (see `voting.rules`).
    `agreed`: a task whose best candidate has this share of the views gets no further copy."""

    weights: str = "nano"
    stack: int = 1
    adapt: AdaptConfig = AdaptConfig()
    predict: PredictConfig = PredictConfig()
    adapt_share: float = 0.88
    rule: str = "product"
    agreed: float = 0.9
    max_copies: int = 4


def cpu() -> SolveConfig:
    """One task at a time and core, bundled `nano` weights."""
    return SolveConfig()


def smoke() -> SolveConfig:
    """As little as shows that everything works: seconds a task."""
    return replace(cpu(), adapt=AdaptConfig(steps=8, batch=4), predict=PredictConfig(views=8, chunk=8))


def gpu() -> SolveConfig:
    """Many tasks at once and all the views."""
    return replace(
        cpu(),
        stack=32,
        adapt=AdaptConfig(steps=400, batch=16),
        predict=PredictConfig(views=256, chunk=64),
    )
