"""Messages between processes over a store of torch: plain values as JSON, outcomes among them."""

from __future__ import annotations

import orjson
import torch.distributed as dist

from solver.run.job import Outcome
from voting import parse_pool, pool_record


class Channel:
    """Messages of one pair of processes over a store, in order: plain values as JSON, in parts that the store takes."""

    PART = 4 * 2**20
    """Bytes; the store of torch takes no value above 8 MiB."""

    def __init__(self, store: dist.Store, name: str, outward: str, inward: str) -> None:
        self.store = store
        self.outward, self.inward = f"{name}/{outward}", f"{name}/{inward}"
        self.sent = self.got = 0

    def send(self, message: dict) -> None:
        data, key = orjson.dumps(message), f"{self.outward}/{self.sent}"
        parts = [data[begin : begin + self.PART] for begin in range(0, len(data), self.PART)]
        for number, part in enumerate(parts):
            self.store.set(f"{key}/{number}", part)
        self.store.set(key, str(len(parts)))
        self.sent += 1

    def poll(self) -> dict | None:
        """The next message, None if there is none yet."""
        key = f"{self.inward}/{self.got}"
        if not self.store.check([key]):
            return None
        keys = [f"{key}/{number}" for number in range(int(self.store.get(key)))]
        message = orjson.loads(b"".join(map(self.store.get, keys)))
        for own in (*keys, key):
            self.store.delete_key(own)
        self.got += 1
        return message


def pack_outcome(outcome: Outcome) -> dict:
    """An outcome as plain values."""
    pools, copy = outcome.pools, outcome.row["copy"]
    if pools is not None:
        pools = [pool_record(outcome.task_id, index, copy, pool) for index, pool in enumerate(pools)]
    return {"task": outcome.task_id, "copy": copy, "row": outcome.row, "pools": pools}


def unpack_outcome(packed: dict) -> Outcome:
    """What `pack_outcome` packed. KeyError, TypeError or ValueError if it is no outcome."""
    pools = packed["pools"]
    return Outcome(packed["task"], packed["row"], pools if pools is None else [parse_pool(own)[2] for own in pools])
