"""`tinyarc data`: makes a data file of a training from its authors' public repository."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import orjson

from solver.arc import datasets
from solver.arc.packed import pack, save_packed
from solver.options import Command, duration
from solver.progress import ProgressBar
from solver.training import arcgen, published
from solver.training.files import FILES
from solver.training.published import FilesRead, Gathered
from submission.files import write_whole

ABOUT = {
    "rearc": "RE-ARC: a checkout of michaelhodel/re-arc, or its re_arc.zip",
    "conceptarc": "ConceptARC: a checkout of victorvikram/ConceptARC",
    "arcgen": "ARC-GEN: a checkout of google/ARC-GEN, whose generators are run",
    "more": "checkouts of KSB21ST/MINI-ARC, neoneye/arc-dataset-tama, khalil-research/1D-ARC, one or several",
}
PAIRS = {"arc1-train": 300, "arc2-train": 500}
"""Pairs of a generator of ARC-GEN, by the set that its task is in."""


def build(source: str, paths: list[Path], out: Path, *, limit: float, progress: FilesRead) -> str:
    """Makes the file `out` of a source in FILES and returns what is in it, in words. `limit`: seconds a pair that is
    generated. ValueError, naming the file, for what is not as published."""
    if source != "more" and len(paths) != 1:
        raise ValueError(f"{source} is made of one repository, {len(paths)} are given")
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    if source == "conceptarc":
        write_whole(out, orjson.dumps(published.conceptarc(paths[0], progress)))
        data = datasets.conceptarc(out)
        pairs = sum(len(task.support) + len(task.test_inputs) for task in data.tasks)
        return f"{out}: {len(data.tasks)} tasks, {pairs} pairs, content sha256 {data.content_hash}"
    if source == "rearc":
        gathered = published.rearc(paths[0], progress)
    elif source == "more":
        gathered = published.small(paths, progress)
    else:
        gathered = arcgen.gather(paths[0], _generated_sets(), PAIRS, limit=limit, progress=progress)
    if not gathered.pairs:
        raise ValueError(f"{', '.join(map(str, paths))}: no pair is left; {_reasons(gathered.left_out)}")
    save_packed(out, pack(gathered.tasks))
    found = datasets.packed_pairs(out)
    assert len(found) == gathered.pairs, (len(found), gathered.pairs)
    return _account(out, gathered)


def _generated_sets() -> dict[str, datasets.DataSet]:
    """The training sets without what is in an evaluation set or holds a pair of one."""
    scored = {task.id for name in ("arc1-eval", "arc2-eval") for task in datasets.load(name).tasks}
    sets = {}
    for name in PAIRS:
        data = datasets.load(name)
        tasks = [task for task in data.tasks if task.id not in scored | datasets.LEAKING]
        sets[name] = datasets.DataSet(name, tasks, data.solutions, data.content_hash)
    return sets


def _account(out: Path, gathered: Gathered) -> str:
    text = f"{out}: {len(gathered.tasks)} tasks, {gathered.pairs} pairs, content sha256 {datasets.packed_hash(out)}"
    reasons = _reasons(gathered.left_out)
    return f"{text}\nleft out: {reasons}" if reasons else text


def _reasons(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)


def _options(parser: argparse.ArgumentParser) -> None:
    about = "; ".join(f"{source}: {text}" for source, text in ABOUT.items())
    parser.description = f"{about}. Nothing is downloaded. docs/data.md has licences and formats."
    parser.add_argument("source", choices=list(FILES), help="what is made")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="REPOSITORY", help="where it was checked out or unpacked"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="default data/ and the usual name")
    parser.add_argument("--limit", type=duration, default=5.0, help="arcgen: time for a pair (default 5s)")


def _run(arguments: argparse.Namespace) -> None:
    out = arguments.out or Path("data") / FILES[arguments.source]
    bar: ProgressBar | None = None

    def progress(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or ProgressBar(total, "files" if arguments.source != "arcgen" else "generators")
        if bar.live or done % max(1, total // 20) == 0 or done == total:
            bar.show(done)

    try:
        text = build(arguments.source, arguments.paths, out, limit=arguments.limit, progress=progress)
    finally:
        if bar is not None:
            bar.bar.close()
    print(text)


COMMANDS = {"data": Command(_options, _run)}
