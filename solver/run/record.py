"""`config.json`: what a run is, which stays the same however often it is resumed, and an entry for each of its starts.

At the top stand the seed, the weights, those of further copies too (`also`), and the challenges with their hashes, and
every other field of the `SolveConfig`. In `starts` stand the command, the commit, the machine, the budget and the time
of each start: the first, and one for every resume. Rows of `log.jsonl` name the start that they belong to.
"""

from __future__ import annotations

import dataclasses
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypedDict, cast

import orjson

from solver import __version__
from solver.presets import SolveConfig
from solver.provenance import commit, versions
from solver.run.work import Work
from solver.weights import checkpoint

MAY_CHANGE = {"weights", "stack", "adapt_share", "first_share", "agreed", "max_copies", "may_zoom"}
"""Fields of a `SolveConfig` that a resumed run need not share with its beginning: they say how time and memory are
shared out, not what a first copy of a task is. (Weights are compared by their hash.)"""


class Start(TypedDict, total=False):
    """One start of a run."""

    command: str  # the command line
    version: str  # of tinyarc
    commit: str | None  # of the checkout, None where there is none
    versions: dict[str, str]  # of Python, torch and numpy
    device: str  # the kind of device, by its name
    dtype: str  # of the activations
    workers: int  # worker processes, at the start
    threads: int | None  # CPU threads of each; None where the workers of a cluster have their own
    tasks: int  # how many it was given to solve
    budget: float | None  # seconds, None for none
    started: str  # ISO 8601, UTC
    finished: str | None  # the same; None where it did not get to its end
    seconds: float | None  # it took, however it ended, on a monotonic clock; None where it was killed
    error: str  # where an error ended it: the traceback


Record = dict[str, Any]
"""What config.json holds."""


def new_record(work: Work, config: SolveConfig, budget: float | None, seed: int) -> Record:
    """What stays the same over the starts of a run. ValueError if its weights cannot be loaded."""
    # Loaded here once so that what is wrong with weights is one clear line, and not a worker's death.
    network, *_ = [checkpoint.load(name, seed, loops=config.loops) for name in config.networks.values()]
    return {
        "challenges": {"file": work.challenges.path.name, "sha256": work.challenges.sha256},
        "dataset": work.dataset,
        "seen": list(work.seen),
        "weights": _identity(config.weights),
        "model": dataclasses.asdict(network.config),
        "seed": seed,
        "steps": config.adapt.steps if budget is None else None,
        **{key: value for key, value in dataclasses.asdict(config).items() if key not in ("weights", "also")},
        "also": [_identity(name) for name in config.also],
        "starts": [],
    }


def _identity(weights: str) -> dict[str, object]:
    """What a record says of weights: their name and, where they have a card, what they are."""
    if weights.startswith("random:"):
        return {"name": weights}
    card = checkpoint.find(weights).card
    return {"name": weights, **{key: card[key] for key in ("sha256", "parameters")}}


def new_start(*, device: str, dtype: str, workers: int, threads: int | None, tasks: int, budget: float | None) -> Start:
    """The entry of a start that begins now; the fields are those of `Start`."""
    return {
        "command": " ".join(["tinyarc", *sys.argv[1:]]),
        "version": __version__,
        "commit": commit(),
        "versions": versions(),
        "device": device,
        "dtype": dtype,
        "workers": workers,
        "threads": threads,
        "tasks": tasks,
        "budget": budget,
        "started": now(),
        "finished": None,
        "seconds": None,
    }


def starts(record: Record) -> list[Start]:
    """The starts of a run, first one first. A record from before there were `starts` tells of one at its top."""
    if "starts" in record:
        return list(record["starts"])
    return [cast(Start, {key: record[key] for key in Start.__annotations__ if key in record})]


def earlier(directory: Path, record: Record) -> list[Start]:
    """The starts of the run in a folder, which is to be resumed. ValueError unless it is a run of the same tasks,
    weights, seed and recipe as `record` tells of; what an older record does not say is not compared."""
    path = directory / "config.json"
    try:
        before = orjson.loads(path.read_bytes())
        hashes, plain = _hashes(before), {"seed": before["seed"], **_names(before)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory}: holds no run to resume: {path.name}: {error!r}") from None
    wanted = orjson.loads(orjson.dumps(record | _names(record)))
    for what, digest in _hashes(record).items():
        if digest != hashes.get(what, digest):
            raise ValueError(f"{directory}: was run with other {what}, so it cannot be resumed with these")
    fields = {field.name for field in dataclasses.fields(SolveConfig)} - MAY_CHANGE - set(plain) | {"steps"}
    plain |= {key: before[key] for key in sorted(fields) if key in before}
    for key, value in _flat(plain).items():
        if key in (asked := _flat(wanted)) and value != asked[key]:
            raise ValueError(f"{directory}: was run with {key} {value}, not {asked[key]}, and keeps that when resumed")
    return starts(before)


def _hashes(record: Record) -> dict[str, str | None]:
    """The sha256 of the challenges and of every set of weights that a record tells of, by what they are."""
    known = {what: record[what].get("sha256") for what in ("challenges", "weights")}
    return known | {f"weights {one['name']}": one.get("sha256") for one in record.get("also", [])}


def _names(record: Record) -> dict[str, str]:
    """The weights that a record tells of, by name."""
    also = {"also": ", ".join(one["name"] for one in record["also"]) or "none"} if "also" in record else {}
    return {"weights": record["weights"]["name"], **also}


def resuming(directory: Path, before: list[Start], budget: float | None) -> str:
    """What the user should know when a run is resumed, in one line."""
    text = f"{directory}: start {len(before) + 1} of this run"
    if budget is None:
        return text
    return f"{text}, with a fresh budget of {budget:.0f} s; what earlier starts took is not counted"


def now() -> str:
    """The time, ISO 8601, UTC, in whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """{"adapt": {"lr": 1}} -> {"adapt.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{key}.{name}" if name else key: deep for name, deep in inner.items()}
    return flat
