"""Training configurations as plain functions, each beside what it changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from solver.learn.augment import Augmentation
from solver.model import MODELS, ModelConfig


@dataclass(frozen=True)
class TrainConfig:
    """`mix`: canvas size -> share of the batches. `batch_cells`: canvas cells in a batch, whatever the size.
    Shares of the budget: `warmup`, the rate rises; `half_loops`, half of the loops are run; `plain`, pairs are
    only moved and scaled, not turned or recoloured; `decay`, at the end, the rate falls. `bundle_dtype`: what the
    finished weights are stored as, float32 or bfloat16."""

    name: str = "nano"
    model: ModelConfig = MODELS["nano"]
    target: str = "arc1-eval"
    mix: dict[int, float] = field(default_factory=lambda: {8: 0.05, 12: 0.35, 16: 0.25, 24: 0.2, 32: 0.15})
    batch_cells: int = 6144
    max_side: int = 30
    rearc_pairs: int = 1000
    supervision: str = "all"
    optimizer: str = "muon"
    lr: float = 1e-3
    task_lr: float = 3e-3
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.998
    warmup: float = 0.01
    half_loops: float = 1.0
    plain: float = 0.5
    decay: float = 0.7
    augmentation: Augmentation = Augmentation(viewed=0.5)
    validate_seconds: float = 120.0
    checkpoint_seconds: float = 120.0
    bundle_dtype: str = "float32"


def nano() -> TrainConfig:
    """Under a million parameters: an hour on two CPU cores is a start."""
    return TrainConfig()


def toy() -> TrainConfig:
    """Seconds, for tests and rehearsals."""
    return replace(nano(), name="toy", model=MODELS["toy"], mix={8: 1.0}, batch_cells=512, max_side=7)


def base() -> TrainConfig:
    """For a GPU: all canvas sizes, patch 2, deep loops."""
    return replace(
        nano(),
        name="base",
        model=MODELS["base"],
        mix={12: 0.15, 16: 0.25, 24: 0.3, 32: 0.3},
        batch_cells=262144,
        max_side=30,
        ema=0.999,
        half_loops=0.3,
        bundle_dtype="bfloat16",
    )


def base_arc2() -> TrainConfig:
    """`base`, to be scored on ARC-2 evaluation: of ARC-2 training and ARC-1 evaluation it sees what does not leak."""
    return replace(base(), name="base-arc2", target="arc2-eval")


TRAIN_PRESETS = {"toy": toy, "nano": nano, "base": base, "base-arc2": base_arc2}
