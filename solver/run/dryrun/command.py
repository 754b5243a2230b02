"""`tinyarc dry-run` from start to end: read, measure or estimate, simulate, say."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from solver import presets
from solver.arc.tasks import Task, load_challenges
from solver.device import pick_device, worker_devices
from solver.learn.canvas import ZOOM
from solver.options import SOLVING_WEIGHTS, Command, add_machine, duration
from solver.plot import require_matplotlib
from solver.presets import SolveConfig
from solver.run.canvases import canvases
from solver.run.dryrun import tables
from solver.run.dryrun.machine import suppose
from solver.run.dryrun.outlook import EASY, Outlook, assumed, like
from solver.run.dryrun.profiles import Profile, find
from solver.run.dryrun.simulate import Fault, Simulation
from solver.run.dryrun.timeline import draw
from solver.run.dryrun.work import SimTask
from solver.run.planner import stack_size
from solver.run.read import Run, read_run
from solver.text import format_duration
from solver.weights import checkpoint


def dry_run(
    challenges: Path,
    *,
    profile: str = "here",
    budget: float | None = None,
    weights: str | None = None,
    steps: int | None = None,
    views: int | None = None,
    leave_one_out: bool = False,
    device: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    easy: float = 0.15,
    run_as: Path | None = None,
    faults: Sequence[tuple[str, float]] = (),
    svg: Path = Path("dry-run.svg"),
) -> str:
    """What `solve` would do with a challenges file on a machine like `profile`, as text; the picture goes to `svg`.

    `budget` in seconds; without one every task gets its full number of steps, once. `easy`: the share of the tasks
    taken to settle early; with `run_as`, an earlier run's folder, they do as that run's did. `faults`: who dies, and
    after how many seconds. ValueError for what the user got wrong.
    """
    require_matplotlib()
    begun = time.monotonic()
    machine_kind, where = find(profile), pick_device("cpu" if profile == "cpu" else device)
    for option, value in (("workers", workers), ("steps", steps), ("views", views), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"--{option} {value}: must be at least 1")
    if not 0.0 <= easy <= 1.0:
        raise ValueError(f"--easy {easy}: is no share from 0 to 1")
    tasks = load_challenges(challenges).tasks[:limit]
    if not tasks:
        raise ValueError(f"{challenges}: holds no task")
    kind = "cuda" if machine_kind.gpu else where.type
    config = presets.chosen(kind, weights, steps=steps, views=views, leave_one_out=leave_one_out).within(budget)
    seen = canvases(tasks, config)
    earlier = None if run_as is None else read_run(run_as)
    lanes = _lanes(machine_kind, where, workers, len(tasks))
    deaths = sorted((Fault(*fault) for fault in faults), key=lambda fault: fault.seconds)
    for fault in deaths:
        if fault.who not in ("parent", "worker", *(f"worker{n}" for n in range(lanes))):
            raise ValueError(f"--fault {fault.who}: is not parent, worker or one of worker0 to worker{lanes - 1}")
    sharing = 1 if budget is None else lanes
    stacks = {
        (size, zoom): stack_size(config, size, count, sharing)
        for zoom, sides in ((1, seen.own), (ZOOM, seen.zoomed))
        for size, count in Counter(sides.values()).items()
    }
    largest = {size: max(stacks.get((size, 1), 0), stacks.get((size, ZOOM), 0)) for size, _ in stacks}
    supposed = suppose(machine_kind, where, config, tasks, seen, largest, lanes, earlier)
    machine = supposed.machine
    outlooks = assumed(list(seen.own), easy) if earlier is None else like(earlier, seen.own)
    simulated = [
        SimTask(t.id, seen.own[t.id], len(t.test_inputs), _slots(t, config), outlooks[t.id], seen.zoomed.get(t.id))
        for t in tasks
    ]
    ready = time.monotonic()
    models = {key: checkpoint.running(name, config.loops) for key, name in config.networks.items()}
    result = Simulation(simulated, config, machine, lanes, budget, models).run(deaths)
    plain = Simulation(simulated, config, machine, lanes, budget, models).run() if result.hit else None
    done = time.monotonic()
    what = f"{len(tasks)} tasks, weights {config.weights}, "
    what += f"{config.adapt.steps} steps each" if budget is None else f"budget {format_duration(budget)}"
    draw(result, lanes, budget, config.first_share, f"dry run of {what}, {machine_kind.name}", svg)
    parts = [
        f"dry run         {what}, {config.predict.views} views",
        *([] if budget is None else [tables.share(budget, lanes, config, seen)]),
        *supposed.said,
        _guess(outlooks, easy, earlier),
        tables.verdict(result, config, budget, lanes, len(tasks)),
        *([tables.faults(result, plain)] if plain else []),
        *(f"fault           {f.who} at {format_duration(f.seconds)}: after the end" for f in deaths[len(result.hit) :]),
        "",
        tables.by_copy(result),
        "",
        tables.by_size(result, machine, seen.own, stacks, supposed.bytes),
        "",
        f"{svg}: the picture; measured in {ready - begun:.1f} s, simulated in {done - ready:.1f} s",
    ]
    return "\n".join(parts)


def _guess(outlooks: dict[str, Outlook], easy: float, earlier: Run | None) -> str:
    """The line that says what nobody can know and what was taken in its place."""
    if earlier is not None:
        return f"assumed         tasks settle and agree as those of {earlier.name} did on the same canvas"
    easy_tasks = sum(outlook.settles is not None for outlook in outlooks.values())
    return (
        f"assumed         {easy_tasks} task{'s'[: easy_tasks != 1]} ({easy:.0%}, by id) settle after {EASY.settles} "
        "steps and agree, the others never do (--easy, --like)"
    )


def _lanes(profile: Profile, where: torch.device, workers: int | None, tasks: int) -> int:
    """Devices at work: as `solve` chooses them. On several machines there may be more GPUs than the profile has."""
    if profile.devices is None:
        return len(worker_devices(where, workers, tasks)[0])
    if profile.gpu:
        return workers or profile.devices
    return max(1, min(workers or profile.devices, tasks))


def _slots(task: Task, config: SolveConfig) -> int:
    return len(task.support) if config.leave_one_out else 1


def fault(text: str) -> tuple[str, float]:
    """The type of `--fault`: `worker@3h`, `worker2@90m`, `parent@5h` -> who dies, and after how many seconds."""
    match = re.fullmatch(r"(worker\d*|parent)@(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no fault; write worker@3h, worker2@90m or parent@5h")
    return match[1], duration(match[2])


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("challenges", type=Path, metavar="CHALLENGES.json", help="tasks in Kaggle's format")
    parser.add_argument("--profile", default="here", help="l4x4, t4x2, p100, h100, cpu or here (default)")
    parser.add_argument("--weights", help=SOLVING_WEIGHTS)
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--budget", type=duration, help="time for everything, e.g. 6m or 11h40m")
    limits.add_argument("--steps", type=int, help="fine-tuning steps a task, without a budget")
    parser.add_argument("--views", type=int, help="views of each test input")
    parser.add_argument("--leave-one-out", action="store_true", help="a copy per support, trained without it")
    add_machine(parser, device="the one to measure: auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--limit", type=int, help="only the first so many tasks")
    guess = parser.add_mutually_exclusive_group()
    guess.add_argument("--easy", type=float, default=0.15, help="share of tasks taken to settle early (default 0.15)")
    guess.add_argument("--like", dest="run_as", type=Path, metavar="RUN_DIR", help="tasks do as those of this run did")
    parser.add_argument("--fault", dest="faults", type=fault, action="append", default=[], metavar="WHO@TIME",
                        help="worker@3h, worker2@90m or parent@5h: it dies then; may be given again")  # fmt: skip
    parser.add_argument("--svg", type=Path, default=Path("dry-run.svg"), help="the picture (default dry-run.svg)")


def _run(arguments: argparse.Namespace) -> None:
    names = ["profile", "budget", "weights", "steps", "views", "leave_one_out", "device", "workers", "limit"]
    names += ["easy", "run_as", "faults", "svg"]
    print(dry_run(arguments.challenges, **{name: getattr(arguments, name) for name in names}))


COMMANDS = {"dry-run": Command(_options, _run)}
