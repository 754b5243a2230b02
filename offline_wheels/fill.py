"""Fills wheels/ with the packages in requirements.in, for the Pythons of Kaggle's image, and writes the lock.

`make wheelhouse` runs it; it is the one part of the project that downloads, and nothing else calls it.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHONS = ("3.12", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
HEADER = """\
# Written by fill.py from requirements.in: every wheel for Kaggle, each Python's, by its sha256.
"""
NOTHING = """\
# Nothing: all that tinyarc imports is on Kaggle's image, so the dataset holds its wheel alone.
"""


def main() -> None:
    lines = [line.split("#")[0].strip() for line in (HERE / "requirements.in").read_text().splitlines()]
    wanted = [line for line in lines if line]
    shutil.rmtree(HERE / "wheels", ignore_errors=True)
    for version in PYTHONS if wanted else ():
        download(wanted, version, HERE / "wheels")
    text = lock(sorted((HERE / "wheels").glob("*.whl")))
    (HERE / "requirements.lock").write_text(text)
    print(text, end="")


def download(wanted: list[str], version: str, folder: Path) -> None:
    """The wheels of exactly these packages for CPython `version`; ends the program if one cannot be had."""
    abis = (f"cp{version.replace('.', '')}", "abi3", "none")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        "--implementation",
        "cp",
        "--python-version",
        version,
        *(f"--abi={abi}" for abi in abis),
        *(f"--platform={platform}" for platform in PLATFORMS),
        *wanted,
    ]
    if subprocess.run(command).returncode:
        sys.exit(f"no wheels of {' '.join(wanted)} for CPython {version}; pip says why above")


def lock(wheels: list[Path]) -> str:
    """The text of requirements.lock: a line a package, with the hash of each of its wheels.

    ValueError if the Pythons got different versions of a package; pin it in requirements.in then.
    """
    hashes: dict[str, dict[str, list[str]]] = {}
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        hashes.setdefault(name.replace("_", "-").lower(), {}).setdefault(version, []).append(digest)
    text = HEADER if hashes else HEADER + NOTHING
    for name, versions in sorted(hashes.items()):
        if len(versions) > 1:
            raise ValueError(f"{name}: versions {' and '.join(sorted(versions))}; pin one in requirements.in")
        ((version, digests),) = versions.items()
        text += f"{name}=={version}" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in digests) + "\n"
    return text


if __name__ == "__main__":
    main()
