"""Wheels: the project's own, built so that equal sources give equal bytes, and those that travel beside it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = ("solver", "tta", "voting", "submission")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""The versions of CPython that the project may meet, oldest first."""


def served(wheels: Iterable[str]) -> list[str]:
    """Those of PYTHONS that find a wheel of every package among these file names. A package may have several."""
    tags: dict[str, list[tuple[str, str]]] = {}
    for name in wheels:
        package, *_, python, abi, _ = name.removesuffix(".whl").split("-")
        tags.setdefault(package.lower(), []).append((python, abi))
    return [version for version in PYTHONS if all(any(_fits(version, *tag) for tag in each) for each in tags.values())]


def _fits(version: str, python: str, abi: str) -> bool:
    """Whether a wheel with these tags, as `py2.py3` and `none`, installs on CPython `version`, as `3.12`."""
    minor = int(version.split(".")[1])
    for tag in python.split("."):
        match = re.fullmatch(r"(py|cp)3(\d*)", tag)
        if match is None:
            continue
        if match[1] == "py" or abi == "abi3":
            fits = int(match[2] or 0) <= minor
        else:
            fits = match[2] == str(minor)
        if fits:
            return True
    return False


def wheelhouse(folder: Path) -> list[Path]:
    """The wheels in `folder/wheels`, by name; ValueError unless they are exactly those in its lock."""
    lock = (folder / "requirements.lock").read_text(encoding="utf-8")
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
        for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-MIT-0"):
            shutil.copy2(checkout / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
        if _builds_here():  # otherwise pip fetches what the build needs
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


def _builds_here() -> bool:
    """Whether setuptools is installed, in a version that pyproject.toml takes."""
    try:
        return int(metadata.version("setuptools").split(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        return False


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
