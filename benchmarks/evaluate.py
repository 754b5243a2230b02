"""A whole evaluation set, in pieces: every task gets the same number of steps and views, however long it takes.

    python benchmarks/evaluate.py arc1-eval --weights checkpoints/base/base.safetensors
    python benchmarks/evaluate.py arc2-eval --weights nano --steps 200 --views 64

Runs `tinyarc eval` and interrupts it at the end of the piece. Finished tasks are on disk; the same command again goes
on with the others, and prints the scores when there are none left.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import orjson
from pieces import Piece, keep_settings

from solver.device import pick_device
from solver.options import duration
from solver.results.evaluate import evaluate, format_evaluation
from solver.run.log import read_log
from solver.run.read import read_run
from solver.weights import checkpoint


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="SET", nargs="?", default="arc1-eval")
    parser.add_argument("--weights", default="nano", help="a bundle's name, a .safetensors file or random:SIZE")
    parser.add_argument("--steps", type=int, help="fine-tuning steps a task (default: 400 on a GPU, else 200)")
    parser.add_argument("--views", type=int, help="views of each test input (default: 256 on a GPU, else 64)")
    parser.add_argument("--limit", type=int, help="only the first so many tasks, smallest sha256(id) first")
    parser.add_argument("--piece", type=duration, default=540.0, help="stop after this time; run it again to go on")
    parser.add_argument("--out", type=Path, help="run folder (default runs/evaluate-SET-WEIGHTS)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    piece = Piece(arguments.piece)
    try:
        gpu = pick_device(arguments.device).type == "cuda"
        arguments.steps = arguments.steps or (400 if gpu else 200)
        arguments.views = arguments.views or (256 if gpu else 64)
        label = Path(arguments.weights).stem.replace(":", "-")
        directory = arguments.out or Path("runs") / f"evaluate-{arguments.name}-{label}"
        settings = {key: getattr(arguments, key) for key in ("name", "steps", "views", "limit", "seed")}
        known = arguments.weights.startswith("random:")
        settings["weights"] = arguments.weights if known else checkpoint.find(arguments.weights).card["sha256"]
        keep_settings(directory, settings)
        before = len(_answered(directory))
        code = 0 if _finished(directory) else _solve(_command(arguments, directory), piece)
        if code not in (0, None):
            return code
        print("\n" + _standing(directory), flush=True)
        if not _finished(directory) and len(_answered(directory)) == before:
            print("no task was finished in this piece: it needs a longer --piece, or fewer --steps")
            return 1
    except (ValueError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def _command(arguments: argparse.Namespace, directory: Path) -> list[str]:
    where = "--resume" if (directory / "config.json").exists() else "--run-dir"
    command = [sys.executable, "-m", "solver", "eval", arguments.name, where, str(directory)]
    for option in ("weights", "steps", "views", "limit", "device", "workers", "seed"):
        if (value := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(value)]
    return command


def _solve(command: list[str], piece: Piece) -> int | None:
    """Runs the command until it ends or the piece does; its exit code, None if it was interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the command is ended too
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        return process.wait(timeout=max(1.0, piece.left()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _finished(directory: Path) -> bool:
    """Solutions join a run folder when the solving has ended."""
    return (directory / "solutions.json").exists()


def _answered(directory: Path) -> dict[str, dict]:
    """The log rows of the tasks that need no further run, by id."""
    return {row["task"]: row for row in read_log(directory / "log.jsonl") if "error" not in row}


def _standing(directory: Path) -> str:
    """The scores of a finished run; how far an unfinished one is."""
    if _finished(directory):
        return f"report: {directory / 'report.html'}\n\n{format_evaluation(evaluate(read_run(directory)))}"
    path = directory / "challenges.json"
    total = len(orjson.loads(path.read_bytes())) if path.exists() else 0
    answered = _answered(directory)
    failed = {row["task"] for row in read_log(directory / "log.jsonl")} - set(answered)
    lines = [f"{len(answered)} of {total} tasks answered, {len(failed)} failed so far and to be tried again"]
    canvases = sorted({row["canvas"] for row in answered.values()})
    if canvases:
        lines.append("canvas  answered  worker seconds a task")
    for canvas in canvases:
        own = [row for row in answered.values() if row["canvas"] == canvas]
        mean = sum(row["adapt_seconds"] + row["predict_seconds"] for row in own) / len(own)
        lines.append(f"{canvas:6} {len(own):9} {mean:12.1f}")
    return "\n".join([*lines, f"the time of this piece is over; the same command goes on in {directory}"])


if __name__ == "__main__":
    sys.exit(main())
