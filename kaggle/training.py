"""The rehearsal of the training notebook: a toy preset in two versions of it, one killed, and then solved with.

The first version stops when its session ends. The second gets the first one's output as an input, one of its training
processes is killed, and it goes on to the end all the same: weights with their card, and a held-out score. Then the
solver's notebook is executed with these weights attached, and with a copy that lost its end, which it must refuse; and
the demonstration is run with them.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from stage import USER, Failed, attach, execute, lay_out

from solver import pack
from solver.arc import datasets
from solver.arc.hashing import pack_pairs
from solver.arc.tasks import challenge_json
from solver.text import parse_duration

PRESET = "toy"
FIRST, ALL = "10m", "45s"
"""Budgets that the two versions ask for: the first can only pause, the second goes on to the end."""
SCORE = "15s"
SOLVING = "--steps 2 --views 8 --workers 1 --seed 0"
RESERVE = 300  # seconds of a session that the notebook keeps for what is not training


def rehearse(folder: Path, packed: pack.Pack, python: Path, cut: list[str]) -> None:
    """All of it inside `folder`; Failed or ValueError if something is not as it should be."""
    first, second = folder / "first" / "kaggle", folder / "second" / "kaggle"
    short = parse_duration(SCORE) + RESERVE + 40  # from the notebook's start on, imports and compiling included
    printed = train(first, folder / "pack", python, cut, FIRST, f"{short:.0f}s")
    if "PAUSED at step" not in printed:
        raise Failed("the first version of the training did not pause at the end of its session")

    output = second / "input" / "notebooks" / USER / "tinyarc-training"
    shutil.copytree(first / "working", output)
    with killer(second / "working") as killed:
        printed = train(second, folder / "pack", python, cut, ALL, "20m")
    if not killed:
        raise Failed("there was no training process to kill")
    for wanted in ("goes on from step", "PROBLEM: training ended with", "TRAINED:", "Kaggle score, two attempts"):
        if wanted not in printed:
            raise Failed(f"the second version of the training never said {wanted!r}")
    print("trained in two versions of the notebook, with one process killed")
    bundle = second / "working" / "checkpoints" / PRESET
    solve_with(bundle, folder / "solve", packed, python, cut)
    demonstrate(bundle / f"{PRESET}.safetensors", folder / "demo")


def train(root: Path, out: Path, python: Path, cut: list[str], budget: str, session: str) -> str:
    """One version of the notebook, in `root`; what it printed."""
    training = pack.Training(PRESET, budget, session, SCORE)
    made = pack.pack_training(USER, out, training=training, data=small_data(root.parent / "data"), go_on=True)
    attach(root, made.dataset, "tinyarc-training-data")
    (root / "working").mkdir()
    return execute(made.kernel / "notebook.ipynb", root, python, cut, 600)


def small_data(folder: Path) -> Path:
    """A folder with training data in the packed formats, of a few tasks each: enough to see that files are found."""
    folder.mkdir(parents=True)
    tasks = [task for task in datasets.load("arc1-train").tasks if task.largest_side <= 6]
    pairs = [[(pair.input, pair.output) for pair in task.support] for task in tasks]
    shapes, cells, _ = pack_pairs([pair for each in pairs for pair in each])
    which = np.repeat(np.arange(len(tasks), dtype=np.uint16), [len(each) for each in pairs])
    np.savez(folder / "rearc.npz", ids=np.array([task.id for task in tasks]), task=which, shapes=shapes, cells=cells)
    second = datasets.load("arc2-train")
    concepts = challenge_json([task for task in second.tasks if task.largest_side <= 6])
    for task_id, task in concepts.items():
        for test, output in zip(task["test"], second.solutions[task_id], strict=True):
            test["output"] = output.tolist()
    (folder / "conceptarc.json").write_text(json.dumps(concepts))
    return folder


@contextlib.contextmanager
def killer(working: Path) -> Iterator[list[int]]:
    """Kills one training process that writes below `working`, seconds after it was first seen; a list of its id."""
    killed: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            if training_processes(working) and not ended.wait(8):
                killed.extend(training_processes(working)[:1])
                for process in killed:
                    os.kill(process, signal.SIGKILL)
                if killed:
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield killed
    finally:
        ended.set()
        watcher.join()


def training_processes(working: Path) -> list[int]:
    """The ids of the processes that train below `working`, their launcher apart."""
    found = []
    for entry in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            below = any(word.startswith(str(working)) for word in words)
            if below and "train" in words and "torch.distributed.run" not in words:
                found.append(int(entry.name))
    return found


def demonstrate(weights: Path, folder: Path) -> None:
    """The demonstration with the trained weights, in this environment, which has the public tasks."""
    demo = [sys.executable, "-m", "solver", "demo", "--weights", str(weights), *SOLVING.split(), "--limit", "2"]
    done = subprocess.run([*demo, "--run-dir", str(folder)], capture_output=True, text=True)
    if done.returncode or "Kaggle score, two attempts" not in done.stdout:
        raise Failed(f"the demonstration fails with the trained weights: {(done.stdout + done.stderr)[-500:]}")
    print("solved two tasks of the demonstration with the trained weights")


def solve_with(bundle: Path, folder: Path, packed: pack.Pack, python: Path, cut: list[str]) -> None:
    """Executes the solver's notebook with the weights in the folder `bundle` attached, whole and then damaged."""
    for state in ("whole", "damaged"):
        root = folder / state / "kaggle"
        lay_out(root, 3)
        attach(root, packed.dataset, "tinyarc-offline")
        mounted = root / "input" / "notebooks" / USER / "tinyarc-training" / "checkpoints" / PRESET
        shutil.copytree(bundle, mounted)
        (mounted / "another.safetensors").touch()  # somebody else's weights, and what is beside them
        (mounted / "another.json").write_text("no JSON")
        if state == "damaged":
            os.truncate(mounted / f"{PRESET}.safetensors", 1000)
        rerun = {"TINYARC_OPTIONS": SOLVING, "KAGGLE_IS_COMPETITION_RERUN": "1"}
        printed = execute(packed.kernel / "notebook.ipynb", root, python, cut, 300, **rerun)
        (run,) = (root / "working").glob("run-*")
        weights = json.loads((run / "config.json").read_text())["weights"]["name"]
        problem = any(line.startswith("PROBLEM:") for line in printed.splitlines())
        used = str(mounted) in weights
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        if len({row["task"] for row in rows if "error" not in row}) < 3:
            raise Failed(f"with {state} weights attached not all of the 3 tasks were answered")
        if used != (state == "whole") or problem != (state == "damaged"):
            raise Failed(f"with {state} weights attached the solver used {weights}")
    print("solved with the trained weights, and with the wheel's own where these were damaged")
