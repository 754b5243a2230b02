"""What `soak.py` looks at: the processes of a run (on Linux), and what its folder holds after a kill."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from solver.arc.tasks import Grid
from solver.run.log import read_log
from voting import load_pools


def children(pid: int) -> dict[int, str]:
    """The child processes of `pid` and their command lines (Linux)."""
    found = {}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found


def workers_of(pid: int) -> list[int]:
    """The pids of a run's worker processes."""
    return sorted(child for child, command in children(pid).items() if "spawn_main" in command)


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition()` came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


@dataclass
class Folder:
    """One run folder: the tasks that were seen finished in it, and those of them that were done again."""

    path: Path
    test_inputs: dict[str, list[Grid]]
    finished: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    kills: int = 0

    @property
    def submission(self) -> Path:
        return self.path / "submission.json"

    @property
    def begun(self) -> bool:
        """Whether a run can be resumed here."""
        return (self.path / "config.json").exists()

    def rows(self) -> Counter[tuple[str, int]]:
        """How many rows that tell of no failure the log has for each (task, copy)."""
        rows = read_log(self.path / "log.jsonl")
        return Counter((row["task"], row["copy"]) for row in rows if "error" not in row)

    def finished_now(self) -> set[str]:
        """The tasks with a log row and with pools for all of their test inputs."""
        rows = {task_id for task_id, _ in self.rows()}
        path = self.path / "pools.jsonl"
        pools = load_pools(path) if path.exists() else {}
        return {i for i in rows if all((i, n) in pools for n in range(len(self.test_inputs[i])))}


@dataclass
class Tally:
    """What the kills of one kind came to; `too_early`, not counted in `kills`, came before the run
    folder had its first submission."""

    kills: int = 0
    too_early: int = 0
    valid: int = 0
    lost: int = 0
    twice: int = 0
