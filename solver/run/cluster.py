"""A running Dask cluster as the place where jobs are done, instead of processes on this machine.

Every Dask worker is a place for one job at a time. This process leads: it plans, sends each worker weights and tasks
once and after that only jobs, and brings outcomes to its own run folder as they come; the workers keep nothing and
need no common disk. A worker that is lost or hangs is replaced by what its nanny starts in its stead; one that joins
later is used from then on.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import distributed
import orjson

from solver.arc.tasks import Task
from solver.run import cluster_worker
from solver.run.cluster_process import LOOK, LOST, ClusterProcess
from solver.run.cluster_worker import About
from solver.run.process import WorkerSettings, loaded
from solver.run.workers import Starter

CONNECT = 5.0
"""Seconds for a scheduler to answer."""
OBITUARY = 1.0
"""Seconds for a nanny to tell what its worker died of."""
NOTES = 100
"""Last lines of a nanny's log in which that is looked for."""


class Cluster:
    """The workers of the scheduler at `address` (`tcp://HOST:8786`, or a scheduler file), with the `device` of each. A
    context manager. `say` gets lines for the user; `patience`: seconds to wait for a first worker, None for however
    long it takes.

    `about` is what the first worker is: all others must have its kind of device, and the versions that are here.
    ValueError, one line, if no scheduler answers, no worker comes, or versions differ.
    """

    def __init__(
        self, address: str, device: str = "auto", *, say: Callable[[str], None] = print, patience: float | None = None
    ) -> None:
        for name in ("", ".client", ".core"):  # what matters is said here, in one line
            logging.getLogger(f"distributed{name}").setLevel(logging.CRITICAL)
        self.device, self.say = device, say
        self.client = _connect(address)
        self.over = threading.Event()
        self.restarts: list[threading.Thread] = []
        self.places: dict[str, str] = {}  # what stays of a worker when it is restarted, its nanny -> its address now
        self.known: set[str] = set()  # places that were handed out
        self.spoiled: set[str] = set()  # addresses of workers that are being ended
        self.refused: set[str] = set()  # places with other versions or another kind of device
        self.lost: set[str] = set()  # places that a process waited for in vain
        self.payload: cluster_worker.Payload | None = None  # of the run that goes on
        self.channel, self.bell = multiprocessing.Pipe(duplex=False)
        try:
            self.about = self._meet(address, patience)
        except BaseException:  # a control-C too: the connection may not outlive this
            self.client.close()
            raise
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in [self.watcher, *self.restarts]:
            thread.join(10)
        self._forget()
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self.client.close(timeout=5)

    def starters(self, settings: WorkerSettings, tasks: list[Task]) -> list[Starter]:
        """Begins a run: what starts a process on each of the places that there are. Further ones are arrivals.
        RuntimeError if there is none any more."""
        self._forget()
        by_id = {task.id: task for task in tasks}
        self.payload = cluster_worker.Payload(uuid.uuid4().hex, loaded(settings), settings, by_id)
        self.known.clear()
        since = time.monotonic()
        while not (starters := self.receive()):
            if time.monotonic() - since > LOST:
                raise RuntimeError(f"the cluster has had no worker for {LOST:.0f} s")
            time.sleep(LOOK)
        return starters

    def receive(self) -> list[Starter]:
        """Starters for places that have turned up, as `solver.run.workers.Arrivals` has it."""
        while self.channel.poll():
            self.channel.recv_bytes()
        fresh = [place for place in self.places if place not in self.known | self.refused]
        self.known.update(fresh)
        self.lost.difference_update(fresh)
        return [partial(ClusterProcess, self, place) for place in fresh]

    @property
    def gone(self) -> bool:
        """Whether the scheduler is: Dask has tried for seconds to reach it again."""
        return bool(self.client.status in ("closing", "closed"))

    def complaint(self, there: About) -> str | None:
        """In what another worker does not go with this process and the first worker."""
        here = cluster_worker.about("cpu")
        differing = [name for name in ("tinyarc", "torch", "python") if getattr(there, name) != getattr(here, name)]
        if differing:
            said = [", ".join(f"{name} {asdict(it)[name]}" for name in differing) for it in (there, here)]
            return f"has {said[0]}; here it is {said[1]}"
        if there.kind != self.about.kind:
            return f"computes on {there.kind}, the first one on {self.about.kind}"
        return None

    def refuse(self, place: str, reason: str) -> None:
        """Leaves a place out for good, and says so once."""
        if place not in self.refused:
            self.refused.add(place)
            self.say(f"left out the worker at {self.places.get(place, place)}: it {reason}")

    def restart(self, place: str, address: str) -> None:
        """Ends a worker with all that it does; its nanny starts another. One without a nanny stays as it is, and is
        not used again."""
        self.spoiled.add(address)

        def end() -> None:
            with contextlib.suppress(Exception):  # it may be gone, or the scheduler; then nobody asks for it again
                done = self.client.restart_workers([address], timeout=LOST, raise_for_error=False)
                if all(result == "OK" for result in done.values()):
                    self.spoiled.discard(address)  # a worker with a fixed port comes back under its old address

        if place != address:
            self.restarts.append(threading.Thread(target=end, daemon=True))
            self.restarts[-1].start()

    def obituary(self, place: str, pid: int) -> str:
        """What the nanny at a place has noted of the end of its worker process, such as `was killed by signal 9`; empty
        if it does not tell at once."""
        found: list[str] = []
        until = time.monotonic() + OBITUARY
        with contextlib.suppress(Exception):  # of Dask: the nanny may be gone with its worker, or the scheduler
            while not found and (left := until - time.monotonic()) > 0:
                # The scheduler hands the question on to whatever is at that address.
                ask = partial(self.client.scheduler.worker_logs, n=NOTES, workers=[place])
                newest_first = self.client.sync(ask, callback_timeout=left)[place]
                found = [said for _, line in reversed(newest_first) if (said := of_death(line, pid))]
                if not found:
                    time.sleep(min(0.1, left))
        return ", ".join(found)

    def _forget(self) -> None:
        """Lets the workers drop what they keep of the run before."""
        if self.payload is not None and (workers := list(self.places.values())):
            with contextlib.suppress(Exception):  # if a worker or the scheduler is gone, nothing is kept there
                self.client.run(cluster_worker.forget, self.payload.run, workers=workers, on_error="ignore")

    def _meet(self, address: str, patience: float | None) -> About:
        """Waits for a first worker, and asks all there are what they are."""
        self.places = self._look()
        if not self.places:
            self.say(f"no worker at {address} yet: waiting for one")
        begun = time.monotonic()
        while not self.places:
            if patience is not None and time.monotonic() - begun > patience:
                raise ValueError(f"--cluster {address}: the scheduler is there, but no worker has come")
            time.sleep(LOOK)
            self.places = self._look()
        answers = self.client.run(cluster_worker.about, self.device, on_error="return")
        for worker, answer in answers.items():
            if isinstance(answer, BaseException):
                raise ValueError(f"--cluster {address}: the worker at {worker} cannot solve: {answer!r}")
            self.about = next(iter(answers.values()))
            if complaint := self.complaint(answer):
                raise ValueError(f"--cluster {address}: the worker at {worker} {complaint}")
        return self.about

    def _look(self) -> dict[str, str]:
        """The workers there are: place -> address."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return {it.get("nanny") or address: address for address, it in workers.items() if address not in self.spoiled}

    def _watch(self) -> None:
        while not self.over.wait(LOOK) and not self.gone:
            with contextlib.suppress(Exception):  # the scheduler does not answer; Dask tries to reach it again
                self.places = self._look()
            if set(self.places) - self.known - self.refused:
                self.bell.send_bytes(b"!")


def of_death(line: str, pid: int) -> str | None:
    """What a line of a nanny's log says of the end of the process `pid`; None if it is about anything else."""
    said = re.search(rf"\b(?:process |pid=){pid}\b\)? ((?:was killed|exited|exceeded) .*?)\.?(?: Restarting.*)?$", line)
    return said[1] if said else None


def _connect(address: str) -> Any:
    """A client of the scheduler at an address or named by a file. ValueError if none answers."""
    where = address
    if "://" not in address and Path(address).is_file():
        try:
            where = orjson.loads(Path(address).read_bytes())["address"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f"--cluster {address}: is no scheduler file") from None
    elif "://" not in address:
        raise ValueError(f"--cluster {address}: is neither an address such as tcp://HOST:8786 nor a scheduler file")
    try:
        client: Any = distributed.Client
        return client(where, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--cluster {address}: no Dask scheduler answers there ({reason})") from None
