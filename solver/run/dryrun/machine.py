"""The machine of a dry run: measured here, taken from an earlier run, or estimated; and words that say which."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

import torch

from solver.arc.tasks import Task
from solver.device import compute_dtype, cpu_count, worker_devices
from solver.learn.memory import SAFETY, USABLE, copy_bytes
from solver.model import ModelConfig, Network
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
    """The `machine`, the `bytes` that a full stack takes by weights and canvas size (None on a CPU), and the lines
    `said` of what is measured and what is an estimate."""

    machine: Machine
    bytes: dict[tuple[str, int], float] | None
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
    networks = {key: checkpoint.load(name, loops=config.loops) for key, name in config.networks.items()}
    places = [(key, size) for key in networks for size in stacks]
    bytes, fits = _memory(profile, where, networks, config, stacks)
    head = f"profile         {profile.name} ({profile.text}): {lanes} worker{'s'[: lanes > 1]}"
    if earlier is not None and _alike(earlier, profile, where):
        machine = _from_run(earlier, {key: network.config for key, network in networks.items()}, places, fits)
        said = [f"{head}; speeds and start-up of {earlier.name}, {earlier.starts[-1]['device']}"]
        made_of = {row.get("weights", "") for rows in earlier.log.values() for row in rows}
        if unknown := set(networks) - made_of - {""}:
            text = f"{', '.join(sorted(unknown))} taken to be slower or faster by its operations"
            said.append(f"                ESTIMATE: {text}")
        if profile.devices is not None:
            said.append("                ESTIMATE: each of its devices is taken to be as fast as that run's")
        return Supposed(machine, bytes, said)
    typical = {size: _middle_first(tasks[size]) for size in stacks}
    if profile.rate is not None:
        startup = measure({}, [WorkerSettings(config, 0, "cpu", 1)]).startup + CUDA_STARTUP
        size = min(stacks)
        task = typical[size][0]
        each = {key: costs.count_operations(network, task, size, config) for key, network in networks.items()}
        found = {
            (key, size): costs.estimate(profile, networks[key].config, each[key], config, size) for key, size in places
        }
        counted = each[""]
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
    fitting = {at: typical[at[1]][: min(stacks[at[1]], fits.get(at, stacks[at[1]]))] for at in places}
    measured = measure(fitting, settings)
    crew = f"{len(devices)} worker{'s'[: len(devices) > 1]} at once"
    said = [f"{head}; measured with {crew} on {where}, start-up {measured.startup:.1f} s"]
    if load > BUSY * cpu_count():
        said.append(f"                this machine is busy (load {load:.1f}): an idle one would do more")
    if profile.devices is not None:
        said.append("                ESTIMATE: each of its processors is taken to be as fast as one here")
    return Supposed(replace(measured, fits=fits), bytes, said)


def _memory(
    profile: Profile, where: torch.device, networks: dict[str, Network], config: SolveConfig, stacks: dict[int, int]
) -> tuple[dict[tuple[str, int], float] | None, dict[tuple[str, int], int]]:
    """Bytes of a full stack, or of as much of it as fits, and the copies that fit, by weights and canvas size; for
    GPUs."""
    if not profile.gpu and where.type != "cuda":
        return None, {}
    dtype = profile.dtype or compute_dtype(where)
    memory = profile.memory or torch.cuda.get_device_properties(where).total_memory
    one = {
        (key, size): SAFETY * copy_bytes(network, size, config.adapt, torch.device("cuda"), dtype)
        for key, network in networks.items()
        for size in stacks
    }
    fits = {at: max(1, int(USABLE * memory / bytes)) for at, bytes in one.items()}
    return {at: bytes * min(stacks[at[1]], fits[at]) for at, bytes in one.items()}, fits


def _alike(run: Run, profile: Profile, where: torch.device) -> bool:
    """Whether a run was done on devices such as the profile has."""
    device = run.starts[-1]["device"]
    if profile.gpu:
        return re.search(rf"\b{profile.known_as}\b", device) is not None
    return (device == "cpu") == (where.type == "cpu")


def _from_run(
    run: Run, models: dict[str, ModelConfig], places: list[tuple[str, int]], fits: dict[tuple[str, int], int]
) -> Machine:
    speeds, started = Speeds(models), []
    for rows in run.log.values():
        for row in rows:
            speeds.learn(row)
            started += [row["started"]] if "started" in row else []
    if speeds.seconds("step", 8) is None or speeds.seconds("view", 8) is None:
        raise ValueError(f"{run.directory}: its log says nothing about speed")
    found = {}
    for key, size in places:
        step, view = speeds.seconds("step", size, key), speeds.seconds("view", size, key)
        found[key, size] = costs.Cost(copy=step or 0.0, view=view or 0.0)
    return Machine(found, min(started, default=0.0), fits)


def _middle_first(tasks: list[Task]) -> list[Task]:
    """The tasks of one canvas size, beginning with one whose grids are of middling size."""
    ranked = sorted(tasks, key=lambda task: (task.largest_side, task.id))
    return ranked[len(ranked) // 2 :] + ranked[: len(ranked) // 2]
