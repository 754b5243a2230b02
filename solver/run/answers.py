"""What a run knows so far: candidate pools, the submission made from them, and the log, always on disk."""

from __future__ import annotations

from pathlib import Path

from solver.arc.tasks import Challenges
from solver.run.job import Outcome
from solver.run.log import LogRow, append_row, read_log
from submission.document import Document, fallback
from voting import RULES, Pool, append_copy, load_copies, merged, two_attempts

LEARNED = 0.1
"""Mean loss in nats a cell below which a copy counts as having learned its supports. Views of a copy that has not may
agree all the same, on the input as it is, say; of 14 such tasks among those held out, 2 were right (lab log, 11)."""


class Answers:
    """The growing answers of one run folder; complete and valid on disk from the moment of construction.

    `out` is a second place for the submission; with `keep` submissions from before stay until `restore` has read
    what they were made from. `finished`: (task id, copy) of every copy that gave an answer;
    `learned`: the tasks of which some copy has learned its supports.
    """

    def __init__(
        self, directory: Path, challenges: Challenges, rule: str, out: Path | None = None, *, keep: bool = False
    ) -> None:
        self.directory, self.challenges, self.rule = directory, challenges, rule
        places = [directory / "submission.json"] + ([out] if out is not None else [])
        self.documents = [Document(place, challenges.test_inputs, keep=keep) for place in places]
        self.copies: dict[tuple[str, int], dict[int, Pool]] = {}
        self.pools: dict[tuple[str, int], Pool] = {}
        self.finished: set[tuple[str, int]] = set()
        self.learned: set[str] = set()

    def restore(self) -> None:
        """Takes over what an earlier, interrupted run left in the folder: every copy with a log row and its pools."""
        rows = read_log(self.directory / "log.jsonl")
        self.finished = {(row["task"], row["copy"]) for row in rows if "error" not in row}
        self.learned = {row["task"] for row in rows if learned(row)}
        for (task_id, index), copies in load_copies(self.directory / "pools.jsonl").items():
            whole = {copy: pool for copy, pool in copies.items() if (task_id, copy) in self.finished}
            if whole:
                self.copies[task_id, index] = whole
                self._vote(task_id, index)
        self.write()

    def take(self, outcome: Outcome, row: LogRow) -> None:
        """Keeps an outcome and votes anew: first its pools come to disk and then `row`, its line in the log, so that
        a copy with a row is whole. A copy known already changes nothing."""
        copy = row["copy"]
        if (outcome.task_id, copy) in self.finished:
            return
        if outcome.pools is not None:
            append_copy(self.directory / "pools.jsonl", outcome.task_id, copy, outcome.pools)
            self.finished.add((outcome.task_id, copy))
        append_row(self.directory / "log.jsonl", row)
        if learned(row):
            self.learned.add(outcome.task_id)
        for index, pool in enumerate(outcome.pools or ()):
            self.copies.setdefault((outcome.task_id, index), {})[copy] = pool
            self._vote(outcome.task_id, index)

    def write(self) -> None:
        """Brings the submission to disk, in every place."""
        for document in self.documents:
            document.write()

    def agreement(self, task_id: str) -> float:
        """The share of the views that gave the best candidate, 0 to 1; the least over a task's test inputs. 0 if no
        copy has learned the supports: what its views agree on says nothing."""
        if task_id not in self.learned:
            return 0.0
        shares = []
        for index in range(len(self.challenges.test_inputs[task_id])):
            pool = self.pools.get((task_id, index))
            ranked = RULES[self.rule](pool) if pool is not None else []
            shares.append(ranked[0].views / pool.total_views if pool is not None and ranked else 0.0)
        return min(shares)

    def _vote(self, task_id: str, index: int) -> None:
        copies = self.copies[task_id, index]
        pool = self.pools[task_id, index] = merged(copies[copy] for copy in sorted(copies))
        if not len(pool):
            return
        spare = fallback(self.challenges.test_inputs[task_id][index])
        for document in self.documents:
            document.set(task_id, index, *two_attempts(pool, self.rule, spare))


def learned(row: LogRow) -> bool:
    """Whether the copy that a row tells of had learned its supports."""
    return bool(row.get("settled")) or row.get("loss", float("inf")) < LEARNED
