"""`solve`: from tasks to a submission that is complete and valid on disk from the first moment."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import orjson
import torch

from solver import __version__
from solver.arc.expected import needed_side
from solver.arc.tasks import Challenges, Task
from solver.device import compute_dtype, cpu_count, pick_device
from solver.learn.canvas import choose_size
from solver.presets import SolveConfig
from solver.run.answers import Answers
from solver.run.folder import read_log, versions, write_json
from solver.run.job import Outcome, failure, run_job
from solver.run.planner import Planner
from solver.run.process import LocalProcess, WorkerSettings
from solver.run.schedule import Budget
from solver.run.team import Team
from solver.run.wire import unpack_outcome
from solver.run.workers import Report, Workers
from solver.weights import checkpoint


@dataclass(frozen=True)
class Progress:
    """What a listener hears after every job: tasks answered so far, of how many, how many further copies have joined
    in, and the seconds left."""

    done: int
    total: int
    again: int
    left: float


def solve(
    challenges: Challenges,
    source: Path,
    directory: Path,
    config: SolveConfig,
    *,
    tasks: list[Task] | None = None,
    out: Path | None = None,
    budget: float | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    dataset: str | None = None,
    seen: list[str] | None = None,
    resume: bool = False,
    listen: Callable[[Progress], None] = lambda progress: None,
    runner: Callable[..., list[Outcome]] = run_job,
    team: Team | None = None,
    spent: float = 0.0,
) -> Path:
    """Solves `tasks` (default: all of `challenges`, read from the file `source`) and returns the submission.

    `budget` in seconds; without one every task gets its full number of steps, once. The run folder `directory` is
    filled as `solver.run.folder` says; `out` is a second place for the submission. For the record: `dataset` is the
    name of the set, `seen` the tasks of it that the weights were trained on. With `resume` the folder's earlier run
    goes on: answered tasks are not done again, and `spent` seconds of the budget are gone already. A task that fails
    keeps its fallback answer, and its log row says why. `runner` does a job in a worker process; `team` lends the
    workers of other processes.
    """
    tasks = challenges.tasks if tasks is None else tasks
    where = pick_device(device)
    devices, threads = places(where, workers, len(tasks), team)
    record = _record(challenges, source, config, budget, seed, where, devices)
    record |= {"dataset": dataset, "seen": seen or [], "threads": threads, "processes": team.size if team else 1}
    if resume:
        _check_same(directory, record)
    answers = Answers(directory, challenges, config.rule, out, keep=resume)
    sizes = {task.id: choose_size(needed_side(task)) for task in tasks}
    settings = [WorkerSettings(config, seed, own, threads, runner) for own in devices]
    starters = [functools.partial(LocalProcess, own) for own in settings] + (team.hires() if team else [])
    inputs = {task.id: len(task.test_inputs) for task in tasks}
    planner = Planner(sizes, config, Budget(budget, spent=spent), len(starters), inputs=inputs)
    if resume:
        _take_up(directory, answers, planner)
    if source.resolve() != (directory / "challenges.json").resolve():
        shutil.copyfile(source, directory / "challenges.json")
    write_json(directory / "config.json", record)
    for task_id, error in () if resume else challenges.errors.items():
        outcome = failure(task_id, 0, str(error))
        answers.take(outcome, outcome.row)
    with team.alive() if team else contextlib.nullcontext():
        if planner.open():
            with Workers(starters) as crew:
                for report in crew.run(planner, {task.id: task for task in tasks}):
                    _hear(report, answers, planner)
                    answers.write()
                    done = len(tasks) - len(planner.unanswered)
                    listen(Progress(done, len(tasks), planner.again, planner.budget.left()))
        if team:
            team.end()
    for task_id in planner.unanswered:
        outcome = failure(task_id, 0, "no time left in the budget")
        answers.take(outcome, outcome.row)
    record["finished"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record["seconds"] = round_to(planner.budget.elapsed())
    write_json(directory / "config.json", record)
    return answers.documents[-1].path


def lend(team: Team, config: SolveConfig, tasks: list[Task], *, seed: int, device: str) -> None:
    """What a process of a team does that does not lead it: lends its device until the leader has finished."""
    devices, threads = places(pick_device(device), None, len(tasks), team)
    team.follow({task.id: task for task in tasks}, WorkerSettings(config, seed, devices[0], threads))


def _hear(report: Report, answers: Answers, planner: Planner) -> None:
    """Takes what a worker reported to the answers, and to the planner what that says about time."""
    spent = {}
    if report.job is not None:
        spent = {"worker": report.worker, "started": round_to(report.started), "ended": round_to(report.ended)}
    for outcome in report.outcomes:
        if report.job is None and (outcome.task_id, outcome.row["copy"]) in answers.finished:
            continue  # kept by another process, and known
        answers.take(outcome, {**outcome.row, **spent})
        planner.heard(outcome.row, answers.agreement(outcome.task_id))


def _take_up(directory: Path, answers: Answers, planner: Planner) -> None:
    """What an earlier, interrupted run has answered; failed tasks count as not heard of."""
    answers.restore()
    for path in sorted(directory.glob("parts/*.jsonl")):  # finished in other processes, but never reported
        for packed in read_log(path):
            outcome = unpack_outcome(packed)
            answers.take(outcome, outcome.row)
    answers.write()
    for task_id in planner.states:
        if copies := [copy for own, copy in answers.finished if own == task_id]:
            planner.known(task_id, max(copies) + 1, answers.agreement(task_id))


def _check_same(directory: Path, record: dict) -> None:
    """ValueError unless the run folder holds a run of the same tasks, weights, seed, steps and views."""
    path = directory / "config.json"
    try:
        before = orjson.loads(path.read_bytes())
        had = {what: before[what].get("sha256") for what in ("challenges", "weights")}
        plain = {key: before[key] for key in ("seed", "steps", "leave_one_out")}
        plain |= {"weights": before["weights"]["name"], "views": before["predict"]["views"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory}: holds no run to resume: {path.name}: {error!r}") from None
    for what, own in had.items():
        if own != record[what].get("sha256"):
            raise ValueError(f"{directory}: was run with other {what}, so it cannot be resumed with these")
    own = record | {"weights": record["weights"]["name"], "views": record["predict"]["views"]}
    for key, value in plain.items():
        if value != own[key]:
            raise ValueError(f"{directory}: was run with {key} {value}, not {own[key]}")


def round_to(seconds: float) -> float:
    return float(f"{seconds:.3f}")


def places(where: torch.device, workers: int | None, tasks: int, team: Team | None) -> tuple[list[str], int]:
    """A device for each worker of this process, and the CPU threads of each.

    One worker per processor on a CPU, but no more than there are tasks; one per GPU otherwise. In a team, one.
    """
    if team is not None:
        rank, beside = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        if where.type == "cpu":
            return ["cpu"], max(1, cpu_count() // beside)
        return [f"cuda:{rank % torch.cuda.device_count()}"], 1
    if where.type == "cpu":
        count = max(1, min(workers or cpu_count(), tasks))
        return ["cpu"] * count, max(1, cpu_count() // count)
    count = torch.cuda.device_count() if where.index is None else 1
    first = where.index or 0
    return [f"cuda:{first + i}" for i in range(min(workers or count, count))], 1


def _record(challenges: Challenges, source: Path, config: SolveConfig, budget, seed, where, devices) -> dict:
    weights = {"name": config.weights}
    if not config.weights.startswith("random:"):
        card = checkpoint.find(config.weights).card
        weights |= {key: card[key] for key in ("sha256", "parameters")}
    # Loaded here once so that what is wrong with weights is one clear line, and not a worker's death.
    network = checkpoint.load(config.weights, seed, loops=config.loops)
    return {
        "version": __version__,
        "command": " ".join(["tinyarc", *sys.argv[1:]]),
        "seed": seed,
        "weights": weights,
        "model": dataclasses.asdict(network.config),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else str(where),
        "dtype": str(compute_dtype(where)).removeprefix("torch."),
        "workers": len(devices),
        "budget": budget,
        "steps": config.adapt.steps if budget is None else None,
        **{key: value for key, value in dataclasses.asdict(config).items() if key != "weights"},
        "versions": versions(),
        "challenges": {"file": source.name, "sha256": challenges.sha256},
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "finished": None,
        "seconds": None,
    }
