"""`AdaptConfig`: the recipe of a fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from solver.learn.augment import Augmentation


@dataclass(frozen=True)
class AdaptConfig:
    """How long and how fast a copy is fine-tuned. Rates rise over `warmup` steps, stay, and fall to zero over the last
    `decay` share; a copy whose last `patience` batches were all exact, with every loss below `margin` nats, goes
    straight to its decay, over `settle` steps."""

    steps: int = 300  # batches at most
    batch: int = 8  # augmented pairs a step and copy
    lr: float = 2e-3  # peak rate of all weights but the task tokens
    task_lr: float = 1e-2  # peak rate of the task tokens
    optimizer: str = "muon"  # for the blocks' matrices: muon or adamw
    clip: float = 1.0  # largest norm of a copy's gradient
    warmup: int = 5  # steps in which the rates rise
    decay: float = 0.4  # share of the steps in which they fall
    patience: int = 12  # exact batches in a row that end a copy early
    margin: float = 0.02  # nats, the largest loss of a sample that counts as learned
    settle: int = 16  # steps of the decay of a copy that ends early
    supervision: str | None = None  # see `solver.learn.objective`; None: as the network was made for
    augmentation: Augmentation = Augmentation(max_scale=2)  # how supports are varied
