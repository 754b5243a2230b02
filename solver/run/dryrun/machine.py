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
from solver.run.canvases import Canvases
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
    tasks: list[Task],
    seen: Canvases,
    stacks: dict[int, int],
    lanes: int,
    earlier: Run | None,
) -> Supposed:
    """`where`: the device here. `seen`: the canvases of the `tasks`. `stacks`: tasks of a full stack by canvas size.
    `lanes`: workers. The speeds of an `earlier` run are taken if it was run on such devices."""
    networks = {key: checkpoint.load(name, loops=config.loops) for key, name in config.networks.items()}
    places = [(key, size) for key in networks for size in stacks if not key or size in seen.own.values()]
    bytes, fits = _memory(profile, where, networks, config, stacks)
    head = f"profile         {profile.name} ({profile.text}): {lanes} worker{'s'[: lanes > 1]}"
    if earlier is not None and _alike(earlier, profile, where):
        models = {key: network.config for key, network in networks.items()}
        speeds, made_of = _speeds(earlier, config, models)
        machine = _from_run(earlier, speeds, places, fits)
        said = [f"{head}; speeds and start-up of {earlier.name}, {earlier.starts[-1]['device']}"]
        if unknown := sorted(set(networks) - made_of):
            said.append(f"                ESTIMATE: {', '.join(unknown)} as much slower as there are more operations")
        if profile.devices is not None:
            said.append("                ESTIMATE: each of its devices is taken to be as fast as that run's")
        return Supposed(machine, bytes, said)
    typical = {size: _middle_first(alike) for size, alike in seen.by_size(tasks).items()}
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


def _speeds(run: Run, config: SolveConfig, models: dict[str, ModelConfig]) -> tuple[Speeds, set[str]]:
    """The speeds of an earlier run, and of which of these weights its copies were. ValueError if none was of their
    own."""
    keys = {name: key for key, name in config.networks.items()}
    own = (run.config.get("weights") or {}).get("name", config.weights)
    speeds, made_of = Speeds(models), set()
    for row in (row for rows in run.log.values() for row in rows if "error" not in row):
        if (key := keys.get(row.get("weights") or own)) is not None:
            speeds.learn({**row, "weights": key})
            made_of.add(key)
    if speeds.seconds("step", 8) is None or speeds.seconds("view", 8) is None:
        raise ValueError(f"{run.directory}: its log, of {own}, says nothing about the speed of {config.weights}")
    return speeds, made_of


def _from_run(run: Run, speeds: Speeds, places: list[tuple[str, int]], fits: dict[tuple[str, int], int]) -> Machine:
    started = [row["started"] for rows in run.log.values() for row in rows if "started" in row]
    found = {}
    for key, size in places:
        step, view = speeds.seconds("step", size, key), speeds.seconds("view", size, key)
        found[key, size] = costs.Cost(copy=step or 0.0, view=view or 0.0)
    return Machine(found, min(started, default=0.0), fits)


def _middle_first(tasks: list[Task]) -> list[Task]:
    """The tasks of one canvas size, beginning with one whose grids are of middling size."""
    ranked = sorted(tasks, key=lambda task: (task.largest_side, task.id))
    return ranked[len(ranked) // 2 :] + ranked[: len(ranked) // 2]
