"""What a run knows so far: candidate pools, the submission made from them, and the log, always on disk."""

from __future__ import annotations

from pathlib import Path

from solver.job import Outcome
from solver.runfolder import append_line, read_log
from solver.tasks import Challenges
from submission.document import Document, fallback
from voting import RULES, Pool, append_pool, load_pools, two_attempts


class Answers:
    """The growing answers of one run folder; complete and valid on disk from the moment of construction.

    `out` is a second place for the submission. `heard`: ids of the tasks that have a log row; `copies`: how many
    fine-tuned copies there have been of any task.
    """

    def __init__(self, directory: Path, challenges: Challenges, rule: str, out: Path | None = None) -> None:
        self.directory, self.challenges, self.rule = directory, challenges, rule
        places = [directory / "submission.json"] + ([out] if out is not None else [])
        self.documents = [Document(place, challenges.test_inputs) for place in places]
        self.pools: dict[tuple[str, int], Pool] = {}
        self.heard: set[str] = set()
        self.copies = 0

    def restore(self) -> None:
        """Takes over what an earlier, interrupted run left in the folder; failed tasks count as not heard of."""
        log, pools = self.directory / "log.jsonl", self.directory / "pools.jsonl"
        self.pools = load_pools(pools) if pools.exists() else {}
        for row in read_log(log):
            self.copies = max(self.copies, row["copy"] + 1)
            if "error" not in row and (row["task"], 0) in self.pools:
                self.heard.add(row["task"])
        for task_id, index in self.pools:
            self._vote(task_id, index)
        self.write()

    def take(self, outcome: Outcome, row: dict) -> None:
        """Logs an outcome as `row`, adds its pools and votes anew."""
        self.heard.add(outcome.task_id)
        append_line(self.directory / "log.jsonl", row)
        self.copies = max(self.copies, row["copy"] + 1)
        for index, pool in enumerate(outcome.pools or ()):
            key = outcome.task_id, index
            if key in self.pools:
                self.pools[key].merge(pool)
            else:
                self.pools[key] = pool
            append_pool(self.directory / "pools.jsonl", *key, self.pools[key])
            self._vote(*key)

    def write(self) -> None:
        """Brings the submission to disk, in every place."""
        for document in self.documents:
            document.write()

    def agreement(self, task_id: str) -> float:
        """The share of the views that gave the best candidate, 0 to 1; the least over a task's test inputs."""
        shares = []
        for index in range(len(self.challenges.test_inputs[task_id])):
            pool = self.pools.get((task_id, index))
            shares.append(RULES[self.rule](pool)[0].views / pool.total_views if pool else 0.0)
        return min(shares)

    def _vote(self, task_id: str, index: int) -> None:
        pool = self.pools[task_id, index]
        if not len(pool):
            return
        spare = fallback(self.challenges.test_inputs[task_id][index])
        for document in self.documents:
            document.set(task_id, index, *two_attempts(pool, self.rule, spare))
