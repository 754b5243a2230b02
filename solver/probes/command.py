"""One probe from start to end: choose tasks, measure them in worker processes, score, write, say what was found."""

from __future__ import annotations

import argparse
import dataclasses
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from solver import __version__, presets
from solver.device import compute_dtype, pick_device, worker_devices
from solver.options import WEIGHTS, Command, add_machine, duration
from solver.plot import require_matplotlib
from solver.probes.catalogue import PROBES
from solver.probes.crew import groups, run
from solver.probes.measured import Measured
from solver.probes.plot import draw
from solver.probes.sample import choose, refuse_overlap
from solver.progress import ProgressBar
from solver.provenance import versions
from solver.run.folder import write_json
from solver.text import format_duration
from solver.weights import checkpoint


def run_probe(
    name: str,
    *,
    weights: str = "nano",
    sample: str = "held-out",
    limit: int = 16,
    seconds: float | None = None,
    steps: int | None = None,
    views: int | None = None,
    loops: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> str:
    """Runs the probe `name` and returns its tables as text; `probe-NAME.json` and `probe-NAME.svg` go into `out`
    (default `runs/<date-time>-probe-NAME`).

    A fine-tuning takes `seconds` or `steps`, by default the probe's own seconds; `loops` defaults to what the
    weights were trained with, `views` and `workers` to the machine's preset. ValueError for anything the user got
    wrong, weights trained on the tasks among it.
    """
    if name not in PROBES:
        raise ValueError(f"no probe is called {name!r}; choose from {', '.join(PROBES)}")
    for option, value in (
        ("seconds", seconds),
        ("steps", steps),
        ("views", views),
        ("loops", loops),
        ("workers", workers),
    ):
        if value is not None and value <= 0:
            raise ValueError(f"--{option} {value}: must be positive")
    if seconds is not None and steps is not None:
        raise ValueError("--seconds and --steps exclude each other")
    require_matplotlib()
    probe, where, chosen = PROBES[name], pick_device(device), choose(sample, limit)
    if len(chosen.tasks) < probe.group:
        raise ValueError(f"--limit {limit}: probe {name} needs at least {probe.group} tasks")
    checkpoint.load(weights, seed)  # fails here, with one clear line, rather than in a worker
    refuse_overlap(weights, chosen)
    if steps is None and seconds is None:
        seconds = probe.seconds
    config = presets.chosen(where.type, weights, steps=steps, views=views)
    config = replace(config, loops=loops)
    loops = checkpoint.load(weights, seed, loops=loops).config.loops
    out = out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-probe-{name}"
    if (out / f"probe-{name}.json").exists():
        raise ValueError(f"{out}: already holds probe {name}")
    out.mkdir(parents=True, exist_ok=True)

    devices, threads = worker_devices(where, workers, len(groups(chosen.tasks, probe.group)))
    expected = None
    if seconds is not None:
        expected = seconds * probe.tunings(weights) * len(chosen.tasks) / len(devices)
    started, begun = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    with ProgressBar(len(chosen.tasks)) as bar:

        def show(done: int) -> None:
            """Says how much time is left: as expected, and once tasks are done, at their pace."""
            pace = (time.monotonic() - begun) / done * (len(chosen.tasks) - done) if done else expected
            bar.show(done, "" if pace is None else f"about {format_duration(pace)} left")

        show(0)
        arms, errors = run(
            name, chosen.tasks, config, seconds=seconds, seed=seed, devices=devices, threads=threads, listen=show
        )
    measured = Measured(chosen, config.rule, config.predict.scored, arms, errors)
    finding = probe.report(measured)
    effort = f"{seconds:g} s" if steps is None else f"{steps} steps"
    dtype = str(compute_dtype(where)).removeprefix("torch.")
    lines = [
        f"probe {name}: {probe.question}",
        f"sample: {chosen.text}",
        f"weights {weights}, {loops} loop steps, fine-tuning {effort}, {config.predict.views} views, "
        f"rule {config.rule}, seed {seed}, {where} {dtype}, {len(devices)} worker{'s'[: len(devices) > 1]}; "
        "95% intervals over tasks",
    ]
    record = {
        "probe": name,
        "question": probe.question,
        "version": __version__,
        "seed": seed,
        "weights": _weights(weights),
        "sample": {
            "set": sample,
            "text": chosen.text,
            "content_sha256": chosen.data.content_hash,
            "tasks": [task.id for task in chosen.tasks],
        },
        "seconds_per_tuning": seconds,
        "steps_per_tuning": steps,
        "loops": loops,
        "adapt": dataclasses.asdict(config.adapt),
        "predict": dataclasses.asdict(config.predict),
        "rule": config.rule,
        "device": str(where),
        "dtype": dtype,
        "workers": len(devices),
        "versions": versions(),
        "started": started,
        "seconds": round(time.monotonic() - begun, 1),
        "errors": errors,
        "tables": [table.record for table in finding.tables],
        "per_task": _per_task(measured),
        "curves_per_task": finding.per_task,
    }
    write_json(out / f"probe-{name}.json", record)
    note = f"{len(chosen.tasks)} tasks ({sample}), weights {weights}, {effort}, 95% intervals"
    draw(finding.chart, note, out / f"probe-{name}.svg")
    failed = [f"failed, counted as missed: {task_id}: {error}" for task_id, error in errors.items()]
    tables = [part for table in finding.tables for part in ("", table.text)]
    return "\n".join([*lines, *failed, *tables, "", f"{out / f'probe-{name}.json'}, probe-{name}.svg beside it"])


def _weights(name: str) -> dict[str, str]:
    if name.startswith("random:"):
        return {"name": name}
    return {"name": name, "sha256": checkpoint.find(name).card["sha256"]}


def _per_task(measured: Measured) -> dict[str, dict[str, Any]]:
    """Of every task and arm: how long it was fine-tuned, and its marks."""
    marks = {key: measured.marks(key) for key in measured.keys}
    rows: dict[str, dict[str, Any]] = {}
    for place, task in enumerate(measured.sample.tasks):
        for key, arm in measured.arms.get(task.id, {}).items():
            spent = {"steps": arm.steps, "settled": arm.settled, "seconds": round(arm.seconds, 2)}
            rows.setdefault(task.id, {})[" ".join(map(str, key))] = spent | dataclasses.asdict(marks[key][place])
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="loops, views, steps, identity or ablate")
    parser.add_argument("--weights", default="nano", help=WEIGHTS)
    parser.add_argument("--set", dest="sample", default="held-out", help="held-out (default) or arc1-eval")
    parser.add_argument("--limit", type=int, default=16, help="how many tasks, small ones first")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--seconds", type=duration, help="time of one fine-tuning (default: the probe's own)")
    effort.add_argument("--steps", type=int, help="steps of one fine-tuning; the same seed then repeats exactly")
    parser.add_argument("--views", type=int, help="views of each test input")
    parser.add_argument("--loops", type=int, help="loop steps (default: as the weights were trained)")
    add_machine(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default runs/<date-time>-probe-NAME")


def _run(arguments: argparse.Namespace) -> None:
    names = ("weights", "sample", "limit", "seconds", "steps", "views", "loops", "device", "workers", "seed", "out")
    print(run_probe(arguments.name, **{name: getattr(arguments, name) for name in names}))


COMMANDS = {"probe": Command(_options, _run)}
