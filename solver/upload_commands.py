"""The text of `commands.txt`: what is in a pack, and the commands of Kaggle's client that send it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from solver.kaggle_metadata import MACHINES, Metadata


def head(wheel: Path, about: str, pythons: Sequence[str], kernel: Metadata) -> str:
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


def solving(out: Path, dataset: Metadata, kernel: Metadata, wheel: Path) -> str:
    """From a pack in `out` to a score."""
    version, name, competition = wheel.name.split("-")[1], kernel["id"], kernel["competition_sources"][0]
    return f"""
{_upload(out, dataset, version)}
# 2. The notebook. Pushing starts its commit run: a few tasks, some minutes. Wait until its status is complete.
{_push(out, kernel, "commit-run")}
# 3. The scored run, one a day, up to 12 hours. VERSION is the number that the push printed.
kaggle competitions submit -c {competition} -k {name} -v VERSION -f submission.json -m "tinyarc {version}"
kaggle competitions submissions -c {competition}
"""


def training(out: Path, dataset: Metadata, kernel: Metadata, wheel: Path, options: Sequence[str]) -> str:
    """From a training pack in `out` to weights; `options` are those that it was packed with."""
    version, name = wheel.name.split("-")[1], kernel["id"]
    user = name.split("/")[0]
    return f"""
{_upload(out, dataset, version)}
# 2. The notebook: it trains for one session, and says whether it PAUSED or has TRAINED.
{_push(out, kernel, "trained")}
# 3. While it has PAUSED: attach its own output (on its page, or so), and push it again. It goes on.
{shlex.join(["tinyarc", "pack", "--train", "--go-on", "--user", user, "--out", str(out), *options])}
{_push(out, kernel, "trained")}
# 4. When it has TRAINED: the solver with these weights.
tinyarc pack --user {user} --attach-notebook {name}
"""


def _upload(out: Path, dataset: Metadata, version: str) -> str:
    folder = shlex.quote(str(out / "dataset"))
    return f"""\
# 1. The dataset: `create` the first time, `version` every later time. Wait until its status is ready.
kaggle datasets create -p {folder}
kaggle datasets version -p {folder} -m "tinyarc {version}"
kaggle datasets status {dataset["id"]}
"""


def _push(out: Path, kernel: Metadata, output: str) -> str:
    """--accelerator says again what the metadata say: alone, they were ignored for some."""
    return f"""\
kaggle kernels push -p {shlex.quote(str(out / "kernel"))} --accelerator {kernel["machine_shape"]}
kaggle kernels status {kernel["id"]}
kaggle kernels output {kernel["id"]} -p {shlex.quote(str(out.parent / output))}
"""
