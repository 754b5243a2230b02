"""`solve`: from tasks to a submission that is complete and valid on disk from the first moment."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import orjson
import torch

from solver import __version__, checkpoint
from solver.answers import Answers
from solver.canvas import choose_size
from solver.device import compute_dtype, cpu_count, pick_device
from solver.job import Outcome, failure, run_job
from solver.presets import SolveConfig
from solver.runfolder import versions, write_json
from solver.schedule import Budget, Job, Queue
from solver.sizes import needed_side
from solver.tasks import Challenges, Task
from solver.workers import Workers


@dataclass(frozen=True)
class Progress:
    """What a listener hears after every job: tasks answered so far, of how many, and the seconds left."""

    done: int
    total: int
    round: int
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
    resume: bool = False,
    listen: Callable[[Progress], None] = lambda progress: None,
    runner: Callable[..., list[Outcome]] = run_job,
) -> Path:
    """Solves `tasks` (default: all of `challenges`, read from the file `source`) and returns the submission.

    `budget` in seconds; without one every task gets its full number of steps, once. The run folder
    `directory` is filled as `solver.runfolder` says; `out` is a second place for the submission, `dataset` the
    name of the set for the record. With `resume` the folder's earlier run goes on: answered tasks are not done
    again. A task that fails keeps its fallback answer, and its log row says why. `runner` does a job in a worker
    process.
    """
    clock = Budget(budget)
    tasks = challenges.tasks if tasks is None else tasks
    where = pick_device(device)
    devices = _devices(where, workers, len(tasks))
    threads = max(1, cpu_count() // len(devices)) if where.type == "cpu" else 1
    record = _record(challenges, source, config, budget, seed, where, devices)
    record |= {"dataset": dataset, "threads": threads}
    if resume:
        _check_same(directory, record)
    answers = Answers(directory, challenges, config.rule, out)
    if resume:
        answers.restore()
    if source.resolve() != (directory / "challenges.json").resolve():
        shutil.copyfile(source, directory / "challenges.json")
    write_json(directory / "config.json", record)
    for task_id, error in challenges.errors.items():
        outcome = failure(task_id, 0, str(error))
        answers.take(outcome, outcome.row)
    by_id = {task.id: task for task in tasks}
    sizes = {task.id: choose_size(needed_side(task)) for task in tasks}
    wanted = [task for task in tasks if task.id not in answers.heard]
    copy = 0
    with Workers(config, seed=seed, devices=devices, threads=threads, runner=runner) as crew:
        for round in range(config.max_copies):
            queue = Queue(_jobs(wanted, sizes, config.stack, copy, len(devices)), clock, len(devices))
            done = 0
            for worker, job, outcomes, started, ended in crew.run(queue, by_id):
                for outcome in outcomes:
                    spent = {"worker": worker, "started": round_to(started), "ended": round_to(ended)}
                    answers.take(outcome, {**outcome.row, **spent})
                answers.write()
                done += len(job.task_ids)
                listen(Progress(done, len(wanted), round, clock.left()))
            if budget is None:
                break
            # Where nearly all views agree nothing is left to gain; of the others, the surest come first.
            shares = {task.id: answers.agreement(task.id) for task in tasks}
            wanted = sorted((t for t in tasks if shares[t.id] < config.agreed), key=lambda t: -shares[t.id])
            wanted = wanted[: int(clock.left() / (config.worthwhile * budget) * len(tasks))]
            copy = answers.copies
            if not wanted:
                break
    for task in tasks:
        if task.id not in answers.heard:
            outcome = failure(task.id, 0, "no time left in the budget")
            answers.take(outcome, outcome.row)
    record["finished"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record["seconds"] = round_to(clock.elapsed())
    write_json(directory / "config.json", record)
    return answers.documents[-1].path


def _check_same(directory: Path, record: dict) -> None:
    """ValueError unless the run folder holds a run of the same tasks, weights and seed."""
    path = directory / "config.json"
    try:
        before = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{directory}: holds no run to resume: {error}") from None
    for what, own in (("challenges", record["challenges"]["sha256"]), ("weights", record["weights"].get("sha256"))):
        if before[what].get("sha256") != own:
            raise ValueError(f"{directory}: was run with other {what}, so it cannot be resumed with these")
    if before["seed"] != record["seed"]:
        raise ValueError(f"{directory}: was run with seed {before['seed']}, not {record['seed']}")


def round_to(seconds: float) -> float:
    return float(f"{seconds:.3f}")


def _jobs(tasks: list[Task], sizes: dict[str, int], stack: int, copy: int, workers: int) -> list[Job]:
    """Tasks of one canvas size, in file order, `stack` at a time: fewer where canvases are large, or where some
    worker would have nothing to do."""
    jobs = []
    for size in sorted(set(sizes.values())):
        ids = [task.id for task in tasks if sizes[task.id] == size]
        many = max(1, min(int(stack * min(1.0, (16 / size) ** 2)), -(-len(ids) // workers)))
        jobs += [Job(tuple(ids[i : i + many]), size, copy) for i in range(0, len(ids), many)]
    return jobs


def _devices(where, workers: int | None, tasks: int) -> list[str]:
    """One worker per processor on a CPU, but no more than there are tasks; one per GPU otherwise."""
    if where.type == "cpu":
        return ["cpu"] * max(1, min(workers or cpu_count(), tasks))
    count = torch.cuda.device_count() if where.index is None else 1
    first = where.index or 0
    return [f"cuda:{first + i}" for i in range(min(workers or count, count))]


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
