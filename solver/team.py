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
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import torch.distributed as dist

from solver.hands import READY, HandSettings, Kept, LocalHand
from solver.job import Outcome
from solver.runfolder import append_line, read_log
from solver.schedule import Job
from solver.tasks import Task
from voting import parse_pool, pool_record

POLL = 0.05
"""Seconds between two looks at the store."""
BEAT = 2.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""Seconds without a sign of life after which a process counts as lost."""


class Team:
    """This process's place among `size` ones: its `rank`. `restarts`: how often torchrun has begun anew. `spent`:
    seconds of the budget that earlier attempts took."""

    def __init__(self, store: dist.Store, rank: int, size: int, restarts: int = 0) -> None:
        self.rank, self.size, self.spent = rank, size, 0.0
        self.lasting = dist.PrefixStore("tinyarc", store)
        self.store = dist.PrefixStore(f"attempt-{restarts}", self.lasting)

    @classmethod
    def join(cls) -> Team | None:
        """The team of this process; None if it was not started by `torchrun` with others."""
        if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) < 2:
            return None
        rank = int(os.environ["RANK"])
        hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=hosts, wait_for_workers=False
        )
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
        return cls(store, rank, int(os.environ["WORLD_SIZE"]), restarts)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def hires(self) -> list:
        """For the leader: what starts a hand on each of the other processes."""
        return [functools.partial(RemoteHand, self.store, rank) for rank in range(1, self.size)]

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
        """For the leader: lets the others go."""
        self.store.set("end", b"")

    def follow(self, tasks: dict[str, Task], settings: HandSettings) -> None:
        """For all but the leader: works for it until it lets go. What is finished is kept in the run folder's
        `parts/rank-N.jsonl` before it is reported."""
        while not self.lasting.check(["folder"]):
            time.sleep(POLL)
        kept = Path(orjson.loads(self.lasting.get("folder"))[0]) / "parts" / f"rank-{self.rank}.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        alive = threading.Event()
        threading.Thread(target=self._beat, args=(alive,), daemon=True).start()
        hand, channel, turn = None, None, 0
        try:
            while not self.store.check(["end"]):
                if self.store.check([f"{self.rank}/hired/{turn}"]):
                    if hand is not None:
                        hand.stop()
                    channel = Channel(self.store, f"{self.rank}/{turn}", "up", "down")
                    hand, turn = LocalHand(settings), turn + 1
                    channel.send({"kept": read_log(kept)})
                if hand is None:
                    time.sleep(POLL)
                    continue
                if (message := channel.poll()) is not None:
                    job = Job(**message | {"task_ids": tuple(message["task_ids"])})
                    with contextlib.suppress(OSError):
                        hand.pipe.send(([tasks[i] for i in job.task_ids], job))
                if not hand.pipe.poll(POLL):
                    continue
                try:
                    answer = hand.pipe.recv()
                except (EOFError, OSError):
                    channel.send({"died": hand.stop(patience=1.0)})
                    hand = None
                    continue
                if answer == READY:
                    channel.send({"ready": True})
                    continue
                packed = [pack_outcome(outcome) for outcome in answer]
                for own in packed:
                    append_line(kept, own)
                channel.send({"outcomes": packed})
        finally:
            alive.set()
            if hand is not None:
                hand.stop()

    def _beat(self, over: threading.Event) -> None:
        with contextlib.suppress(Exception):  # a lost store ends `follow`, which says so
            for count in itertools.count():
                self.store.set(f"{self.rank}/beat", str(count))
                if over.wait(BEAT):
                    return


class Channel:
    """Messages of one pair of processes over a store, in order: plain values as JSON."""

    def __init__(self, store: dist.Store, name: str, outward: str, inward: str) -> None:
        self.store = store
        self.outward, self.inward = f"{name}/{outward}", f"{name}/{inward}"
        self.sent = self.got = 0

    def send(self, message: dict) -> None:
        self.store.set(f"{self.outward}/{self.sent}", orjson.dumps(message))
        self.sent += 1

    def poll(self) -> dict | None:
        """The next message, None if there is none yet."""
        key = f"{self.inward}/{self.got}"
        if not self.store.check([key]):
            return None
        message = orjson.loads(self.store.get(key))
        self.store.delete_key(key)
        self.got += 1
        return message


class RemoteHand:
    """A worker process beside another process of the team. Its pipe is kept by a thread that listens to the store;
    it closes when the process, or the worker process beside it, is gone."""

    def __init__(self, store: dist.Store, rank: int) -> None:
        self.pipe, theirs = Pipe()
        self.code: int | None = None
        self.over = threading.Event()
        turn = store.add(f"{rank}/turns", 1) - 1
        channel = Channel(store, f"{rank}/{turn}", "down", "up")
        store.set(f"{rank}/hired/{turn}", b"")
        self.thread = threading.Thread(target=self._carry, args=(theirs, store, rank, channel), daemon=True)
        self.thread.start()

    def stop(self, patience: float = 0.0) -> int | None:
        """Stops listening; the process at the other end is let go by the next hire, or at the end of the run."""
        self.over.set()
        self.thread.join(patience + 5.0)
        self.pipe.close()
        return self.code

    def _carry(self, pipe: Connection, store: dist.Store, rank: int, channel: Channel) -> None:
        beat, since = None, time.monotonic()
        with contextlib.closing(pipe), contextlib.suppress(Exception):  # whatever breaks, the pipe closes
            while not self.over.wait(POLL):
                if pipe.poll():
                    _, job = pipe.recv()
                    channel.send(asdict(job))
                message = channel.poll()
                if message is not None:
                    if "died" in message:
                        self.code = message["died"]
                        return
                    if "ready" in message:
                        pipe.send(READY)
                    for kind, what in (("kept", Kept), ("outcomes", list)):
                        if message.get(kind):
                            pipe.send(what(unpack_outcome(packed) for packed in message[kind]))
                now = store.get(f"{rank}/beat") if store.check([f"{rank}/beat"]) else None
                if now != beat:
                    beat, since = now, time.monotonic()
                if time.monotonic() - since > SILENCE:
                    return


def pack_outcome(outcome: Outcome) -> dict:
    """An outcome as plain values."""
    pools = outcome.pools
    if pools is not None:
        copy = outcome.row["copy"]
        pools = [pool_record(outcome.task_id, index, copy, pool) for index, pool in enumerate(pools)]
    return {"task": outcome.task_id, "row": outcome.row, "pools": pools}


def unpack_outcome(packed: dict) -> Outcome:
    """What `pack_outcome` packed. KeyError, TypeError or ValueError if it is no outcome."""
    pools = packed["pools"]
    return Outcome(packed["task"], packed["row"], pools if pools is None else [parse_pool(own)[2] for own in pools])
