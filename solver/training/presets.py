"""Training configurations as plain functions, each beside what it changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from solver.learn.augment import Augmentation
from solver.model import MODELS, ModelConfig

ALL_SIZES = {8: 0.05, 12: 0.35, 16: 0.25, 24: 0.2, 32: 0.15}
"""Canvas sizes of a CPU's training, small ones more often than tasks have them: they are cheap."""


CPU_CELLS = 6144
"""Canvas cells in a batch for a CPU; a GPU wants many more."""


@dataclass(frozen=True)
class TrainConfig:
    """How weights are trained. Shares are of the budget. ValueError where model and canvases do not go together."""

    name: str = "nano"  # of the bundle
    model: ModelConfig = MODELS["nano"]  # what is trained, and how its loop steps are supervised
    target: str = "arc1-eval"  # the data set that the weights will be scored on; nothing of it is trained on
    mix: dict[int, float] = field(default_factory=lambda: dict(ALL_SIZES))  # canvas size -> share of the batches
    batch_cells: int = CPU_CELLS  # canvas cells in a batch, whatever the size
    max_side: int = 30  # of a grid that is trained on
    rearc_pairs: int = 1000  # of a RE-ARC generator, at most
    arcgen_pairs: int = 500  # of an ARC-GEN generator, at most
    families: tuple[str, ...] = ()  # of more.npz: mini, 1d, tama, diva
    optimizer: str = "muon"  # for the blocks' matrices: muon or adamw
    lr: float = 1e-3  # peak rate
    task_lr: float = 3e-3  # peak rate of the task tokens
    weight_decay: float = 0.05  # of the blocks' matrices
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.998  # of the averaged weights that are kept
    warmup: float = 0.01  # share in which the rate rises
    half_loops: float = 1.0  # share in which half of the loop steps are run; 1: always
    plain: float = 0.5  # share, at the start, in which pairs are only moved and scaled, not turned or recoloured
    decay: float = 0.7  # share, at the end, in which the rate falls
    augmentation: Augmentation = Augmentation(viewed=0.5)  # how pairs are varied
    validate_seconds: float = 120.0  # between looks at the validation pairs
    checkpoint_seconds: float = 120.0  # between checkpoints
    bundle_dtype: str = "float32"  # what the finished weights are stored as, float32 or bfloat16
    bundle_tasks: bool = True  # whether the trained tokens of every task are stored beside them (1 KB a task of `nano`)

    def __post_init__(self) -> None:
        if (canvas := self.model.canvas) and set(self.mix) != {canvas}:
            sizes = ", ".join(map(str, self.mix))
            raise ValueError(f"{self.name}: mixer 'mlp' is for canvases of {canvas} alone, the mix has {sizes}")


def nano() -> TrainConfig:
    """Under a million parameters: an hour on two CPU cores is a start."""
    return TrainConfig()


def toy() -> TrainConfig:
    """Seconds, for tests and rehearsals."""
    return replace(nano(), name="toy", model=MODELS["toy"], mix={8: 1.0}, batch_cells=512, max_side=7)


def nano_gpu() -> TrainConfig:
    """`nano` for a GPU: batches 43 times as large, at a higher rate, more of them turned and recoloured, and MINI-ARC
    beside the rest."""
    return replace(
        nano(),
        name="nano-gpu",
        batch_cells=262144,
        lr=2e-3,
        ema=0.999,
        plain=0.3,
        augmentation=Augmentation(viewed=0.75),
        families=("mini",),
    )


def small() -> TrainConfig:
    """For a GPU: four times the weights of `nano`, and all four loop steps after the first 40%. For solving with a
    minute a task on a CPU core, or on a GPU."""
    return replace(nano_gpu(), name="small", model=MODELS["small"], lr=1.5e-3, half_loops=0.4, bundle_dtype="bfloat16")


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


def trm_nano() -> TrainConfig:
    """TRM for a CPU: two states, supervision steps that are detached, a halting head. All steps are run from the
    start, for the halting head ends them."""
    return replace(nano(), name="trm-nano", model=MODELS["trm-nano"], half_loops=0.0)


def trm_mlp_nano() -> TrainConfig:
    """The same with an MLP over the tokens of canvases of 16."""
    return replace(trm_nano(), name="trm-mlp-nano", model=MODELS["trm-mlp-nano"], mix={16: 1.0}, max_side=15)


def dis_nano() -> TrainConfig:
    """Deep Improvement Supervision for a CPU: a target of its own for every step."""
    return replace(nano(), name="dis-nano", model=MODELS["dis-nano"], half_loops=0.0)


def ierm_nano() -> TrainConfig:
    """IERM for a CPU: a program read from other pairs of the task, beside the task's tokens."""
    return replace(nano(), name="ierm-nano", model=MODELS["ierm-nano"], half_loops=0.0)


def trm() -> TrainConfig:
    """TRM at its published size (7 million), for a GPU; rates, decay and averaging are the paper's."""
    return replace(
        base(), name="trm", model=MODELS["trm"], half_loops=0.0, lr=1e-4, weight_decay=0.1, optimizer="adamw"
    )


def trm_mlp() -> TrainConfig:
    """The same with an MLP over the tokens of canvases of 32 (5 million)."""
    return replace(trm(), name="trm-mlp", model=MODELS["trm-mlp"], mix={32: 1.0})


def dis_small() -> TrainConfig:
    """Deep Improvement Supervision at its smaller published size (0.8 million), for a GPU."""
    return replace(trm(), name="dis-small", model=MODELS["dis-small"])


def ierm() -> TrainConfig:
    """IERM at its published size (4.9 million), for a GPU."""
    return replace(base(), name="ierm", model=MODELS["ierm"], half_loops=0.0)


TRAIN_PRESETS = {
    "toy": toy,
    "nano": nano,
    "nano-gpu": nano_gpu,
    "small": small,
    "trm-nano": trm_nano,
    "trm-mlp-nano": trm_mlp_nano,
    "dis-nano": dis_nano,
    "ierm-nano": ierm_nano,
    "base": base,
    "base-arc2": base_arc2,
    "trm": trm,
    "trm-mlp": trm_mlp,
    "dis-small": dis_small,
    "ierm": ierm,
}
