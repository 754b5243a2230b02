"""The whole network, read from top to bottom: canvases in, logits over tokens after every loop step out.

`Network` embeds the cells and reads the answer; `TaskConditioning` makes the prefix of tokens that says which task it
is and through which view; `LoopedBlocks` and `TwoStates` are the two ways to loop the blocks. Layers are in `blocks`,
the encoder of example pairs is in `program`; how one set of weights serves a stack of tasks is in `stacking`.
Suffixes: N task, B batch, L token, D width, P prefix tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solver.model.blocks import Block, Rotary, inject, norm, rotary_table
from solver.model.config import ModelConfig
from solver.model.program import ProgramEncoder, embed_cells
from solver.model.stacking import linear, lookup, shared, spread


class Step(NamedTuple):
    """What a loop step gives: `logits` float32 (N, B, size, size, vocabulary); `halt` float32 (N, B), the logit of the
    answer being exact, None without a halting head; `states`, each (N, B, L, D): a later call may go on from them."""

    logits: Tensor
    halt: Tensor | None
    states: tuple[Tensor, ...]


class Network(nn.Module):
    """A weight-looped network over a square canvas; plain, or a stack of N copies (see `stacking`)."""

    def __init__(self, config: ModelConfig, tasks: int = 1) -> None:
        super().__init__()
        self.config = config
        places = config.patch**2
        self.cell = nn.Parameter(torch.randn(places * config.vocabulary, config.width) * (0.5 / places**0.5))
        self.conditioning = TaskConditioning(config, tasks)
        self.recursion = LoopedBlocks(config) if config.recursion == "looped" else TwoStates(config)
        self.head = nn.Parameter(torch.randn(config.width, places * config.vocabulary) * 0.02)
        self.program = ProgramEncoder(config) if config.program_tokens else None
        self.halting = HaltingHead(config) if config.supervision == "halting" else None

    def forward(self, *views: Tensor, **how: Any) -> Iterator[Tensor]:
        """Yields the logits alone of `steps`, which has the same arguments."""
        for step in self.steps(*views, **how):
            yield step.logits

    def steps(
        self,
        canvas: Tensor,
        task: Tensor,
        elements: Tensor,
        palettes: Tensor,
        *,
        examples: Tensor | None = None,
        loops: int | None = None,
        states: tuple[Tensor, ...] | None = None,
        detach: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[Step]:
        """Yields a `Step` after every loop step.

        `canvas` int64 (N, B, size, size), tokens; `task` int64 (N, B), rows of the task table; `elements` int64
        (N, B) and `palettes` int64 (N, B, 10): the view each canvas is seen under. A network with a program needs
        `examples` int64 (N, B, E, 2, size, size): inputs and outputs of pairs of the task under the same views.
        `loops` defaults to the configuration's; `states` are those to begin with, where that is possible (TRM);
        `dtype` is that of the activations, weights stay as they are. With `detach` every step is a graph of its own,
        so that each may be differentiated as it comes, and weights may change between them.
        """
        config = self.config
        side = canvas.shape[-1] // config.patch

        def embed() -> Tensor:
            cells = embed_cells(self.cell, canvas, config.patch)
            prefix = self.conditioning(task, elements, palettes, self.cell[..., :10, :])
            if self.program is not None:
                assert examples is not None, "a program is read from examples"
                prefix = torch.cat([prefix, self.program(examples, self.cell, dtype)], dim=2)
            return torch.cat([prefix, cells], dim=2).to(dtype)

        for after in self.recursion(embed, side, loops or config.loops, detach=detach, states=states):
            logits = linear(norm(after[0], config.prefix), self.head).float()
            halt = None if self.halting is None else self.halting(after[0])
            yield Step(self._unpatch(logits, side), halt, after)

    def _unpatch(self, logits: Tensor, side: int) -> Tensor:
        """(N, B, side², patch² * vocabulary) -> (N, B, size, size, vocabulary)."""
        patch = self.config.patch
        logits = logits.unflatten(3, (patch, patch, self.config.vocabulary)).unflatten(2, (side, side))
        return logits.permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)


class TaskConditioning(nn.Module):
    """How the network knows which task it works on, and through which view: a prefix of tokens.

    Task tokens are learned, one set a task; the D4 element of the view is added to them. Ten palette tokens say
    which colour the view shows for each of the task's own colours, so that "3 becomes 5" is one rule under all
    recolourings: a cell finds its own colour's name by attending to them.
    """

    def __init__(self, config: ModelConfig, tasks: int) -> None:
        super().__init__()
        self.tokens, self.width = config.task_tokens, config.width
        self.tasks = nn.Parameter(torch.randn(tasks, config.task_tokens * config.width) * 0.02)
        self.position = nn.Parameter(torch.randn(config.task_tokens, config.width) * 0.02)
        self.element = nn.Parameter(torch.randn(8, config.width) * 0.02)
        self.name = nn.Parameter(torch.randn(10, config.width) * 0.02)

    def forward(self, task: Tensor, elements: Tensor, palettes: Tensor, colors: Tensor) -> Tensor:
        """Prefix (N, B, tokens + 10, D) for `task` int64 (N, B), rows of the task table; `elements` int64
        (N, B) and `palettes` int64 (N, B, 10) of the views; `colors` (10, D) or (N, 10, D), cell embeddings."""
        tokens = lookup(self.tasks, task).reshape(*task.shape, self.tokens, self.width)
        tokens = tokens + shared(self.position) + lookup(self.element, elements)[:, :, None]
        palette = lookup(colors, palettes) + shared(self.name)
        return torch.cat([tokens, palette], dim=2)


class LoopedBlocks(nn.Module):
    """The same blocks, `loops` times: state <- blocks(norm(state) + input + step embedding)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head, self.rotary = config.width // config.heads, config.rotary
        self.step = nn.Parameter(torch.randn(config.loops, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def forward(
        self,
        embed: Callable[[], Tensor],
        side: int,
        loops: int,
        *,
        detach: bool = False,
        states: tuple[Tensor, ...] | None = None,
    ) -> Iterator[tuple[Tensor]]:
        """Yields the state (N, B, L, D), alone in a tuple, after each of `loops` steps; `embed()` gives the input, same
        shape.

        With `detach` no gradient flows from one step into the one before, and each has its own graph
        (Deep Improvement Supervision, 2025).
        """
        assert states is None, "the steps of looped blocks are not alike: they begin with the first"
        embedded = embed()
        prefix = embedded.shape[2] - side * side
        rotary = rotary_table(side, prefix, self.head, embedded.dtype, embedded.device, self.rotary)
        state = embedded
        for loop in range(loops):
            step = self.step[..., loop, :]
            state = inject(state, embedded, step) if loop else embedded + spread(step, embedded.dim(), embedded.dtype)
            for block in self.blocks:
                state = block(state, side, rotary)
            yield (state,)
            if detach and loop + 1 < loops:
                state, embedded = state.detach(), embed()


class TwoStates(nn.Module):
    """TRM's recursion (Jolicoeur-Martineau 2025): one net, an answer y and a latent z.

    A supervision step has H cycles of L times z <- net(x + y + z), then y <- net(y + z), and a gradient through the
    last cycle only. Both states begin as zeros."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head, self.rotary = config.width // config.heads, config.rotary
        self.cycles, self.inner, self.bounded = config.cycles, config.inner, config.style == "post"
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def forward(
        self,
        embed: Callable[[], Tensor],
        side: int,
        loops: int,
        *,
        detach: bool = False,
        states: tuple[Tensor, ...] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields y and z, (N, B, L, D) each, after each of `loops` supervision steps, which are detached from one
        another; begins with the `states` given. `embed()` gives x, same shape, anew for every step with `detach`."""
        x = embed()
        prefix = x.shape[2] - side * side
        rotary = rotary_table(side, prefix, self.head, x.dtype, x.device, self.rotary)
        y, z = states or (torch.zeros_like(x), torch.zeros_like(x))
        for loop in range(loops):
            if loop and detach:
                x = embed()
            with torch.no_grad():
                for _ in range(self.cycles - 1):
                    y, z = self._cycle(x, y, z, side, rotary)
            y, z = self._cycle(x, y, z, side, rotary)
            yield y, z
            y, z = y.detach(), z.detach()

    def _cycle(self, x: Tensor, y: Tensor, z: Tensor, side: int, rotary: Rotary) -> tuple[Tensor, Tensor]:
        for _ in range(self.inner):
            z = self._net(x + y + z, side, rotary)
        return self._net(y + z, side, rotary), z

    def _net(self, state: Tensor, side: int, rotary: Rotary) -> Tensor:
        for block in self.blocks:
            state = block(state, side, rotary)
        return state if self.bounded else norm(state)  # blocks with norms inside would let the states grow


class HaltingHead(nn.Module):
    """The logit (N, B) of an answer being exact, read off the first token of the answer state, as in TRM."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.width, 1))
        self.bias = nn.Parameter(torch.full((1,), -2.0))

    def forward(self, state_NBLD: Tensor) -> Tensor:
        return (linear(norm(state_NBLD[:, :, :1]).float(), self.weight)[:, :, 0, 0] + self.bias.reshape(-1, 1)).float()
