"""The bench: fine-tuning and casting ballots in a worker process, exactly as the pipeline would, arm by arm.

An arm is one way of treating a task. A key, a tuple of its names, says which. No test output is in reach here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from solver.arc.tasks import Task
from solver.learn.adapt import adapt
from solver.learn.ballot import Ballot, cast
from solver.learn.batches import Slot
from solver.learn.canvas import task_canvas
from solver.learn.predict import PredictConfig
from solver.learn.recipe import AdaptConfig
from solver.model import Network, unstack
from solver.presets import SolveConfig
from solver.seeds import stable_seed
from solver.weights import checkpoint

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Tuned:
    """A plain network after fine-tuning: optimizer `steps` taken, `settled` early or not, wall `seconds`."""

    network: Network
    steps: int = 0
    settled: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Arm:
    """What an arm gave for a task: a ballot per test input, and how long it was fine-tuned."""

    ballots: list[Ballot]
    steps: int
    settled: bool
    seconds: float


@dataclass(frozen=True)
class Bench:
    """`seconds`: wall time of one fine-tuning; None for the full `config.adapt.steps`."""

    config: SolveConfig
    seconds: float | None
    seed: int
    device: torch.device
    dtype: torch.dtype

    def untuned(self, network: Network) -> Tuned:
        """A copy of the network as it is."""
        return Tuned(copy.deepcopy(network).to(self.device).eval())

    def tune(
        self, network: Network, task: Task, *, adapt_config: AdaptConfig | None = None, seconds: float | None = None
    ) -> Tuned:
        """A copy fine-tuned on the task's supports, with the seed that the pipeline gives this task.

        FloatingPointError if its loss is not finite.
        """
        adapted = adapt(
            network,
            [Slot(task.support, stable_seed(self.seed, task.id, 0, "adapt"))],
            self.size(task),
            adapt_config or self.config.adapt,
            device=self.device,
            dtype=self.dtype,
            seconds=self.seconds if seconds is None else seconds,
        )
        if adapted.failed[0]:
            raise FloatingPointError("the loss is not finite")
        return Tuned(unstack(adapted.network, 0), adapted.steps[0], adapted.settled[0], adapted.seconds)

    def arm(self, tuned: Tuned, task: Task, predict_config: PredictConfig | None = None) -> Arm:
        """The ballots after the last loop step."""
        return self.steps(tuned, task, predict_config, every_step=False)[-1]

    def steps(
        self, tuned: Tuned, task: Task, predict_config: PredictConfig | None = None, every_step: bool = True
    ) -> list[Arm]:
        """An arm per loop step."""
        ballots = [
            cast(
                tuned.network,
                task,
                index,
                self.size(task),
                predict_config or self.config.predict,
                seed=stable_seed(self.seed, task.id, 0, "views", index, 0),
                device=self.device,
                dtype=self.dtype,
                every_step=every_step,
            )
            for index in range(len(task.test_inputs))
        ]
        return [Arm(list(step), tuned.steps, tuned.settled, tuned.seconds) for step in zip(*ballots, strict=True)]

    def size(self, task: Task) -> int:
        """The canvas that the pipeline would choose."""
        return task_canvas(task, checkpoint.model_of(self.config.weights).canvas)
