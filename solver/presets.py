"""How hard to try, per kind of machine: configurations as functions that derive from one another."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig


@dataclass(frozen=True)
class SolveConfig:
    """What a run does with a task, and with a budget."""

    # a bundle's name, a .safetensors file or random:SIZE
    weights: str = "nano"
    # with a budget, other weights, named alike, of which further copies may be: what they get wrong is something else
    # (lab log, 48)
    also: tuple[str, ...] = ()
    # loop steps to run, None for as many as the weights were trained with
    loops: int | None = None
    # tasks adapted at once on canvases up to 16, fewer on larger ones
    stack: int = 1
    # the recipe of fine-tuning
    adapt: AdaptConfig = AdaptConfig()
    # how a test input is looked at
    predict: PredictConfig = PredictConfig()
    # of a job's seconds, what fine-tuning may take
    adapt_share: float = 0.88
    # a copy per support, trained without it, instead of one copy
    leave_one_out: bool = False
    # how candidates are ranked, see `voting.rules`
    rule: str = "confidence"
    # of a budget, what the first copies of all tasks take
    first_share: float = 0.15
    # share of the views at which a task whose supports are learned needs no further copy
    agreed: float = 0.9
    # copies of a task at most
    max_copies: int = 64
    # with a budget, steps of a copy at most, in place of `adapt.steps`: a longer one is worth less than a further one
    # (lab log, 48)
    budget_steps: int = 600
    # with a budget, whether further copies may see a task zoomed, where its sides are 15 at most and the weights have
    # patches of 2 x 2, see `solver.run.planner`
    may_zoom: bool = True

    @property
    def networks(self) -> dict[str, str]:
        """All weights of the run: what a copy's log row calls them, "" for the run's own -> what they are loaded by."""
        return {"": self.weights} | {name: name for name in self.also}

    def of(self, weights: str) -> SolveConfig:
        """The same with other weights, and further copies of no others; `weights` may be several names, divided by
        commas, of which those after the first are for further copies alone. ValueError if one is named twice."""
        first, *others = weights.split(",")
        if not all((first, *others)) or len({first, *others}) <= len(others):
            raise ValueError(f"weights {weights!r}: name each once, divided by commas")
        return replace(self, weights=first, also=tuple(others))

    def within(self, budget: float | None) -> SolveConfig:
        """The same for a run with so many seconds; without a budget a task has one copy, of the first weights, as it
        is."""
        return self if budget is not None else replace(self, also=(), may_zoom=False)

    def at(self, zoom: int) -> SolveConfig:
        """The same for a copy that sees its task so many times as large."""
        augmentation = replace(self.adapt.augmentation, zoom=zoom)
        return replace(
            self, adapt=replace(self.adapt, augmentation=augmentation), predict=replace(self.predict, zoom=zoom)
        )


def chosen(
    kind: str,
    weights: str | None = None,
    *,
    steps: int | None = None,
    views: int | None = None,
    leave_one_out: bool = False,
) -> SolveConfig:
    """The preset for a kind of device, "cpu", "cuda" or "mps", with what the user asked for in it, or its own
    weights. Apple's GPUs get the one of a CPU until somebody has tried them."""
    config = gpu() if kind == "cuda" else cpu()
    config = replace(config if weights is None else config.of(weights), leave_one_out=leave_one_out)
    if steps is not None:
        config = replace(config, adapt=replace(config.adapt, steps=steps))
    if views is not None:
        config = replace(config, predict=replace(config.predict, views=views))
    return config


def cpu() -> SolveConfig:
    """One task at a time and core, bundled `nano` weights, which were trained for two of their four loop steps: in the
    time a CPU has, twice as many fine-tuning steps with half of the loop steps solve more (lab log, 5); on tokens of
    2 x 2 cells larger batches pay (18). Further copies may be of `small`, which errs elsewhere (48)."""
    return SolveConfig(also=("small",), adapt=AdaptConfig(batch=16, lr=3e-3))


def gpu() -> SolveConfig:
    """Many tasks at once, all the views, and the larger `small` weights with all four loop steps, which cost a GPU no
    more; that they solve more there is not shown (lab log, 28, 29). Further copies may be of `nano`, which was measured
    on CPUs alone (48)."""
    return replace(
        cpu(),
        weights="small",
        also=("nano",),
        stack=32,
        adapt=AdaptConfig(steps=400, batch=16),
        budget_steps=1000,
        predict=PredictConfig(views=256, chunk=64),
    )
