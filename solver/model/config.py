"""`ModelConfig`, what may be combined in it, and the sizes that have a name."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

STEP_NAMES = {"looped": "loop step", "trm": "supervision step"}
"""What a step that could answer is called, by recursion."""

LEAST_VOCABULARY = 12
"""Ten colours, background and border, which every canvas has; see `solver.learn.canvas`."""

CHOICES = {
    "recursion": ("looped", "trm"),
    "supervision": ("last", "all", "detached", "dis", "halting"),
    "corruption": ("input", "noise"),
    "style": ("pre", "post"),
    "mixer": ("attention", "mlp"),
    "rotary": ("2d", "1d", "none"),
    "patch": (1, 2),
}


@dataclass(frozen=True)
class ModelConfig:
    """What the network is, and how its loop steps are taught; a bundle's card holds it. ValueError for what cannot
    be combined."""

    width: int = 128  # of a token's state
    heads: int = 4  # of attention; width is a multiple of 4 x heads
    hidden: int = 256  # width inside the gated MLP
    blocks: int = 2  # different blocks in one pass of the network
    loops: int = 4  # loop steps; with recursion "trm" these are the supervision steps
    patch: int = 1  # canvas cells a side that make one token, 1 or 2
    task_tokens: int = 4  # learned tokens that say which task it is; 0 only beside a program
    recursion: str = "looped"  # one state, or "trm": an answer y and a latent z
    cycles: int = 1  # trm: H, cycles in a supervision step; only the last has a gradient
    inner: int = 1  # trm: L, updates of z in a cycle, before the one of y
    supervision: str = "all"  # which loop steps are compared with what, see `solver.learn.objective`
    corruption: str = "input"  # dis: what stands in the cells of a target that are not the truth yet
    style: str = "pre"  # blocks normalise before their layers, or "post", after the residual
    mixer: str = "attention"  # what mixes tokens: attention, or "mlp", an MLP over the tokens of one canvas size
    canvas: int = 0  # mlp: that one canvas size
    convolution: bool = True  # a 3x3 depthwise convolution inside the gated MLP
    rotary: str = "2d"  # positions in attention: row and column, "1d" the reading order, or "none"
    program_tokens: int = 0  # latent tokens that an encoder reads from example pairs; 0: there is no encoder
    examples: int = 3  # with a program: example pairs shown at once
    encoder_blocks: int = 1  # with a program: blocks run over each example pair
    vocabulary: int = 12  # tokens that a canvas cell can hold: ten colours, background, border, and signs after them

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} {value!r} is none of {', '.join(map(str, choices))}")
        if self.vocabulary < LEAST_VOCABULARY:
            raise ValueError(f"vocabulary {self.vocabulary}: ten colours, background and border are {LEAST_VOCABULARY}")
        if self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 4 x heads = {4 * self.heads}")
        if self.recursion == "trm" and self.supervision in ("last", "all"):
            raise ValueError(f"supervision {self.supervision!r}: recursion 'trm' needs halting, dis or detached")
        if self.recursion == "looped" and self.supervision == "halting":
            raise ValueError("supervision 'halting' ends samples at different steps, which needs recursion 'trm'")
        if self.recursion == "looped" and (self.cycles, self.inner) != (1, 1):
            raise ValueError(f"cycles {self.cycles} and inner {self.inner} are for recursion 'trm'")
        if (self.mixer == "mlp") != (self.canvas > 0) or self.canvas % self.patch:
            raise ValueError(f"canvas {self.canvas}: mixer 'mlp' is for one canvas size, attention for all (0)")
        if self.mixer == "mlp" and self.program_tokens:
            raise ValueError("mixer 'mlp': a program encoder needs attention")
        if not self.task_tokens and not self.program_tokens:
            raise ValueError("task_tokens 0 and no program: nothing would say which task it is")

    def against(self, other: ModelConfig) -> str:
        """What is otherwise here than in `other`: "recursion trm, not looped; loops 2, not 4"; empty if nothing is."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return "; ".join(f"{name} {here}, not {there}" for name, here, there in pairs if here != there)

    @property
    def step_name(self) -> str:
        """What a step is called, see `STEP_NAMES`."""
        return STEP_NAMES[self.recursion]

    @property
    def prefix(self) -> int:
        """Tokens in front of the cells: the task's, the program's, and one for each colour."""
        return self.task_tokens + self.program_tokens + 10

    def tokens(self, size: int) -> int:
        """Tokens of a canvas of `size`, prefix included."""
        return self.prefix + (size // self.patch) ** 2

    @property
    def passes(self) -> int:
        """Blocks run in one loop step."""
        return self.blocks * (1 if self.recursion == "looped" else self.cycles * (self.inner + 1))

    @property
    def trained_passes(self) -> int:
        """Blocks of one loop step that a gradient goes through."""
        return self.blocks * (1 if self.recursion == "looped" else self.inner + 1)

    @property
    def detached(self) -> bool:
        """Whether every loop step is a graph of its own."""
        return self.supervision in ("detached", "dis", "halting")


NANO = ModelConfig(patch=2)
TRM_NANO = replace(
    NANO,
    recursion="trm",
    cycles=2,
    supervision="halting",
    style="post",
    convolution=False,
    rotary="1d",
)
TRM = replace(TRM_NANO, width=512, heads=8, hidden=1536, loops=16, patch=1, cycles=3, inner=4)
DIS_NANO = replace(TRM_NANO, loops=3, cycles=1, supervision="dis")
MODELS = {
    "toy": ModelConfig(width=32, heads=2, hidden=48, blocks=1, loops=2, task_tokens=2),
    "nano": NANO,
    "small": replace(NANO, width=256, heads=8, hidden=512),
    "base": ModelConfig(width=512, heads=8, hidden=1024, blocks=2, loops=6, patch=2, task_tokens=4),
    "trm-nano": TRM_NANO,
    "trm-mlp-nano": replace(TRM_NANO, mixer="mlp", canvas=16, hidden=384, rotary="none"),
    "dis-nano": DIS_NANO,
    "ierm-nano": replace(NANO, width=96, hidden=192, loops=3, program_tokens=8),
    "trm": TRM,
    "trm-mlp": replace(TRM, mixer="mlp", canvas=32, patch=2, rotary="none"),
    "dis-small": replace(DIS_NANO, width=256, heads=8, hidden=768, blocks=1, loops=6, patch=1, inner=2),
    "ierm": ModelConfig(384, 8, 704, 2, 3, patch=2, program_tokens=16),
}
"""Parameters without the task table: toy 11 thousand; nano, trm-nano, trm-mlp-nano, dis-nano and ierm-nano 0.35
million at most; dis-small 0.9, small 1.4, ierm 4.9, trm-mlp 5.2, base 5.3 and trm 6.8 million. See docs/systems.md."""
