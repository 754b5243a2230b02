"""Kills runs at random moments and checks what is on the disk; resumes them, and kills again.

    python benchmarks/soak.py --kills 50
    python benchmarks/soak.py --kills 20 --mode worker --weights nano --steps 20

One undisturbed run comes first: it says how long a run takes, and what every other must end with. Then runs are
started in sessions of their own and killed with SIGKILL: the parent alone, the whole process group, or one worker,
whose run then goes on by itself. The moments are drawn evenly over the work that a run has left, counted from when
its first answer can be there; one kill in eight falls into the start-up before that. After each kill the submission
must be complete and valid, and hold the undisturbed run's answer for every task that was finished at an earlier kill.
A task is finished when its log row and its candidate pools are on the disk. Exits with 1 if any check failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
from kills import Folder, Tally, alive, wait_until, workers_of
from tqdm import tqdm

from solver.arc import datasets
from solver.arc.tasks import challenge_json, load_challenges
from solver.text import aligned
from submission.document import read
from submission.validate import check

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("parent", "group", "worker")
START_UP = 1 / 8
ENOUGH = 6
"""Kills of one run folder, after which its run is seen to the end, so that kills fall into all parts of a run."""


class Soak:
    """`options` as the command line gives them; everything happens in `directory`."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options, self.directory = options, directory
        self.rng = random.Random(options.seed)
        self.tallies = {kind: Tally() for kind in ("start-up", *KINDS, "at the end")}
        self.done_at_kill: list[float] = []
        self.pace = 1.0
        self.orphans = self.crashes = self.equal = self.runs = self.halves = self.given_up = 0
        tasks = datasets.demo_tasks(datasets.load("arc1-eval"), options.tasks, largest_side=options.side)
        self.challenges = directory / "challenges.json"
        self.challenges.write_bytes(orjson.dumps(challenge_json(tasks)))
        self.test_inputs = load_challenges(self.challenges).test_inputs
        self.folder = self._new_folder("undisturbed")

    def measure(self) -> None:
        """The undisturbed run: its seconds to the first submission, to the first answer, and from there to the last."""
        begun = time.monotonic()
        process = self.start()
        while process.poll() is None and not self.folder.submission.exists():
            time.sleep(0.01)
        self.start_seconds = time.monotonic() - begun
        log = self.folder.path / "log.jsonl"
        while process.poll() is None and not log.exists():
            time.sleep(0.01)
        self.ready_seconds = time.monotonic() - begun
        while process.poll() is None and log.read_bytes().count(b"\n") < len(self.test_inputs):
            time.sleep(0.02)
        self.work_seconds = time.monotonic() - begun - self.ready_seconds
        if process.wait() != 0:
            raise SystemExit(f"the undisturbed run ended with {process.returncode}: {self._said()}")
        check(self.folder.submission, self.test_inputs)
        if self.folder.finished_now() != set(self.test_inputs):
            raise SystemExit("the undisturbed run left tasks unanswered; see its log.jsonl")
        self.expected = self.folder.submission.read_bytes()
        self.answers = read(self.folder.submission)

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the run of the folder, or goes on with it, in a session of its own."""
        o, folder = self.options, self.folder
        command = [
            sys.executable,
            "-m",
            "solver",
            "solve",
            str(self.challenges),
            "--weights",
            o.weights,
            "--steps",
            str(o.steps),
            "--views",
            str(o.views),
            "--device",
            "cpu",
            "--workers",
            str(o.workers),
            "--seed",
            str(o.seed),
            "--resume" if folder.begun else "--run-dir",
            str(folder.path),
        ]
        with open(self.directory / "stderr.txt", "ab") as said:
            return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)

    def run(self) -> None:
        """So many kills, with as many run folders as that takes; the last one is seen to its end."""
        self.folder = self._new_folder("run-1")
        with tqdm(total=self.options.kills, unit="kill", dynamic_ncols=True) as bar:
            while bar.n < self.options.kills:
                self._until_dead(bar)
        if self.folder.finished or self.folder.begun:
            self._finish(self.start())

    def _until_dead(self, bar: tqdm) -> None:
        """One process: killed, perhaps after some of its workers, or finished before its moment came."""
        process, begun = self.start(), time.monotonic()
        try:
            while bar.n < self.options.kills and self.folder.kills < ENOUGH:
                kind, early, moment = self._draw(process, begun)
                if wait_until(lambda: process.poll() is not None, moment - time.monotonic()):
                    self.pace *= 0.8  # it was over before its moment: the machine is faster than it was
                    break
                bar.update(self._kill(process, kind, early))
                self.folder.kills += 1
                if process.poll() is not None:
                    return
            self._finish(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _draw(self, process: subprocess.Popen[bytes], begun: float) -> tuple[str, bool, float]:
        """What to kill next, whether in the start-up, and when, by the monotonic clock."""
        kind = self.rng.choice(KINDS) if self.options.mode == "all" else self.options.mode
        now, ready = time.monotonic(), begun + self.pace * self.ready_seconds
        left = 1 - len(self.folder.finished_now()) / len(self.test_inputs)
        early = now < begun + 0.1 and self.rng.random() < START_UP
        if not left or (early and kind != "worker"):
            return kind, True, self.rng.uniform(now, max(now, begun + self.pace * self.start_seconds))
        return kind, False, max(now, ready) + self.rng.uniform(0, left * self.pace * self.work_seconds)

    def _kill(self, process: subprocess.Popen[bytes], kind: str, early: bool) -> bool:
        """Whether it counts: a kill before there is a run to speak of does not."""
        workers = workers_of(process.pid)
        if kind == "worker":
            if not workers:  # between two: none was there to be killed, so the parent is
                kind = "parent"
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.rng.choice(workers), signal.SIGKILL)
        if kind == "parent":
            process.kill()
        elif kind == "group":
            os.killpg(process.pid, signal.SIGKILL)
        if kind != "worker":
            process.wait()
        tally = self.tallies["start-up" if early else kind]
        counts = self._check(tally)
        tally.kills += counts
        if kind != "worker" and not wait_until(lambda: not any(map(alive, workers)), 15):
            self.orphans += sum(map(alive, workers))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return counts

    def _check(self, tally: Tally) -> bool:
        """The state of the disk right after a kill; False if the run had not begun."""
        folder = self.folder
        if not folder.submission.exists() and not folder.begun and not (folder.path / "log.jsonl").exists():
            tally.too_early += 1
            return False
        try:
            check(folder.submission, self.test_inputs)
            tally.valid += 1
        except (OSError, ValueError) as error:
            print(f"\nno valid submission in {folder.path}: {error}", file=sys.stderr)
            return True
        self._compare(tally)
        self.done_at_kill.append(len(folder.finished) / len(self.test_inputs))
        return True

    def _compare(self, tally: Tally) -> None:
        """What was finished at an earlier kill is still there, in the submission too, and was not done again."""
        folder, rows, now = self.folder, self.folder.rows(), self.folder.finished_now()
        answers = read(folder.submission)
        for task_id in sorted(folder.finished):
            pairs = zip(answers[task_id], self.answers[task_id], strict=True)
            same = all(np.array_equal(a, b) for given, expected in pairs for a, b in zip(given, expected, strict=True))
            if task_id not in now or not same:
                tally.lost += 1
                print(f"\n{folder.path}: {task_id} was finished and is lost", file=sys.stderr)
        repeated = {task_id for (task_id, _), count in rows.items() if count > 1}
        again = repeated & folder.finished - folder.repeated
        tally.twice += len(again)
        folder.repeated |= again
        folder.finished |= now

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """Sees a run to its end and compares it with the undisturbed one; then begins a new folder."""
        code = process.wait()
        if code != 0:
            self.crashes += 1
            print(f"\n{self.folder.path}: ended by itself with {code}: {self._said()}", file=sys.stderr)
        # A task whose workers were killed twice is given up, and tried again when the run is resumed.
        missing = set(self.test_inputs) - self.folder.finished_now()
        self.given_up += len(missing)
        if code == 0 and missing:
            self.start().wait()
        self.runs += 1
        self._compare(self.tallies["at the end"])
        self.halves += sum(count - 1 for count in self.folder.rows().values()) - len(self.folder.repeated)
        same = self.folder.submission.read_bytes() == self.expected
        self.equal += same
        if not same:
            print(f"\n{self.folder.path}: ended with another submission", file=sys.stderr)
        self.folder = self._new_folder(f"run-{self.runs + 1}")

    def _new_folder(self, name: str) -> Folder:
        return Folder(self.directory / name, self.test_inputs)

    def _said(self) -> str:
        return (self.directory / "stderr.txt").read_text().strip()[-500:]

    @property
    def sound(self) -> bool:
        """Whether every check held."""
        all_valid = all(t.valid == t.kills and not t.lost + t.twice for t in self.tallies.values())
        return all_valid and self.equal == self.runs and not self.orphans + self.crashes

    def table(self, seconds: float) -> str:
        """What came of it, one line per kind of kill."""
        rows, whole = [], Tally()
        for kind, tally in self.tallies.items():
            for name, value in vars(tally).items():
                setattr(whole, name, getattr(whole, name) + value)
            if tally.kills or kind == "at the end":
                rows.append(self._row(kind, tally))
        rows.append(self._row("together", whole))
        columns = ("", "kills", "valid on disk", "finished answers lost", "done twice")
        quarters = Counter(min(3, int(4 * share)) for share in self.done_at_kill)
        spread = [quarters[n] for n in range(4)]
        lines = [
            *aligned(columns, rows, left=("",)),
            "",
            f"{whole.too_early} more kills came before the first submission was on the disk: no run had begun",
            f"kills with 0-25, 25-50, 50-75, 75-100% of the tasks done: {', '.join(map(str, spread))}",
            f"{self.runs} run folders finished, {self.equal} of them equal to the undisturbed run",
            f"{self.halves} tasks were done again because only half of their record was on the disk",
            f"{self.given_up} tasks were given up, as two of their workers were killed, and done on resuming",
            f"{self.orphans} processes outlived their parent, {self.crashes} runs ended by themselves with an error",
            f"undisturbed run: first submission after {self.start_seconds:.1f} s, first answer after "
            f"{self.ready_seconds:.1f} s, last {self.work_seconds:.1f} s later; in all {seconds:.0f} s",
        ]
        return "\n".join(lines)

    @staticmethod
    def _row(kind: str, tally: Tally) -> tuple[object, ...]:
        return kind, tally.kills, f"{tally.valid} of {tally.kills}", tally.lost, tally.twice


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--mode", choices=(*KINDS, "all"), default="all")
    parser.add_argument("--tasks", type=int, default=24, help="how many ARC-1 evaluation tasks")
    parser.add_argument("--side", type=int, default=12, help="no side of them above this")
    parser.add_argument("--weights", default="random:toy")
    parser.add_argument("--steps", type=int, default=8, help="fine-tuning steps a task")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="keep the run folders here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        soak = Soak(options, directory)
        soak.measure()
        soak.run()
        print(soak.table(time.monotonic() - begun))
    print("every check held" if soak.sound else "A CHECK FAILED")
    return 0 if soak.sound else 1


if __name__ == "__main__":
    sys.exit(main())
