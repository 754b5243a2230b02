"""Systems side by side on puzzles: the same examples, processor minutes, seed and judge.

    python benchmarks/puzzles.py                                        # 10 or 15 processor minutes each
    python benchmarks/puzzles.py --only maze,rubik2 --systems nano,trm-nano --piece 9m
    python benchmarks/puzzles.py --only sudoku9-hard,maze-30 --budget 60m

Every system is trained on one core into checkpoints/puzzles/PUZZLE/SYSTEM, one after another. The command stops after
`--piece`, and the same command again goes on; what is there already is in the table, which is printed and written to
checkpoints/puzzles/table.md. A share has its 95% interval over puzzles of classes that were not trained on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import torch
from pieces import Piece, keep_settings

from solver.device import prepare
from solver.options import duration
from solver.results.puzzles.trained import VIEWS, run_puzzle
from solver.training.loop import Limit
from solver.training.puzzles.catalogue import puzzle
from solver.training.puzzles.learning import config_for
from solver.training.puzzles.puzzle import Puzzle
from submission.files import write_whole

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "sudoku4": ("sudoku4", {}),
    "sudoku9": ("sudoku9", {}),
    "sudoku9-hard": ("sudoku9", {"hard": True}),
    "maze": ("maze", {}),
    "maze-30": ("maze", {"size": 30}),
    "rubik2": ("rubik2", {}),
    "arithmetic": ("arithmetic", {}),
}
"""Name in the table -> puzzle and what it is asked for."""

HEAD = (
    "puzzle", "system", "weights", "samples", "mark", "share, 95% interval", f"{VIEWS} views", "after each step",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="sudoku9,maze,rubik2", help=", ".join(ASKED))
    parser.add_argument("--systems", default="nano,trm-nano,trm-mlp-nano", help="comma-separated")
    parser.add_argument("--budget", type=duration, help="processor time of each training (default: the puzzle's goal)")
    parser.add_argument("--piece", type=duration, default=10**9, help="stop training after this time of the clock")
    parser.add_argument("--examples", type=int, help="to train on (default: the puzzle's)")
    parser.add_argument("--test", type=int, default=1000, help="puzzles to be judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("checkpoints/puzzles"))
    arguments = parser.parse_args(argv)
    piece, device = Piece(arguments.piece), torch.device("cpu")
    prepare(device, threads=1)
    try:
        names, systems = arguments.only.split(","), arguments.systems.split(",")
        if unknown := set(names) - set(ASKED):
            raise ValueError(f"no puzzle is called {sorted(unknown)[0]!r}; there are {', '.join(ASKED)}")
        asked = {name: puzzle(ASKED[name][0], **ASKED[name][1]) for name in names}
        for system in systems:
            config_for(next(iter(asked.values())), system)
        settings = {name: getattr(arguments, name) for name in ("budget", "examples", "test", "seed")}
        keep_settings(arguments.out, settings)
        done = all(_run(arguments, asked[name], name, system, piece) for name in names for system in systems)
    except (ValueError, OSError) as error:
        print(f"puzzles: {error}", file=sys.stderr)
        return 2
    if not done:
        print(f"\nthe time of this piece is over; the same command goes on in {arguments.out}")
    text = table(arguments.out)
    write_whole(arguments.out / "table.md", text.encode())
    print("\n" + text)
    return 0


def _run(arguments: argparse.Namespace, asked: Puzzle, name: str, system: str, piece: Piece) -> bool:
    """Trains and judges one system, or goes on; whether it is done."""
    directory = arguments.out / name / system
    if (directory / "puzzle.json").exists():
        return True
    if piece.left() <= 0:
        return False
    print(f"{name}, {system}", flush=True)
    outcome = run_puzzle(
        asked,
        system,
        Limit(arguments.budget or asked.seconds),
        directory,
        torch.device("cpu"),
        seed=arguments.seed,
        tested=arguments.test,
        amount=arguments.examples,
        piece=piece.left(),
        clock=time.process_time,
    )
    return outcome is not None


def table(out: Path) -> str:
    """What every finished training came to, as a table in Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for name in ASKED:
        for path in sorted((out / name).glob("*/puzzle.json")):
            outcome = orjson.loads(path.read_bytes())["outcome"]
            steps = " ".join(f"{100 * share:.0f}" for share in outcome["steps"])
            for mark, share in outcome["marks"].items():
                shares = [_percent(share), _percent(outcome["voted"].get(mark))]
                facts = (f"{outcome['parameters']:,}", f"{outcome['samples']:,}", mark, *shares)
                rows.append((name, path.parent.name, *facts, steps if mark == next(iter(outcome["marks"])) else ""))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _percent(share: dict[str, float] | None) -> str:
    """A share with its interval; nothing for none."""
    if share is None:
        return ""
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


if __name__ == "__main__":
    sys.exit(main())
