"""One run under `torchrun`: the first process leads, the others lend it their devices, over the store of torchrun.

The leader plans, and keeps the run folder. Every process, the leader too, has a worker process of its own for its
device, so that a crash there (out of memory in the driver, a CUDA error) costs one job and is mended on the spot;
torchrun sees nothing of it. Should a process itself be lost, torchrun restarts all of them, and the leader goes on
with the run folder from where it stood, on the same budget. A process keeps what its device has finished in a file
of its own before it reports it, and after a restart reports that first; so two machines need no common disk.

Over the store go JSON messages alone: tasks are named by id, every process reads the challenges itself.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import torch.distributed as dist

from solver.arc.tasks import Task
from solver.run.log import read_log
from solver.run.process import READY, Kept, LocalProcess, WorkerSettings
from solver.run.schedule import Job
from solver.run.wire import Channel, pack_outcome, unpack_outcome
from voting import append_lines

POLL = 0.05
"""Seconds between two looks at the store."""
BEAT = 2.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""Seconds without a sign of life after which a process counts as lost."""


class Team:
    """This process's place among `size` ones: its `rank`. Whenever torchrun has begun anew, the leader begins
    another attempt, with its own part of the store. `spent`: seconds of the budget that earlier attempts took."""

    def __init__(self, store: dist.Store, rank: int, size: int) -> None:
        self.rank, self.size, self.spent = rank, size, 0.0
        self.lasting = dist.PrefixStore("tinyarc", store)
        if self.leads:
            attempt = self.lasting.add("attempts", 1)
            self.store = dist.PrefixStore(f"attempt-{attempt}", self.lasting)
            self.lasting.set("attempt", str(attempt))

    @classmethod
    def join(cls) -> Team | None:
        """The team of this process; None if it was not started by `torchrun` with others."""
        if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) < 2:
            return None
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(*address, is_master=False, wait_for_workers=False)
        return cls(store, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def hires(self) -> list:
        """For the leader: what starts a hand on each of the other processes."""
        return [functools.partial(RemoteHand, self, rank) for rank in range(1, self.size)]

    @property
    def began(self) -> bool:
        """Whether an earlier attempt has begun the run."""
        return self.lasting.check(["folder"])

    def remember(self, directory: Path | None) -> Path:
        """For the leader: tells the others the run folder; None asks for that of an earlier attempt."""
        if directory is None:
            folder, begun = orjson.loads(self.lasting.get("folder"))
            self.spent = max(0.0, time.time() - begun)
            return Path(folder)
        self.lasting.set("folder", orjson.dumps([str(directory), time.time()]))
        return directory

    def end(self) -> None:
        """For the leader: the run is done, and lets the others go."""
        self.store.set("end", b"")

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Gives signs of life while what is within is done."""
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def follow(self, tasks: dict[str, Task], settings: WorkerSettings) -> None:
        """For all but the leader: works for it until it lets go. What is finished is kept in the run folder's
        `parts/rank-N.jsonl` before it is reported. RuntimeError if the leader is silent for long."""
        leader = _Signs(self.lasting, 0)
        with self.alive(), contextlib.ExitStack() as stack:
            post, attempt = None, None
            while post is None or not post.store.check(["end"]):
                leader.check()
                if not self.lasting.check(["attempt", "folder"]):
                    time.sleep(POLL)
                    continue
                if (current := self.lasting.get("attempt")) != attempt:
                    attempt = current
                    stack.close()
                    store = dist.PrefixStore(f"attempt-{attempt.decode()}", self.lasting)
                    folder = Path(orjson.loads(self.lasting.get("folder"))[0])
                    post = _Post(store, self.rank, tasks, settings, folder / "parts" / f"rank-{self.rank}.jsonl")
                    stack.callback(post.close)
                post.turn()

    def _beat(self, over: threading.Event) -> None:
        with contextlib.suppress(Exception):  # a lost store ends `follow`, which says so
            for count in itertools.count():
                self.lasting.set(f"beat-{self.rank}", str(count))
                if over.wait(BEAT):
                    return


class _Signs:
    """The signs of life of one process of the team."""

    def __init__(self, lasting: dist.Store, rank: int) -> None:
        self.lasting, self.key, self.rank = lasting, f"beat-{rank}", rank
        self.last, self.since = None, time.monotonic()

    def check(self) -> None:
        """RuntimeError if there was none for SILENCE seconds."""
        now = self.lasting.get(self.key) if self.lasting.check([self.key]) else None
        if now != self.last:
            self.last, self.since = now, time.monotonic()
        if time.monotonic() - self.since > SILENCE:
            raise RuntimeError(f"process {self.rank} of the team has given no sign of life for {SILENCE:.0f} s")


class _Post:
    """A follower at work in one attempt: a hand, hired anew whenever the leader asks, and the way to it."""

    def __init__(
        self, store: dist.Store, rank: int, tasks: dict[str, Task], settings: WorkerSettings, kept: Path
    ) -> None:
        self.store, self.rank, self.tasks, self.settings, self.kept = store, rank, tasks, settings, kept
        self.hand: LocalProcess | None = None
        self.channel: Channel | None = None
        self.hired = 0
        kept.parent.mkdir(parents=True, exist_ok=True)

    def turn(self) -> None:
        """Passes on what has come, either way; waits a little if nothing has."""
        if self.store.check([f"{self.rank}/hired/{self.hired}"]):
            self.close()
            self.channel = Channel(self.store, f"{self.rank}/{self.hired}", "up", "down")
            self.hand, self.hired = LocalProcess(self.settings), self.hired + 1
            if self.hired == 1:
                for packed in read_log(self.kept):
                    self.channel.send({"kept": packed})
        if self.hand is None:
            time.sleep(POLL)
            return
        if (message := self.channel.poll()) is not None:
            job = Job(**message | {"task_ids": tuple(message["task_ids"])})
            with contextlib.suppress(OSError):  # its end is noticed below
                self.hand.pipe.send(([self.tasks[i] for i in job.task_ids], job))
        if not self.hand.pipe.poll(POLL):
            return
        try:
            answer = self.hand.pipe.recv()
        except (EOFError, OSError):
            self.channel.send({"died": self.hand.stop(patience=1.0)})
            self.hand = None
            return
        if answer == READY:
            self.channel.send({"ready": True})
            return
        packed = [pack_outcome(outcome) for outcome in answer]
        for own in packed:
            if own["pools"] is not None:
                append_lines(self.kept, [own])
        self.channel.send({"outcomes": packed})

    def close(self) -> None:
        if self.hand is not None:
            self.hand.stop()
            self.hand = None


class RemoteHand:
    """A worker process beside another process of the team. Its pipe is kept by a thread that listens to the store;
    it closes when the process, or the worker process beside it, is gone."""

    def __init__(self, team: Team, rank: int) -> None:
        self.pipe, theirs = Pipe()
        self.code: int | None = None
        self.over = threading.Event()
        turn = team.store.add(f"{rank}/turns", 1) - 1
        channel = Channel(team.store, f"{rank}/{turn}", "down", "up")
        team.store.set(f"{rank}/hired/{turn}", b"")
        signs = _Signs(team.lasting, rank)
        self.thread = threading.Thread(target=self._carry, args=(theirs, channel, signs), daemon=True)
        self.thread.start()

    def stop(self, patience: float = 0.0) -> int | None:
        """Stops listening; the process at the other end is let go by the next hire, or at the end of the run."""
        self.over.set()
        self.pipe.close()
        self.thread.join(patience + 5.0)
        return self.code

    def _carry(self, pipe: Connection, channel: Channel, signs: _Signs) -> None:
        with contextlib.closing(pipe), contextlib.suppress(Exception):  # whatever breaks, the pipe closes
            while not self.over.wait(POLL):
                signs.check()
                if pipe.poll():
                    _, job = pipe.recv()
                    channel.send(asdict(job))
                if (message := channel.poll()) is None:
                    continue
                if "died" in message:
                    self.code = message["died"]
                    return
                if "ready" in message:
                    pipe.send(READY)
                if "kept" in message:
                    pipe.send(Kept([unpack_outcome(message["kept"])]))
                if "outcomes" in message:
                    pipe.send([unpack_outcome(packed) for packed in message["outcomes"]])
