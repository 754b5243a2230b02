"""The training loop: time or steps as budget, checkpoints that resume exactly, a bundle at the end."""

from __future__ import annotations

import copy
import dataclasses
import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from solver.device import training_dtype
from solver.learn.augment import draw_plan, render_plan
from solver.learn.canvas import choose_size
from solver.learn.objective import backward, exact
from solver.model import Network
from solver.training.corpus import Corpus, device_table
from solver.training.optimizer import build_optimizers, rate_factor, set_rate
from solver.training.parallel import World
from solver.training.presets import TrainConfig
from solver.training.sources import Sources
from solver.weights import checkpoint
from solver.weights.checkpoint import Bundle
from submission.files import write_whole
from tta import identity_views


@dataclass(frozen=True)
class Limit:
    """How long to train in all, resumed pieces included: `seconds` or `steps`, exactly one of them."""

    seconds: float | None = None
    steps: int | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is used, 0 to 1."""
        used = step / self.steps if self.steps else seconds / self.seconds
        return min(1.0, used)


class Trainer:
    """Network, optimizers, average and random state; everything a checkpoint holds is here."""

    def __init__(
        self, config: TrainConfig, sources: Sources, device: torch.device, seed: int = 0, world: World | None = None
    ) -> None:
        self.config, self.device, self.seed, self.world = config, device, seed, world or World()
        self.dtype = training_dtype(device)
        self.corpus = Corpus(sources.pairs, tuple(config.mix), device)
        self.validation = device_table(sources.validation, device)
        self.validation_tasks = torch.from_numpy(sources.validation.task).to(device)
        torch.manual_seed(seed)
        self.network = Network(config.model, tasks=len(sources.pairs.ids)).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        if device.type == "cuda":
            torch.compiler.reset()  # what an earlier trainer of this process compiled counts towards a limit
            for block in self.network.recursion.blocks:
                block.compile(dynamic=False)
        self.optimizers = build_optimizers(
            self.network, config.optimizer, lr=config.lr, task_lr=config.task_lr, weight_decay=config.weight_decay
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self.canvases = torch.Generator().manual_seed(seed)
        self.step, self.seconds, self.samples = 0, 0.0, 0
        self.ended, self.rows = False, []
        self.ancestor: dict | None = None
        self.pieces = [{"from_step": 0, **plain_config(config)}]

    def loops(self, progress: float) -> int:
        """Loop steps at this point of the budget: half of them at first."""
        loops = self.config.model.loops
        half = self.config.half_loops
        return max(1, loops // 2) if progress < half or half >= 1.0 else loops

    def start_from(self, bundle: Bundle) -> None:
        """Begins with a bundle's weights, every task with its mean task tokens. The bundle's hashes are kept, for
        its pairs count as trained on from now on. ValueError if it holds another model."""
        network = checkpoint.load(str(bundle.path))
        if network.config != self.config.model:
            raise ValueError(f"{bundle.path}: holds another model, {bundle.card['model']}")
        weights = network.state_dict()
        weights["conditioning.tasks"] = weights["conditioning.tasks"].expand(len(self.corpus.names), -1)
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)
        hashes = torch.from_numpy(checkpoint.trained_hashes(bundle).view(np.int64))
        self.ancestor = {"name": bundle.name, "sha256": bundle.card["sha256"], "hashes": hashes}

    def state(self) -> dict:
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
        }

    def load_state(self, state: dict) -> None:
        """Continues exactly where `state` was taken. Rates, batches and schedule may be others from here on
        (`pieces` tells which were used from which step); ValueError for another model or task table."""
        own = self.state()
        if state["model"] != own["model"] or state["tasks"] != own["tasks"]:
            raise ValueError(f"the checkpoint holds another model or other tasks: {state['model']}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            asked = [{key: group[key] for key in ("peak", "weight_decay")} for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, own in zip(optimizer.param_groups, asked, strict=True):
                group.update(own)
        for generator, saved in zip((self.generator, self.canvases), state["generators"], strict=True):
            generator.set_state(saved.cpu())
        self.step, self.seconds, self.samples = state["counters"]
        self.ancestor = state.get("ancestor")
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
        self.samples += self.batch(size)
        return loss.mean()

    def batch(self, size: int) -> int:
        """Samples in a joint batch of canvases of `size`."""
        return self.config.batch_cells // size**2 // self.world.size * self.world.size

    def warm_up(self) -> None:
        """One gradient for every canvas size, thrown away: what is compiled is compiled before the clock starts."""
        generator = torch.Generator(self.device).manual_seed(0)
        for size in self.config.mix:
            self._gradients(size, 1.0, generator)
        self._clear()

    def _gradients(self, size: int, progress: float, generator: torch.Generator) -> torch.Tensor:
        """Leaves the gradients of one drawn batch in the weights; returns the loss (1, B) of the last loop step."""
        config = self.config
        which = self.corpus.draw(size, self.batch(size), generator)
        augmentation = config.augmentation
        if progress < config.plain:
            augmentation = dataclasses.replace(augmentation, viewed=0.0)
        plan = draw_plan(self.corpus.table, which, size, generator, augmentation).each(self.world.share)
        canvas, target = render_plan(self.corpus.table, plan, size)
        loops = self.loops(progress)
        steps = self.network(
            canvas[None],
            self.corpus.tasks[plan.which][None],
            plan.views.elements[None],
            plan.views.palettes[None],
            loops=loops,
            detach=config.supervision == "detached",
            dtype=self.dtype,
        )
        self._clear()
        return backward(steps, loops, target[None], config.supervision)[0]

    def _clear(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def validate(self, loops: int, limit: int = 128) -> float:
        """Share of validation pairs, at most `limit` a canvas size, that the averaged weights get right."""
        table, hits, total = self.validation, 0, 0
        plain = dataclasses.replace(self.config.augmentation, max_scale=1, move=False)
        sides = [table.inputs.height, table.inputs.width, table.outputs.height, table.outputs.width]
        sizes = sorted(self.config.mix)
        fitting = [choose_size(side, sizes) for side in torch.stack(sides).amax(0).tolist()]
        for size in self.config.mix:
            chosen = [i for i, own in enumerate(fitting) if own == size]
            if not chosen:
                continue
            for part in torch.tensor(chosen[:limit], dtype=torch.int64, device=self.device).split(64):
                views = identity_views(len(part), self.device)
                plan = draw_plan(table, part, size, torch.Generator(self.device), plain, views)
                canvas, target = render_plan(table, plan, size)
                *_, logits = self.average(
                    canvas[None],
                    self.validation_tasks[part][None],
                    views.elements[None],
                    views.palettes[None],
                    loops=loops,
                    dtype=self.dtype,
                )
                hits += int(exact(logits, target[None]).sum())
                total += len(part)
        return hits / max(1, total)


def train(trainer: Trainer, limit: Limit, directory: Path, *, piece: float | None = None, log=tqdm.write) -> bool:
    """Trains until `limit`, or for `piece` seconds of it, writing `latest.pt` as it goes and `undecayed.pt` where
    the rate begins to fall, from which a longer schedule can continue. Compiling counts for the piece and not for
    the limit. Returns whether the limit was reached;
    `trainer.rows` has the log, one row per validation."""
    directory.mkdir(parents=True, exist_ok=True)
    config, rows, world = trainer.config, trainer.rows, trainer.world
    started = time.monotonic()
    if trainer.device.type == "cuda":
        trainer.warm_up()
    begun, before = time.monotonic(), trainer.seconds
    validated = saved = begun
    recent: list[torch.Tensor] = []
    kept = limit.progress(trainer.step, trainer.seconds) > 1.0 - config.decay
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"
    hidden = None if world.leads else True  # None: shown on a terminal only
    bar = tqdm(total=1000, desc=config.name, dynamic_ncols=True, bar_format=layout, disable=hidden)
    shown = begun
    while (progress := world.agree(limit.progress(trainer.step, trainer.seconds))) < 1.0:
        if world.leads and not kept and progress >= 1.0 - config.decay:
            save(trainer, directory / "undecayed.pt")
            kept = True
        if world.agree(piece is not None and time.monotonic() - started >= piece):
            break
        recent.append(trainer.train_step(progress))
        now = time.monotonic()
        trainer.seconds = before + now - begun
        if world.leads and now - shown > 2.0:
            rate = trainer.samples / trainer.seconds
            bar.set_postfix_str(f"loss {float(recent[-1]):.3f}, {rate:.0f} samples/s", refresh=False)
            bar.update(int(1000 * progress) - bar.n)
            shown = now
        if world.leads and now - validated > config.validate_seconds:
            rows.append(_row(trainer, recent, trainer.loops(progress)))
            recent.clear()
            log(_line(rows[-1]))
            validated = time.monotonic()
        if world.leads and now - saved > config.checkpoint_seconds:
            save(trainer, directory / "latest.pt")
            saved = time.monotonic()
    bar.close()
    if world.leads:
        rows.append(_row(trainer, recent, trainer.loops(progress)))
        log(_line(rows[-1]))
        trainer.ended = progress >= 1.0
        save(trainer, directory / "latest.pt")
    return progress >= 1.0


def plain_config(config: TrainConfig) -> dict:
    """What decides the course of the training, as plain values; the model apart."""
    plain = dataclasses.asdict(config)
    plain["mix"] = {str(size): share for size, share in config.mix.items()}
    apart = ("model", "validate_seconds", "checkpoint_seconds", "bundle_dtype")
    return {key: plain[key] for key in plain if key not in apart}


def save(trainer: Trainer, path: Path) -> None:
    """Writes a checkpoint as a whole. FloatingPointError, and the old one stays, if weights are not finite."""
    if not all(bool(p.isfinite().all()) for p in trainer.network.parameters()):
        raise FloatingPointError(f"step {trainer.step}: the weights are no longer finite; {path.name} is kept")
    content = io.BytesIO()
    torch.save(trainer.state(), content)
    write_whole(path, content.getvalue())


def _row(trainer: Trainer, recent: list[torch.Tensor], loops: int) -> dict:
    return {
        "step": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "samples": trainer.samples,
        "loss": round(float(torch.stack(recent).mean()), 4) if recent else None,
        "exact": round(trainer.validate(loops), 4),
    }


def _line(row: dict) -> str:
    rate = row["samples"] / max(row["seconds"], 1e-9)
    loss = "-" if row["loss"] is None else f"{row['loss']:.4f}"
    return (
        f"step {row['step']:6d}  {row['seconds']:7.0f} s  {rate:6.0f} samples/s  loss {loss}  "
        f"exact on validation pairs {row['exact']:.1%}"
    )
