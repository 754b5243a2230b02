"""A worker of a Dask cluster, as a `solver.run.process.WorkerProcess`: a thread here asks, the worker there answers."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from solver.arc.tasks import Task
from solver.run import cluster_worker
from solver.run.process import READY, Ending
from solver.run.schedule import Job

LOST = 60.0
"""Seconds after which a worker is not expected back."""
LOOK = 0.5
"""Seconds between two looks at which workers there are."""
POLL = 0.02
"""Seconds between two looks at a job."""


class _Gone(Exception):
    """A worker is of no use any more; the message says why."""


class Leader(Protocol):
    """What such a process asks of the cluster it belongs to; `solver.run.cluster.Cluster` says what each is."""

    client: Any
    payload: cluster_worker.Payload | None
    places: dict[str, str]
    known: set[str]
    spoiled: set[str]
    refused: set[str]
    lost: set[str]

    @property
    def gone(self) -> bool: ...

    def complaint(self, there: cluster_worker.About) -> str | None: ...

    def refuse(self, place: str, reason: str) -> None: ...

    def restart(self, place: str, address: str) -> None: ...

    def obituary(self, place: str, pid: int) -> str: ...


class ClusterProcess:
    """A `solver.run.process.WorkerProcess`: what runs at one place of a cluster, until it fails. OSError if the place
    is gone for good."""

    def __init__(self, cluster: Leader, place: str) -> None:
        if place in cluster.refused or cluster.gone:
            raise ConnectionRefusedError(f"{place}: was left out")
        if place in cluster.lost:  # should it turn up after all, it is a new one
            cluster.lost.discard(place)
            cluster.known.discard(place)
            raise ConnectionError(f"{place}: is gone")
        self.cluster, self.place, self.address = cluster, place, ""
        self.pid: int | None = None  # of the worker, once it has said so
        self.channel, self.bell = multiprocessing.Pipe(duplex=False)
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None: there will be none
        self.stopped = threading.Event()
        self.asking = False  # whether the worker is at work
        self.ending = Ending("stopped")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def send(self, tasks: list[Task], job: Job) -> None:
        self.jobs.put(job)

    def receive(self) -> Any:
        self.channel.recv_bytes()
        return self.messages.get()

    def stop(self, patience: float = 0.0) -> Ending:
        self.stopped.set()
        self.jobs.put(None)
        self.thread.join(patience + 1.0)
        self.channel.close()
        if self.asking and self.cluster.places.get(self.place) == self.address:
            self.cluster.restart(self.place, self.address)
        return self.ending

    def _serve(self) -> None:
        with contextlib.closing(self.bell), contextlib.suppress(OSError):
            try:
                self._appear()
                payload = self.cluster.payload
                assert payload is not None
                [sent] = self.cluster.client.scatter([payload], workers=[self.address], hash=False)
                there = self._ask(cluster_worker.load, sent)
                self.pid = there.pid
                if complaint := self.cluster.complaint(there):
                    self.cluster.refuse(self.place, complaint)
                    raise _Gone(complaint)
                takes = self._ask(cluster_worker.announced)
                self._say(READY)
                while True:
                    self._say(self._ask(cluster_worker.work, payload.run, self._next_job(), takes=takes))
            except _Gone:
                pass
            except Exception as error:  # of Dask: whatever it is, this worker cannot be reached
                self.ending = Ending(f"{type(error).__name__}: {error}", traceback=traceback.format_exc())

    def _say(self, message: Any) -> None:
        self.messages.put(message)
        self.bell.send_bytes(b"!")

    def _next_job(self) -> Job:
        while True:
            with contextlib.suppress(queue.Empty):
                if (job := self.jobs.get(timeout=LOOK)) is None:
                    raise _Gone
                return job
            self._see_worker()

    def _see_worker(self) -> None:
        """Ends this process if its worker has left."""
        if self.cluster.gone:
            self._end("the scheduler is gone")
        if self.cluster.places.get(self.place) != self.address:
            has_nanny = self.place != self.address
            why = self.cluster.obituary(self.place, self.pid) if has_nanny and self.pid is not None else ""
            self._end(f"the Dask worker at {self.address} is gone" + (f": it {why}" if why else ""), killed=True)

    def _appear(self) -> None:
        """Waits until there is a worker at this place."""
        since = time.monotonic()
        while (address := self.cluster.places.get(self.place)) is None or address in self.cluster.spoiled:
            if self.cluster.gone:
                self._end("the scheduler is gone")
            if time.monotonic() - since > LOST:
                self.cluster.lost.add(self.place)
                self._end(f"no worker at {self.place} for {LOST:.0f} s")
            if self.stopped.wait(LOOK):
                raise _Gone
        self.address = address

    def _ask(self, function: Callable[..., Any], *arguments: Any, takes: dict[str, float] | None = None) -> Any:
        """What a function gives on the worker, which it `takes` for itself as far as the worker announces it."""
        self.asking = True
        how: dict[str, Any] = {"workers": [self.address], "pure": False, "retries": 0, "resources": takes or None}
        future = self.cluster.client.submit(function, *arguments, **how)
        while not future.done():
            if self.stopped.wait(POLL):
                raise _Gone
            self._see_worker()
        if future.status == "error":
            error, where = future.exception(timeout=LOST), future.traceback(timeout=LOST)
            text = "".join(traceback.format_exception(type(error), error, where))
            self.asking = self.place != self.address  # without a nanny, nobody would start another
            self._end(f"{type(error).__name__}: {error}", traceback=text)
        result = future.result(timeout=LOST)
        self.asking = False
        return result

    def _end(self, text: str, *, killed: bool = False, traceback: str | None = None) -> NoReturn:
        self.ending = Ending(text, killed, traceback)
        raise _Gone(text)
