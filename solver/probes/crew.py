"""Worker processes for a probe, one per core or GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from solver.arc.tasks import Task
from solver.learn.canvas import task_canvas
from solver.model import Network
from solver.presets import SolveConfig
from solver.probes.bench import Arm, Bench, Key
from solver.probes.catalogue import PROBES
from solver.run.job import Outcome, failed
from solver.run.process import LocalProcess, WorkerSettings
from solver.run.schedule import Job, Line
from solver.run.workers import Workers
from solver.weights import checkpoint


def groups(tasks: list[Task], size: int) -> list[list[Task]]:
    """Tasks in order, `size` at a time; a last one that would be too small joins the one before."""
    parts = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    if len(parts) > 1 and len(parts[-1]) < size:
        parts[-2:] = [parts[-2] + parts[-1]]
    return parts


def run(
    name: str,
    tasks: list[Task],
    config: SolveConfig,
    *,
    seconds: float | None,
    seed: int,
    devices: list[str],
    threads: int,
    listen: Callable[[int], None],
) -> tuple[dict[str, dict[Key, Arm]], dict[str, str]]:
    """The arms of every task of a probe, and {task id: why} for those that failed. `devices`: one per worker, each
    with so many CPU `threads`; `listen` hears how many tasks are done."""
    jobs, only = [], checkpoint.model_for_tasks(config.weights).canvas
    for part in groups(tasks, PROBES[name].group):
        jobs.append(Job(tuple(task.id for task in part), max(task_canvas(task, only) for task in part)))
    runner = functools.partial(_measure, name=name, seconds=seconds)
    arms: dict[str, dict[Key, Arm]] = {}
    errors: dict[str, str] = {}
    starters = [
        functools.partial(LocalProcess, WorkerSettings(config, seed, device, threads, runner)) for device in devices
    ]
    with Workers(starters) as crew:
        for report in crew.run(Line(jobs), {task.id: task for task in tasks}):
            for outcome in report.outcomes:
                if "error" in outcome.row:
                    errors[outcome.task_id] = outcome.row["error"]
                else:
                    assert isinstance(outcome, _Probed)
                    arms[outcome.task_id] = outcome.arms
            listen(len(arms) + len(errors))
    return {task.id: arms[task.id] for task in tasks if task.id in arms}, errors


@dataclass
class _Probed(Outcome):
    """A task and its arms."""

    arms: dict[Key, Arm]


def _measure(
    network: Network,
    tasks: list[Task],
    job: Job,
    config: SolveConfig,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    seconds: float | None,
) -> Sequence[Outcome]:
    """What a worker does with a job. An error costs the tasks of its group."""
    try:
        arms = PROBES[name].measure(Bench(config, seconds, seed, device, dtype), network, tasks)
    except Exception as error:  # a bug too: it costs these tasks, the others are measured
        return [failed(task.id, job.copy, error) for task in tasks]
    return [_Probed(task.id, {"task": task.id, "copy": job.copy}, None, arms[task.id]) for task in tasks]
