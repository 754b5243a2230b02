"""`tinyarc pack`: everything that an upload to Kaggle needs, as two folders and the commands that send them.

`dataset/` holds the wheel with its weights, extra wheels with their lock, and SHA256SUMS; `kernel/` the notebook.
Their sources are the folders `kaggle/` and `offline_wheels/` of a checkout, so packing works from a checkout only.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from solver.kaggle_metadata import COMPETITION, MACHINES, metadata
from solver.options import Command
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
    commands = _head(wheel, about, pythons, kernel_meta) + _commands(out, dataset_meta, kernel_meta, wheel)
    (out / "commands.txt").write_text(commands, encoding="utf-8")
    return Pack(dataset, kernel, wheel, weights, pythons, commands)


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


def _finish(dataset: Path, dataset_meta: dict, kernel: Path, kernel_meta: dict, templates: Path) -> None:
    """Checksums of all that is uploaded, the notebook, and the two settings files."""
    # Before the metadata: the client does not upload that file, so it would be missing where the sums are checked.
    sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(dataset.iterdir())]
    (dataset / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    _write_json(dataset / "dataset-metadata.json", dataset_meta)
    shutil.copy2(templates / kernel_meta["code_file"], kernel)
    _write_json(kernel / "kernel-metadata.json", kernel_meta)


def _write_json(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _head(wheel: Path, about: str, pythons: Sequence[str], kernel: dict) -> str:
    """What was packed, and the commands that are needed once."""
    image = kernel.get(
        "docker_image", "none pinned; the notebook keeps the one of its first version (--image changes it)"
    )
    machine = kernel["machine_shape"]
    others = ", ".join(f"{name} ({what})" for name, what in MACHINES.items() if name != machine)
    return f"""\
# {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, {about}
# Pythons served: {", ".join(pythons) or "none: the extra wheels fit no version"}
# image: {image}
# machine: {machine}, {MACHINES[machine]}; others, not all open to everyone: {others}

# Once: the client, and the token from your account's settings (kaggle/README.md tells more).
pip install kaggle six
kaggle auth login
kaggle quota
"""


def _commands(out: Path, dataset: dict, kernel: dict, wheel: Path) -> str:
    version, name, competition = wheel.name.split("-")[1], kernel["id"], kernel["competition_sources"][0]
    return f"""
{_upload(out, dataset, version)}
# 2. The notebook. Pushing starts its commit run: a few tasks, some minutes. Wait until its status is complete.
{_push(out, kernel, "commit-run")}
# 3. The scored run, one a day, up to 12 hours. VERSION is the number that the push printed.
kaggle competitions submit -c {competition} -k {name} -v VERSION -f submission.json -m "tinyarc {version}"
kaggle competitions submissions -c {competition}
"""


def _upload(out: Path, dataset: dict, version: str) -> str:
    folder = shlex.quote(str(out / "dataset"))
    return f"""\
# 1. The dataset: `create` the first time, `version` every later time. Wait until its status is ready.
kaggle datasets create -p {folder}
kaggle datasets version -p {folder} -m "tinyarc {version}"
kaggle datasets status {dataset["id"]}
"""


def _push(out: Path, kernel: dict, output: str) -> str:
    """--accelerator says again what the metadata say: alone, they were ignored for some."""
    return f"""\
kaggle kernels push -p {shlex.quote(str(out / "kernel"))} --accelerator {kernel["machine_shape"]}
kaggle kernels status {kernel["id"]}
kaggle kernels output {kernel["id"]} -p {shlex.quote(str(out.parent / output))}
"""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="NAME", help="your Kaggle user name")
    parser.add_argument("--competition", default=COMPETITION, metavar="SLUG", help=f"default {COMPETITION}")
    parser.add_argument("--machine", default="NvidiaL4", metavar="ID", help="the accelerator (default: four L4)")
    parser.add_argument("--image", metavar="DIGEST", help="pin the image, as NAME@sha256:DIGEST")
    parser.add_argument("--attach", default=[], action="append", metavar="USER/SLUG",
                        help="a dataset to attach too: weights, or another solver's submission.json")  # fmt: skip
    parser.add_argument("--attach-notebook", default=[], action="append", metavar="USER/SLUG",
                        help="the same with a notebook's output")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("dist/kaggle"))


def _run(arguments: argparse.Namespace) -> None:
    done = pack(
        arguments.user,
        arguments.competition,
        arguments.out,
        arguments.machine,
        image=arguments.image,
        attach=arguments.attach,
        attach_notebooks=arguments.attach_notebook,
    )
    print(done.commands, end="")


COMMANDS = {"pack": Command(_options, _run)}
