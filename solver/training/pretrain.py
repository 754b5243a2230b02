"""`Trainer`: everything that a training has, its single steps, and what a checkpoint holds. `loop` runs it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from solver.device import training_dtype
from solver.learn.augment import Plan, draw_plan, render_examples, render_plan, rendered_examples
from solver.learn.canvas import choose_size
from solver.learn.objective import backward, exact, improving_targets
from solver.model import Block, ModelConfig, Network, Step
from solver.training.corpus import Corpus, device_table
from solver.training.episodes import Episodes
from solver.training.optimizer import build_optimizers, rate_factor, set_rate
from solver.training.parallel import World
from solver.training.parts import Parts
from solver.training.presets import TrainConfig
from solver.training.running import Running, begun, joined, restored
from solver.training.sources import Sources
from solver.weights import checkpoint
from solver.weights.checkpoint import Bundle
from tta import identity_views


class Trainer:
    """Network, optimizers, average and random state; everything a checkpoint holds is here."""

    def __init__(
        self, config: TrainConfig, sources: Sources, device: torch.device, seed: int = 0, world: World | None = None
    ) -> None:
        self.config, self.device, self.seed, self.world = config, device, seed, world or World()
        if empty := [size for size in config.mix if self.batch(size) == 0]:
            most = config.batch_cells // max(empty) ** 2
            raise ValueError(f"{self.world.size} processes: a batch has {most} samples of canvas {max(empty)} to share")
        self.dtype = training_dtype(device)
        self.corpus = Corpus(sources.pairs, tuple(config.mix), device)
        self.validation = device_table(sources.validation, device)
        self.validation_tasks = torch.from_numpy(sources.validation.task.astype(np.int64)).to(device)
        torch.manual_seed(seed)
        self.network = Network(config.model, tasks=len(sources.pairs.ids)).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        if device.type == "cuda":
            torch._dynamo.config.recompile_limit = 64  # a graph for each canvas size, with and without a gradient
            torch.compiler.reset()  # what an earlier trainer of this process compiled counts towards a limit
            for module in self.network.modules():
                if isinstance(module, Block):
                    module.compile(dynamic=False)
        self.optimizers = build_optimizers(
            self.network,
            config.optimizer,
            lr=config.lr,
            task_lr=config.task_lr,
            weight_decay=config.weight_decay,
            dtype=self.dtype,
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self.canvases = torch.Generator().manual_seed(seed)
        self.step, self.seconds, self.samples = 0, 0.0, 0
        self.ended = False
        self.parts = Parts(device, self._clear)
        self.rows: list[dict[str, Any]] = []
        self.running: dict[int, Running] = {}  # canvas size -> samples in work, with a halting head
        self._episodes: dict[int, Episodes] = {}
        self.ancestor: dict[str, Any] | None = None
        self.pieces = [{"from_step": 0, **plain_config(config)}]

    def loops(self, progress: float) -> int:
        """Loop steps at this point of the budget: half of them at first."""
        loops = self.config.model.loops
        half = self.config.half_loops
        return max(1, loops // 2) if progress < half or half >= 1.0 else loops

    def start_from(self, bundle: Bundle) -> None:
        """Begins with a bundle's weights, a task with its own tokens where the bundle has them, else with the mean. The
        bundle's hashes are kept, for its pairs count as trained on from now on. ValueError if it holds another model.
        """
        network = checkpoint.load(str(bundle.path), loops=self.config.model.loops)
        if other := network.config.against(self.config.model):
            raise ValueError(f"{bundle.path}: holds another model: {other}")
        weights = network.state_dict()
        rows = weights["conditioning.tasks"].repeat(len(self.corpus.names), 1)
        if (trained := checkpoint.load_table(str(bundle.path))) is not None:
            place = {task_id: row for row, task_id in enumerate(trained[0])}
            for row, name in enumerate(self.corpus.names):
                if (old := place.get(str(name))) is not None:
                    rows[row] = trained[1][old]
        weights["conditioning.tasks"] = rows
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)
        hashes = torch.from_numpy(checkpoint.trained_hashes(bundle).view(np.int64))
        self.ancestor = {"name": bundle.name, "sha256": bundle.card["sha256"], "hashes": hashes}

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generators": [self.generator.get_state(), self.canvases.get_state()],
            "counters": [self.step, self.seconds, self.samples],
            "ended": self.ended,
            "model": dataclasses.asdict(self.config.model),
            "tasks": [str(name) for name in self.corpus.names],
            "pieces": self.pieces,
            "rows": self.rows,
            "ancestor": self.ancestor,
            "running": {str(size): running.state() for size, running in self.running.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues exactly where `state` was taken. Rates, batches and schedule may be others from here on
        (`pieces` tells which were used from which step); ValueError for another model or task table."""
        if other := ModelConfig(**state["model"]).against(self.config.model):
            raise ValueError(f"the checkpoint holds another model: {other}")
        if state["tasks"] != (names := [str(name) for name in self.corpus.names]):
            raise ValueError(
                f"the checkpoint was trained on {len(state['tasks'])} tasks, which are not the {len(names)} here"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            asked = [{key: group[key] for key in ("peak", "weight_decay")} for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, rates in zip(optimizer.param_groups, asked, strict=True):
                group.update(rates)
        for generator, saved in zip((self.generator, self.canvases), state["generators"], strict=True):
            generator.set_state(saved.cpu())
        self.step, self.seconds, self.samples = state["counters"]
        self.ancestor = state.get("ancestor")
        self.running = {}
        for size, saved in state.get("running", {}).items():
            running = restored(saved, bool(self.config.model.program_tokens))
            # The first process alone is saved; with others, or other batches, samples are begun anew.
            if self.world.size == 1 and len(running.taken) == self.batch(int(size)):
                self.running[int(size)] = running
        piece = {**self.pieces[0], "from_step": self.step}
        self.pieces, self.rows = list(state["pieces"]), list(state.get("rows", []))
        if self.pieces[-1] | {"from_step": self.step} != piece:
            self.pieces.append(piece)

    def train_step(self, progress: float) -> torch.Tensor:
        """One optimizer step; returns the mean loss of this process's samples at the last loop step, on the
        device."""
        config = self.config
        sizes = list(config.mix)
        shares = torch.tensor([config.mix[s] for s in sizes])
        size = sizes[int(torch.multinomial(shares, 1, generator=self.canvases))]
        loss = self._gradients(size, progress, self.generator)
        self.world.average_gradients(self.network.parameters())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        set_rate(self.optimizers, rate_factor(progress, warmup=config.warmup, decay=config.decay))
        for optimizer in self.optimizers:
            optimizer.step()
        keep = min(config.ema, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), [p.detach() for p in self.network.parameters()], 1 - keep)
        self.step += 1
        return loss.mean()

    def batch(self, size: int) -> int:
        """Samples in a joint batch of canvases of `size`."""
        return self.config.batch_cells // size**2 // self.world.size * self.world.size

    def warm_up(self) -> None:
        """One gradient for every canvas size, thrown away: what is compiled is compiled before the clock starts."""
        generator = torch.Generator(self.device).manual_seed(0)
        before, self.running = (self.samples, self.running), {}
        parts = 0
        while parts != self.parts.count:  # where memory was short for one size, the others have smaller batches now
            parts = self.parts.count
            for size in self.config.mix:
                self._gradients(size, 1.0, generator)
        self.samples, self.running = before
        self._clear()

    def _gradients(self, size: int, progress: float, generator: torch.Generator) -> torch.Tensor:
        """Leaves the gradients of one drawn batch in the weights; returns the loss (1, B) of the last loop step."""
        model, loops = self.config.model, self.loops(progress)
        plan = self._plan(size, progress, generator)
        if model.supervision == "halting":
            return self._supervision_step(size, begun(plan, loops, generator), loops)
        self.samples += len(plan.which) * self.world.size

        def work(rows: slice, scale: torch.Tensor | None) -> torch.Tensor:
            part = plan.each(lambda tensor: tensor[rows])
            canvas, target = render_plan(self.corpus.table, part, size)
            steps = self._steps(canvas, part, size, loops=loops, detach=model.detached)
            targets = None
            if part.noise is not None:
                targets = improving_targets(canvas[None], target[None], part.noise[None], loops, model.corruption)
            return backward(steps, loops, target[None], model.supervision, scale, targets=targets)[0]

        return torch.cat(self.parts.work(len(plan.which), work), dim=1)

    def _supervision_step(self, size: int, running: Running, loops: int) -> torch.Tensor:
        """The same for one supervision step of the samples that this canvas size is working on; `running` has new ones
        for those that are over."""
        if (before := self.running.get(size)) is not None:
            self.samples += int(before.over.sum()) * self.world.size
            running = before.renewed(running)
        else:
            self.samples += len(running.taken) * self.world.size

        def work(rows: slice, scale: torch.Tensor | None) -> tuple[torch.Tensor, Running]:
            part = running.part(rows)
            canvas, target = render_plan(self.corpus.table, part.plan, size)
            step = next(self._steps(canvas, part.plan, size, loops=1, states=part.states))
            loss, _ = backward([step], 1, target[None], "halting", scale)
            return loss, part.after(step, loops)

        losses, parts = zip(*self.parts.work(len(running.taken), work), strict=True)
        self.running[size] = joined(parts)
        return torch.cat(losses, dim=1)

    def _plan(self, size: int, progress: float, generator: torch.Generator) -> Plan:
        """This process's share of the next joint batch."""
        which = self.corpus.draw(size, self.batch(size), generator)
        augmentation = self.config.augmentation
        if progress < self.config.plain:
            augmentation = dataclasses.replace(augmentation, viewed=0.0)
        plan = draw_plan(self.corpus.table, which, size, generator, augmentation)
        return self.episodes(size).completed(plan, self.config.model, generator).each(self.world.share)

    def _steps(self, canvas: torch.Tensor, plan: Plan, size: int, **how: Any) -> Iterator[Step]:
        """The loop steps of the network on canvases (B, size, size) of a plan."""
        examples = rendered_examples(self.corpus.table, plan, size)
        return self.network.steps(
            canvas[None],
            self.corpus.tasks[plan.which][None],
            plan.views.elements[None],
            plan.views.palettes[None],
            examples=None if examples is None else examples[None],
            dtype=self.dtype,
            **how,
        )

    def episodes(self, size: int) -> Episodes:
        """The other pairs of every task, for canvases of `size`."""
        if size not in self._episodes:
            self._episodes[size] = Episodes(self.corpus, size)
        return self._episodes[size]

    def _clear(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def validate(self, loops: int, limit: int = 128) -> float:
        """Share of validation pairs that fit, at most `limit` a canvas size, that the averaged weights get right."""
        table, hits, total = self.validation, 0, 0
        generator = torch.Generator(self.device)
        plain = dataclasses.replace(self.config.augmentation, max_scale=1, move=False)
        sides = [table.inputs.height, table.inputs.width, table.outputs.height, table.outputs.width]
        sizes = sorted(self.config.mix)
        largest = torch.stack(sides).amax(0).tolist()
        fitting = [choose_size(side, sizes) if side < sizes[-1] else None for side in largest]  # None: no canvas for it
        for size in self.config.mix:
            chosen = [i for i, canvas in enumerate(fitting) if canvas == size]
            if not chosen:
                continue
            for part in torch.tensor(chosen[:limit], dtype=torch.int64, device=self.device).split(64):
                views = identity_views(len(part), self.device)
                plan = draw_plan(table, part, size, generator, plain, views)
                canvas, target = render_plan(table, plan, size)
                examples = None
                if count := self.config.model.examples * bool(self.config.model.program_tokens):
                    shown = self.episodes(size).examples(self.validation_tasks[part], count, generator)
                    examples = render_examples(self.corpus.table, shown, views, plan.place, size)[None]
                *_, logits = self.average(
                    canvas[None],
                    self.validation_tasks[part][None],
                    views.elements[None],
                    views.palettes[None],
                    examples=examples,
                    loops=loops,
                    dtype=self.dtype,
                )
                hits += int(exact(logits, target[None]).sum())
                total += len(part)
        return hits / max(1, total)


def plain_config(config: TrainConfig) -> dict[str, Any]:
    """What decides the course of the training, as plain values; the model apart."""
    plain = dataclasses.asdict(config)
    plain["mix"] = {str(size): share for size, share in config.mix.items()}
    plain["families"] = list(config.families)
    apart = ("model", "validate_seconds", "checkpoint_seconds", "bundle_dtype", "bundle_tasks")
    return {key: plain[key] for key in plain if key not in apart}
