"""What a rehearsal plays on: a folder like /kaggle, a network that is cut, and a notebook that is executed there."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from solver.arc import datasets
from solver.arc.tasks import challenge_json
from solver.kaggle_metadata import COMPETITION

HERE = Path(__file__).resolve().parent
USER = "rehearsal"


class Failed(Exception):
    """The rehearsal found something wrong; the message is for the user."""


def network_cutter(allow_network: bool) -> list[str]:
    """What to put before a command so that it runs without a network; empty where that cannot be done.

    ValueError in that case, unless `allow_network`.
    """
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    if not allow_network:
        raise ValueError("the network cannot be cut: unshare is missing or not permitted; see --allow-network")
    print("WARNING: the network is NOT cut: unshare is missing or not permitted. Attempts are still noticed in Python")
    return []


def lay_out(root: Path, count: int) -> Path:
    """Makes `root` look like /kaggle, with `count` public tasks as the hidden ones; returns their solutions' path.

    The tasks: ARC-2's evaluation set, as large as the hidden tasks, then ARC-1's. The solutions stay outside.
    """
    sets = [datasets.load("arc2-eval"), datasets.load("arc1-eval")]
    by_id = {task.id: task for data in reversed(sets) for task in reversed(data.tasks)}
    tasks = list(reversed(by_id.values()))
    if count < 10:  # the smallest, for a rehearsal of seconds
        tasks.sort(key=lambda task: (task.largest_side, task.id))
    tasks = tasks[:count]
    outputs = {task_id: grids for data in reversed(sets) for task_id, grids in data.solutions.items()}

    competition = root / "input" / "competitions" / COMPETITION
    competition.mkdir(parents=True)
    (root / "working").mkdir()
    sample = {
        task.id: [{"attempt_1": [[0, 0], [0, 0]], "attempt_2": [[0, 0], [0, 0]]}] * len(task.test_inputs)
        for task in tasks
    }
    (competition / "arc-agi_test_challenges.json").write_text(json.dumps(challenge_json(tasks)))
    (competition / "sample_submission.json").write_text(json.dumps(sample))
    solutions = root.with_name("solutions.json")
    solutions.write_text(json.dumps({task.id: [grid.tolist() for grid in outputs[task.id]] for task in tasks}))
    return solutions


def attach(root: Path, dataset: Path, name: str) -> None:
    """Mounts a packed dataset as Kaggle would: all of its files but the settings, which are not uploaded."""
    mounted = root / "input" / "datasets" / USER / name
    shutil.copytree(dataset, mounted)  # makes the folders on the way
    (mounted / "dataset-metadata.json").unlink(missing_ok=True)


def execute(notebook: Path, root: Path, python: Path, cut: list[str], limit: float, **variables: str) -> str:
    """Executes a notebook in `root`/working with this interpreter, `limit` seconds a cell, and the environment's
    `variables`; returns what it printed. Failed if it fails, does not end, or anything asks for the network."""
    executed, attempts = root.with_name("executed.ipynb"), root.with_name("network-attempts")
    environment = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(root.parent),
        "PIP_CONFIG_FILE": os.devnull,  # neither this machine's indexes nor its wheels
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "TINYARC_ROOT": str(root),
        "TINYARC_GUARD_LOG": str(attempts),
    }
    environment |= {key: value for key, value in os.environ.items() if key.endswith("_NUM_THREADS")}
    command = [
        *cut,
        str(python),
        str(HERE / "execute.py"),
        str(notebook),
        str(executed),
        str(root / "working"),
        str(HERE / "guard"),
        f"{limit:.0f}",
        "cut" if cut else "uncut",
    ]
    code = run_to_the_end(command, environment | variables, limit + 120)
    if attempts.exists():
        raise Failed(f"something asked for the network:\n{attempts.read_text()}")
    if code:
        raise Failed(f"executing {notebook.name} ended with code {code}")
    return "".join(
        "".join(output.get("text", ""))
        for cell in json.loads(executed.read_text())["cells"]
        for output in cell.get("outputs", ())
    )


def run_to_the_end(command: list[str], environment: dict[str, str], limit: float) -> int:
    """Runs a command in a session of its own, so that on a time-out all its processes end with it."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"the notebook did not end within {limit:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
