"""The machine of a dry run: measured here, taken from an earlier run, or estimated; and words that say which."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

import torch

from solver.arc.tasks import Task
from solver.device import compute_dtype, cpu_count, worker_devices
from solver.learn.memory import SAFETY, USABLE, copy_bytes
from solver.model import Network
from solver.presets import SolveConfig
from solver.run.dryrun import costs
from solver.run.dryrun.measure import measure
from solver.run.dryrun.profiles import CUDA_STARTUP, Profile
from solver.run.dryrun.work import Machine
from solver.run.process import WorkerSettings
from solver.run.read import Run
from solver.run.schedule import Speeds
from solver.weights import checkpoint

BUSY = 0.5
"""Load average, as a share of the processors, from which others are said to slow what is measured."""


@dataclass(frozen=True)
class Supposed:
    """The `machine`, the `bytes` that a full stack takes by canvas size (None on a CPU), and the lines `said` of what
    is measured and what is an estimate."""

    machine: Machine
    bytes: dict[int, float] | None
    said: list[str]


def suppose(
    profile: Profile,
    where: torch.device,
    config: SolveConfig,
    tasks: dict[int, list[Task]],
    stacks: dict[int, int],
    lanes: int,
    earlier: Run | None,
) -> Supposed:
    """`where`: the device here. `tasks`: those that may be seen on a canvas, by its size. `stacks`: tasks of a full
    stack by canvas size. `lanes`: workers. The speeds of an `earlier` run are taken if it was run on such devices."""
    network = checkpoint.load(config.weights, loops=config.loops)
    bytes, fits = _memory(profile, where, network, config, stacks)
    head = f"profile         {profile.name} ({profile.text}): {lanes} worker{'s'[: lanes > 1]}"
    if earlier is not None and _alike(earlier, profile, where):
        machine = _from_run(earlier, stacks, fits)
        said = [f"{head}; speeds and start-up of {earlier.name}, {earlier.starts[-1]['device']}"]
        if profile.devices is not None:
            said.append("                ESTIMATE: each of its devices is taken to be as fast as that run's")
        return Supposed(machine, bytes, said)
    typical = {size: _middle_first(tasks[size]) for size in stacks}
    if profile.rate is not None:
        startup = measure({}, [WorkerSettings(config, 0, "cpu", 1)]).startup + CUDA_STARTUP
        size = min(stacks)
        counted = costs.count_operations(network, typical[size][0], size, config)
        found = {size: costs.estimate(profile, network.config, counted, config, size) for size in stacks}
        said = [
            f"{head}, {str(profile.dtype).removeprefix('torch.')}",
            f"                ESTIMATE: a device does {profile.rate / 1e12:g} TFLOP/s and "
            f"{1e-6 / profile.dispatch:.2f} million operations/s, give or take a factor of two",
            f"                counted: {counted.step} operations a step; start-up {startup:.1f} s, of which "
            f"{startup - CUDA_STARTUP:.1f} s measured here",
        ]
        return Supposed(Machine(found, startup, fits), bytes, said)
    devices, threads = worker_devices(where, lanes, lanes)
    if profile.devices is not None:
        devices, threads = ["cpu"] * min(lanes, cpu_count()), 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    settings = [WorkerSettings(config, 0, device, threads) for device in devices]
    fitting = {size: alike[: min(stacks[size], fits.get(size, stacks[size]))] for size, alike in typical.items()}
    measured = measure(fitting, settings)
    crew = f"{len(devices)} worker{'s'[: len(devices) > 1]} at once"
    said = [f"{head}; measured with {crew} on {where}, start-up {measured.startup:.1f} s"]
    if load > BUSY * cpu_count():
        said.append(f"                this machine is busy (load {load:.1f}): an idle one would do more")
    if profile.devices is not None:
        said.append("                ESTIMATE: each of its processors is taken to be as fast as one here")
    return Supposed(replace(measured, fits=fits), bytes, said)


def _memory(
    profile: Profile, where: torch.device, network: Network, config: SolveConfig, stacks: dict[int, int]
) -> tuple[dict[int, float] | None, dict[int, int]]:
    """Bytes of a full stack, or of as much of it as fits, and the copies that fit, by canvas size; for GPUs."""
    if not profile.gpu and where.type != "cuda":
        return None, {}
    dtype = profile.dtype or compute_dtype(where)
    memory = profile.memory or torch.cuda.get_device_properties(where).total_memory
    one = {size: SAFETY * copy_bytes(network, size, config.adapt, torch.device("cuda"), dtype) for size in stacks}
    fits = {size: max(1, int(USABLE * memory / one[size])) for size in stacks}
    return {size: one[size] * min(stacks[size], fits[size]) for size in stacks}, fits


def _alike(run: Run, profile: Profile, where: torch.device) -> bool:
    """Whether a run was done on devices such as the profile has."""
    device = run.starts[-1]["device"]
    if profile.gpu:
        return re.search(rf"\b{profile.known_as}\b", device) is not None
    return (device == "cpu") == (where.type == "cpu")


def _from_run(run: Run, stacks: dict[int, int], fits: dict[int, int]) -> Machine:
    speeds, started = Speeds(), []
    for rows in run.log.values():
        for row in rows:
            speeds.learn(row)
            started += [row["started"]] if "started" in row else []
    if speeds.seconds("step", min(stacks)) is None or speeds.seconds("view", min(stacks)) is None:
        raise ValueError(f"{run.directory}: its log says nothing about speed")
    found = {}
    for size in stacks:
        step, view = speeds.seconds("step", size), speeds.seconds("view", size)
        found[size] = costs.Cost(copy=step or 0.0, view=view or 0.0)
    return Machine(found, min(started, default=0.0), fits)


def _middle_first(tasks: list[Task]) -> list[Task]:
    """The tasks of one canvas size, beginning with one whose grids are of middling size."""
    ranked = sorted(tasks, key=lambda task: (task.largest_side, task.id))
    return ranked[len(ranked) // 2 :] + ranked[: len(ranked) // 2]
