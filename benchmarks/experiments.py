"""One question, one answer: short trainings that differ in one thing, as one table.

    python benchmarks/experiments.py                                 # all of them, 150 seconds each
    python benchmarks/experiments.py --only as-preset,optimizer-adamw
    python benchmarks/experiments.py --toy --seconds 5               # the whole with a tiny network, on any machine

Every training has the same data, seed and time. Afterwards it is validated and, with `--held-out N`, fine-tuned on N
held-out tasks and scored on their tests. The command stops after `--piece`; the same command again goes on.
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson
import torch
from pieces import Piece, keep_settings

from solver.arc import datasets
from solver.arc.expected import needed_side
from solver.arc.tasks import Grid, Task
from solver.device import compute_dtype, pick_device, prepare
from solver.learn.adapt import adapt
from solver.learn.batches import Slot
from solver.learn.canvas import choose_size
from solver.learn.predict import PredictConfig, predict
from solver.learn.recipe import AdaptConfig
from solver.model import Network, unstack
from solver.options import duration
from solver.seeds import stable_seed
from solver.text import aligned
from solver.training.files import FILES, add_options, locate
from solver.training.loop import Limit, train
from solver.training.presets import TRAIN_PRESETS, TrainConfig
from solver.training.pretrain import Trainer
from solver.training.sources import Sources, collect
from solver.weights import checkpoint
from submission.document import fallback
from voting import append_lines, two_attempts

ROOM = {"cpu": 0.0, "cuda": 90.0}
"""Seconds of a piece that must be left to begin with a training: on a GPU it compiles first."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names from the table, comma-separated")
    parser.add_argument("--preset", default="base", choices=list(TRAIN_PRESETS))
    parser.add_argument("--toy", action="store_true", help="a tiny network in place of the preset's")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--seconds", type=duration, default=150.0, help="training time of each")
    limits.add_argument("--steps", type=int, help="the same number of steps for each instead")
    parser.add_argument("--piece", type=duration, default=540.0, help="stop after this time; run it again to go on")
    parser.add_argument("--held-out", type=int, help="held-out tasks to fine-tune on (default: 48 on a GPU, else 0)")
    parser.add_argument("--held-out-steps", type=int, default=100, help="fine-tuning steps of each")
    parser.add_argument("--out", type=Path, help="folder (default runs/experiments-PRESET)")
    add_options(parser)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    piece = Piece(arguments.piece)
    device = pick_device(arguments.device)
    prepare(device)
    name = "toy" if arguments.toy else arguments.preset
    # A toy batch must hold a canvas of 64 x 64 too.
    preset = replace(TRAIN_PRESETS["toy"](), batch_cells=4096) if arguments.toy else TRAIN_PRESETS[name]()
    lab = Lab(
        directory=arguments.out or Path("runs") / f"experiments-{name}",
        limit=Limit(steps=arguments.steps) if arguments.steps else Limit(seconds=arguments.seconds),
        files={source: locate(source, getattr(arguments, source), print) for source in FILES},
        held_out=(48 if device.type == "cuda" else 0) if arguments.held_out is None else arguments.held_out,
        held_out_steps=arguments.held_out_steps,
        device=device,
        seed=arguments.seed,
    )
    try:
        questions = ask(preset)
        wanted = choose(questions, arguments.only)
        keep_settings(lab.directory, {"preset": name, **lab.settings})
        if lab.files["rearc"] is None:
            wanted = {name: config for name, config in wanted.items() if config.rearc_pairs == preset.rearc_pairs}
        done = all(lab.run(name, config, piece) for name, config in wanted.items())
    except (ValueError, OSError) as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    if not done:
        print(f"\nthe time of this piece is over; the same command goes on in {lab.directory}")
    print("\n" + table(questions, lab.rows(), lab.device))
    return 0


def ask(preset: TrainConfig) -> dict[str, dict[str, TrainConfig]]:
    """Question -> answer -> a configuration that differs from the preset in that one thing, or not at all."""
    model = preset.model

    def shaped(**changes: Any) -> TrainConfig:
        return replace(preset, model=replace(model, **changes))

    def canvases(patch: int, sizes: tuple[int, ...]) -> TrainConfig:
        # As many tokens in a batch as the preset has, whatever the patch.
        cells = preset.batch_cells * patch**2 // model.patch**2
        mix = dict.fromkeys(sizes, 1 / len(sizes))
        return replace(preset, model=replace(model, patch=patch), mix=mix, batch_cells=cells)

    still = replace(preset.augmentation, max_scale=1)
    return {
        "supervision": {name: shaped(supervision=name) for name in ("last", "all", "detached")},
        "optimizer": {name: replace(preset, optimizer=name) for name in ("adamw", "muon")},
        "loops": {str(count): shaped(loops=count) for count in (4, 6, 8)},
        "width": {str(width): shaped(width=width, hidden=2 * width) for width in (384, 512)},
        "canvas": {
            "as-preset": preset,
            "patch-1-of-16-24-32": canvases(1, (16, 24, 32)),
            "patch-2-of-32-48-64": canvases(2, (32, 48, 64)),
        },
        "scale": {"on": preset, "off": replace(preset, augmentation=still)},
        "rearc": {str(pairs): replace(preset, rearc_pairs=pairs) for pairs in (100, 300, 1000)},
        "tokens": {str(count): shaped(task_tokens=count) for count in (1, 4, 16)},
    }


def named(questions: dict[str, dict[str, TrainConfig]]) -> dict[str, TrainConfig]:
    """Every different training once: the preset's is `as-preset`, another one is called question-answer."""
    preset = questions["canvas"]["as-preset"]
    found = {"as-preset": preset}
    for question, answers in questions.items():
        found |= {f"{question}-{answer}": config for answer, config in answers.items() if config != preset}
    return found


def choose(questions: dict[str, dict[str, TrainConfig]], only: str | None) -> dict[str, TrainConfig]:
    """The trainings to run, in order; ValueError for a name that is none."""
    known = named(questions)
    names = only.split(",") if only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no experiment is called {unknown[0]!r}; there are {', '.join(known)}")
    return {name: known[name] for name in names}


@dataclass(frozen=True)
class Lab:
    """What all experiments share. Rows go to `directory`/experiments.jsonl, a line as soon as one is finished."""

    directory: Path
    limit: Limit
    files: dict[str, Path | None]
    held_out: int
    held_out_steps: int
    device: torch.device
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """What must not change from piece to piece."""
        fixed: dict[str, Any] = {"seconds": self.limit.seconds, "steps": self.limit.steps, "seed": self.seed}
        fixed |= {"held_out": self.held_out, "held_out_steps": self.held_out_steps, "device": self.device.type}
        return fixed | {source: path is not None for source, path in self.files.items()}

    def rows(self) -> dict[str, dict[str, Any]]:
        """The finished experiments' rows by name."""
        return {row["name"]: row for row in _lines(self.directory / "experiments.jsonl")}

    def run(self, name: str, config: TrainConfig, piece: Piece) -> bool:
        """Runs one experiment, or what is left of it; returns whether it is finished. One that diverges or does not
        fit into memory is finished too, with a row that says so."""
        if name in self.rows():
            return True
        folder = self.directory / name
        weights = folder / "weights.safetensors"
        try:
            if not weights.with_suffix(".json").is_file() and not self._train(name, config, folder, piece):
                return False
            if not self._score_held_out(config, weights, folder / "held_out.jsonl", piece):
                return False
        except (FloatingPointError, torch.OutOfMemoryError) as error:
            failure = {"name": name, "error": str(error).split("\n")[0][:80]}
            append_lines(self.directory / "experiments.jsonl", [failure])
            return True
        card = checkpoint.find(str(weights)).card
        copied = ("parameters", "steps", "samples", "seconds", "loss", "exact")
        row = {"name": name, **{key: card[key] for key in copied}}
        if shares := [line["share"] for line in _lines(folder / "held_out.jsonl")]:
            row |= {"held_out": sum(shares) / len(shares), "held_out_tasks": len(shares)}
        append_lines(self.directory / "experiments.jsonl", [row])
        return True

    def _train(self, name: str, config: TrainConfig, folder: Path, piece: Piece) -> bool:
        """Trains until the limit or the end of the piece; leaves the weights and drops the checkpoints at the end."""
        if piece.left() <= ROOM[self.device.type]:
            return False
        sources = self._sources(config)
        # Five rows over the whole: the loss of the last one is a mean over the last fifth.
        config = replace(config, validate_seconds=(self.limit.seconds or 600.0) / 5, checkpoint_seconds=60.0)
        trainer = Trainer(config, sources, self.device, self.seed)
        latest = folder / "latest.pt"
        if latest.is_file():
            trainer.load_state(torch.load(latest, map_location=self.device, weights_only=True))
        print(f"{name}: from step {trainer.step}, {piece.left():.0f} s left in this piece", flush=True)
        if not train(trainer, self.limit, folder, piece=piece.left(), log=functools.partial(print, flush=True)):
            return False
        last = [row for row in trainer.rows if row["loss"] is not None][-1]
        card = {"steps": trainer.step, "samples": trainer.samples, "seconds": trainer.seconds}
        card |= {"loss": last["loss"], "exact": trainer.rows[-1]["exact"]}
        checkpoint.save_bundle(folder, "weights", trainer.average, card, sources.hashes)
        for path in (latest, folder / "undecayed.pt"):
            path.unlink(missing_ok=True)
        return True

    def _sources(self, config: TrainConfig) -> Sources:
        return _collected(
            config.target,
            tuple(self.files.items()),
            max_side=config.max_side,
            rearc_pairs=config.rearc_pairs,
            arcgen_pairs=config.arcgen_pairs,
            families=config.families,
        )

    def _score_held_out(self, config: TrainConfig, weights: Path, path: Path, piece: Piece) -> bool:
        """Fine-tunes stacks of held-out tasks and writes a line a task, its share of the test outputs hit by two
        attempts; returns whether all have one. Tasks that fit no canvas of the training are left out."""
        data = datasets.load("arc1-train")
        by_id = {task.id: task for task in data.tasks}
        sizes = sorted(config.mix)
        known = {line["task"] for line in _lines(path)}
        tasks = [by_id[i] for i in datasets.held_out(data)[: self.held_out] if i not in known]
        fitting: dict[int, list[Task]] = {}
        for task in tasks:
            if needed_side(task) < sizes[-1]:
                fitting.setdefault(choose_size(needed_side(task), sizes), []).append(task)
        network = checkpoint.load(str(weights)) if fitting else None
        for size, members in fitting.items():
            most = max(1, 16 * 256 // size**2 * config.model.patch**2) if self.device.type == "cuda" else 1
            for first in range(0, len(members), most):
                if piece.left() <= 0:
                    return False
                assert network is not None
                stack = members[first : first + most]
                for task, share in zip(stack, self._shares(network, stack, size, data.solutions), strict=True):
                    append_lines(path, [{"task": task.id, "share": share}])
        return True

    def _shares(self, network: Network, tasks: list[Task], size: int, solutions: dict[str, list[Grid]]) -> list[float]:
        """For each task of a stack the share of its test outputs that two attempts hit."""
        where: dict[str, Any] = {"device": self.device, "dtype": compute_dtype(self.device)}
        slots = [Slot(task.support, stable_seed(self.seed, task.id, "adapt")) for task in tasks]
        adapted = adapt(network, slots, size, AdaptConfig(steps=self.held_out_steps), **where)
        shares = []
        for slot, task in enumerate(tasks):
            single, hits = unstack(adapted.network, slot), []
            for index, truth in enumerate(solutions[task.id]):
                seed = stable_seed(self.seed, task.id, "views", index)
                pool = predict(single, task, index, size, PredictConfig(views=32), seed=seed, **where)
                attempts = two_attempts(pool, "confidence", fallback(task.test_inputs[index]))
                hits.append(any(a.shape == truth.shape and (a == truth).all() for a in attempts))
            shares.append(sum(hits) / len(hits))
        return shares


@functools.lru_cache(maxsize=2)
def _collected(target: str, files: tuple[tuple[str, Path | None], ...], **what: Any) -> Sources:
    return collect(target, **cast(dict[str, Any], dict(files)), **what)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; half a line that a killed run left at the end is none."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [orjson.loads(line) for line in whole]


def table(questions: dict[str, dict[str, TrainConfig]], rows: dict[str, dict[str, Any]], device: torch.device) -> str:
    """Every question with a line per answer; the preset's own row stands under each."""
    known = named(questions)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    columns = ("", "weights", "steps", "samples/s", "loss", "exact", "held out", "")
    lines: list[list[str]] = []
    for question, answers in questions.items():
        lines.append([question, *[""] * 7])
        for answer, config in answers.items():
            name = next(name for name, other in known.items() if other == config)
            lines.append([f"  {answer}" + " (as-preset)" * (name == "as-preset" != answer), *_cells(rows.get(name))])
    remark = "loss: nats a cell over the training's own samples, which some answers make harder."
    return "\n".join([f"{where}, torch {torch.__version__}", *aligned(columns, lines, left=("",)), "", remark])


def _cells(row: dict[str, Any] | None) -> list[str]:
    if row is None or "error" in row:
        return [*[""] * 6, f"failed: {row['error']}" if row else "not yet"]  # no figures, but why
    rate, loss, exact = row["samples"] / max(row["seconds"], 1e-9), f"{row['loss']:.4f}", f"{row['exact']:.1%}"
    held = f"{row['held_out']:.1%} of {row['held_out_tasks']}" if "held_out" in row else "-"
    return [f"{row['parameters']:,}", str(row["steps"]), f"{rate:.0f}", loss, exact, held, ""]


if __name__ == "__main__":
    sys.exit(main())
