"""`tinyarc pack`: everything that an upload to Kaggle needs, as two folders and the commands that send them.

`dataset/` holds the wheel with its weights, extra wheels with their lock, and SHA256SUMS; `kernel/` the notebook.
Their sources are the folders `kaggle/` and `offline_wheels/` of a checkout, so packing works from a checkout only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from solver.options import Command
from solver.weights import checkpoint

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("solver", "tta", "voting", "submission")
COMPETITION = "arc-prize-2026-arc-agi-2"
MACHINES = {
    "NvidiaL4": "four L4",
    "NvidiaL4X1": "one L4",
    "NvidiaTeslaT4": "two T4",
    "NvidiaTeslaA100": "one A100",
    "NvidiaH100": "one H100",
    "NvidiaRtxPro6000": "one RTX PRO 6000",
    "NvidiaTeslaP100": "one P100, which the torch of Kaggle's present image cannot use: pin an older image",
}
OWNER = r"[a-z0-9]+(?:[_-][a-z0-9]+)*"
SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"


@dataclass(frozen=True)
class Pack:
    """The two folders, the project's wheel in the first, the names of the weights in the wheel, and `commands`,
    the text that tells what to run."""

    dataset: Path
    kernel: Path
    wheel: Path
    weights: tuple[str, ...]
    commands: str


def pack(user: str, competition: str, out: str | os.PathLike, machine: str = "NvidiaL4") -> Pack:
    """Fills `out` with `dataset/`, `kernel/` and `commands.txt`; an earlier pack there is replaced.

    ValueError if this is no checkout, if a name breaks one of Kaggle's rules, if `out` holds anything but a pack,
    if bundled weights do not match their checksum, if the wheelhouse does not match its lock, or if the wheel
    cannot be built or lacks a file of the source.
    """
    out = Path(out)
    for name in ("pyproject.toml", "kaggle/notebook.ipynb", "offline_wheels/requirements.lock"):
        if not (CHECKOUT / name).is_file():
            raise ValueError(f"packing needs a checkout of the project: there is no {name} beside the package")
    dataset_meta, kernel_meta = metadata(user, competition, machine)
    weights = tuple(bundle.name for bundle in checkpoint.bundled())
    for name in weights:
        checkpoint.load(name)
    extra = wheelhouse(CHECKOUT / "offline_wheels")
    if out.exists() and (other := set(os.listdir(out)) - {"dataset", "kernel", "commands.txt"}):
        raise ValueError(f"{out}: holds {min(other)}, which is no part of a pack; choose another folder")
    dataset, kernel = out / "dataset", out / "kernel"
    for folder in (dataset, kernel):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    wheel = build_wheel(CHECKOUT, dataset)
    for path in extra:
        shutil.copy2(path, dataset)
    if extra:
        shutil.copy2(CHECKOUT / "offline_wheels" / "requirements.lock", dataset)
    # Before the metadata: the client does not upload that file, so it would be missing where the sums are checked.
    sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(dataset.iterdir())]
    (dataset / "SHA256SUMS").write_text("".join(sums))
    _write_json(dataset / "dataset-metadata.json", dataset_meta)
    shutil.copy2(CHECKOUT / "kaggle" / kernel_meta["code_file"], kernel)
    _write_json(kernel / "kernel-metadata.json", kernel_meta)
    commands = _commands(out, dataset_meta["id"], kernel_meta["id"], competition, wheel, weights, machine)
    (out / "commands.txt").write_text(commands)
    return Pack(dataset, kernel, wheel, weights, commands)


def metadata(user: str, competition: str, machine: str = "NvidiaL4") -> tuple[dict, dict]:
    """The templates in `kaggle/` filled in and checked: (dataset's, kernel's). ValueError as in the checks."""
    if not re.fullmatch(OWNER, user):
        raise ValueError(f"{user!r} is no Kaggle user name; take it from the address of your profile, in lower case")
    if not re.fullmatch(SLUG, competition):
        raise ValueError(f"{competition!r} is no competition name; take the last part of its address")
    if machine not in MACHINES:
        raise ValueError(f"no machine is called {machine!r}; choose from {', '.join(MACHINES)}")
    dataset = json.loads((CHECKOUT / "kaggle" / "dataset-metadata.json").read_text())
    kernel = json.loads((CHECKOUT / "kaggle" / "kernel-metadata.json").read_text())
    dataset["id"] = dataset["id"].replace("USER", user)
    kernel["id"] = kernel["id"].replace("USER", user)
    kernel |= {"dataset_sources": [dataset["id"]], "competition_sources": [competition], "machine_shape": machine}
    check_dataset(dataset)
    check_kernel(kernel)
    return dataset, kernel


def check_dataset(meta: dict) -> None:
    """ValueError unless Kaggle's client would take this dataset-metadata.json, and make its title this id."""
    slug = _check_id("dataset", meta)
    if not 6 <= len(slug) <= 50:  # its documentation says from 3, its code from 6
        raise ValueError(f"dataset slug {slug!r}: has {len(slug)} characters, where 6 to 50 are allowed")
    if not 6 <= len(meta["title"]) <= 50:
        raise ValueError(f"dataset title {meta['title']!r}: has {len(meta['title'])} characters, not 6 to 50")
    if len(meta.get("licenses", ())) != 1 or not meta["licenses"][0].get("name"):
        raise ValueError(f"dataset licenses {meta.get('licenses')}: exactly one with a name is needed")
    if not 20 <= len(meta.get("subtitle", "x" * 20)) <= 80:
        raise ValueError(f"dataset subtitle: has {len(meta['subtitle'])} characters, where 20 to 80 are allowed")


def check_kernel(meta: dict) -> None:
    """ValueError unless Kaggle's client and a competition without internet would take this kernel-metadata.json."""
    slug = _check_id("kernel", meta)
    if not 5 <= len(slug) <= 50:
        raise ValueError(f"kernel slug {slug!r}: has {len(slug)} characters, where 5 to 50 are allowed")
    wanted = {"language": "python", "kernel_type": "notebook", "enable_gpu": True, "enable_internet": False}
    for key, value in wanted.items():
        if meta.get(key) != value:
            raise ValueError(f"kernel {key} is {meta.get(key)!r}, but must be {value!r}")
    if not str(meta.get("code_file", "")).endswith(".ipynb"):
        raise ValueError(f"kernel code_file {meta.get('code_file')!r}: must name the notebook")
    if meta.get("machine_shape") not in MACHINES:
        raise ValueError(f"kernel machine_shape {meta.get('machine_shape')!r}: choose from {', '.join(MACHINES)}")
    for source in meta.get("dataset_sources", []):
        if not re.fullmatch(f"{OWNER}/{SLUG}", source):
            raise ValueError(f"kernel dataset source {source!r}: must be USER/SLUG")


def wheelhouse(folder: Path) -> list[Path]:
    """The wheels in `folder/wheels`, by name; ValueError unless they are exactly those in its lock."""
    lock = (folder / "requirements.lock").read_text()
    locked = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))
    wheels = sorted((folder / "wheels").glob("*.whl"))
    found = {sha256(path): path for path in wheels}
    if strange := found.keys() - locked:
        raise ValueError(f"{found[min(strange)].name}: is not in {folder.name}/requirements.lock; run make wheelhouse")
    if missing := len(locked - found.keys()):
        raise ValueError(f"{folder.name}/wheels: lacks {missing} of the locked wheels; run make wheelhouse")
    return wheels


def build_wheel(checkout: Path, folder: Path) -> Path:
    """Builds the project's wheel into `folder` and returns its path; equal sources give equal bytes.

    The build works on a copy, so the checkout stays as it is. ValueError if it fails, or if the wheel lacks a
    file of the packages, which an installed copy would then miss.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for name in PACKAGES:
            shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(checkout / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
        if importlib.util.find_spec("setuptools"):  # otherwise pip fetches it for the build
            command += ["--no-index", "--no-build-isolation"]
        epoch = {"SOURCE_DATE_EPOCH": "315532800"}  # 1980, the first year a zip file knows
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | epoch)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip() or "pip said nothing").splitlines()[-1]
            raise ValueError(f"the wheel cannot be built: {reason}")
        wanted = {
            path.relative_to(copy).as_posix()
            for name in PACKAGES
            for path in (copy / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    (wheel,) = folder.glob("tinyarc-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        if lost := wanted - set(archive.namelist()):
            raise ValueError(f"the wheel lacks {min(lost)} ({len(lost)} files in all): name it in pyproject.toml")
    return wheel


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def slugify(title: str) -> str:
    """The slug that Kaggle gives a title in ASCII."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _check_id(kind: str, meta: dict) -> str:
    """The slug in the id; ValueError unless the id is USER/SLUG and the title makes that slug."""
    if not re.fullmatch(f"{OWNER}/{SLUG}", meta.get("id", "")):
        raise ValueError(f"{kind} id {meta.get('id')!r}: must be USER/SLUG in lower case")
    slug = meta["id"].split("/")[1]
    if slugify(meta.get("title", "")) != slug:
        raise ValueError(
            f"{kind} title {meta.get('title')!r}: makes the slug {slugify(meta.get('title', ''))!r}, "
            f"but its id ends in {slug!r}"
        )
    return slug


def _write_json(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _commands(out: Path, dataset: str, kernel: str, competition: str, wheel: Path, weights, machine: str) -> str:
    version = wheel.name.split("-")[1]
    data, code = shlex.quote(str(out / "dataset")), shlex.quote(str(out / "kernel"))
    return f"""\
# {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, weights: {", ".join(weights) or "none, so it will not solve!"}
# machine: {machine}, {MACHINES[machine]}

# Once: the client, and the token from your account's settings (kaggle/README.md tells more).
pip install kaggle
kaggle auth login

# 1. The dataset: `create` the first time, `version` every later time. Wait until its status is ready.
kaggle datasets create -p {data}
kaggle datasets version -p {data} -m "tinyarc {version}"
kaggle datasets status {dataset}

# 2. The notebook. Pushing starts its commit run: a few tasks, some minutes. Wait until its status is complete.
kaggle kernels push -p {code}
kaggle kernels status {kernel}
kaggle kernels output {kernel} -p {shlex.quote(str(out.parent / "commit-run"))}

# 3. The scored run, one a day, up to 12 hours. VERSION is the number that the push printed.
kaggle competitions submit -c {competition} -k {kernel} -v VERSION -f submission.json -m "tinyarc {version}"
kaggle competitions submissions -c {competition}
"""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="NAME", help="your Kaggle user name")
    parser.add_argument("--competition", default=COMPETITION, metavar="SLUG")
    parser.add_argument("--machine", default="NvidiaL4", metavar="SHAPE", help="machine_shape (default: four L4)")
    parser.add_argument("--out", type=Path, default=Path("dist/kaggle"))


def _run(arguments: argparse.Namespace) -> None:
    print(pack(arguments.user, arguments.competition, arguments.out, arguments.machine).commands, end="")


COMMANDS = {"pack": Command(_options, _run)}
