"""Scores on small ARC-1 training tasks that no weights were trained on: where recipes are compared and tuned.

    python benchmarks/held_out.py --weights nano random:nano --seconds 20
    python benchmarks/held_out.py --weights nano --adapt lr=1e-3 --adapt lr=1e-3,batch=16 --limit 12

Every combination of weights and recipe solves the same tasks with the same budget (seconds times tasks,
divided by the workers) and leaves a run folder, from which votes can be replayed. One table at the end.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from recipes import changed

from solver import presets
from solver.arc import datasets
from solver.arc.tasks import Grid, Task
from solver.device import pick_device
from solver.results.trial import run_trial
from solver.run.folder import new_directory
from solver.run.log import read_log
from solver.run.work import Means
from submission.document import fallback, read
from submission.score import score
from voting import RULES, load_pools, two_attempts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", default=["nano", "random:nano"])
    parser.add_argument("--adapt", action="append", help="changes to AdaptConfig, such as lr=1e-3,batch=16")
    parser.add_argument("--predict", default="", help="changes to PredictConfig, such as views=128")
    parser.add_argument("--loops", type=int, help="loop steps to run (default: as the weights were trained)")
    parser.add_argument("--copies", type=int, help="fine-tuned copies a task at most (default: the preset's)")
    parser.add_argument("--first-share", type=float, help="the first copies' share of the budget")
    parser.add_argument("--plain", action="store_true", help="no copy sees its task zoomed")
    parser.add_argument("--seconds", type=float, default=20.0, help="worker seconds a task, on average")
    parser.add_argument("--limit", type=int, default=48)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--workers", type=int, help="processes (default: 2 on a CPU, 1 on a GPU)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    gpu = pick_device().type == "cuda"
    preset, workers = presets.gpu() if gpu else presets.cpu(), arguments.workers or (1 if gpu else 2)
    data = datasets.load("arc1-train")
    ids = datasets.held_out(data, large=0)[arguments.skip : arguments.skip + arguments.limit]
    by_id = {task.id: task for task in data.tasks}
    tasks = [by_id[i] for i in ids]
    solutions = {i: data.solutions[i] for i in ids}
    lines = []
    for weights in arguments.weights:
        for recipe in arguments.adapt or [""]:
            config = replace(preset.of(weights), loops=arguments.loops)
            config = replace(config, max_copies=arguments.copies or config.max_copies)
            config = replace(config, first_share=arguments.first_share or config.first_share)
            config = replace(config, may_zoom=config.may_zoom and not arguments.plain)
            config = replace(config, adapt=changed(config.adapt, recipe))
            config = replace(config, predict=changed(config.predict, arguments.predict))
            directory = new_directory(Path("runs"))
            means = Means(arguments.seconds * len(tasks) / workers, workers=workers)
            run_trial(data, tasks, config, directory, means, seed=arguments.seed)
            lines.append(f"{weights} {recipe or 'as preset'}: {_summary(directory, tasks, solutions)}  [{directory}]")
            print(lines[-1], flush=True)
    print("\n".join(["", f"{len(tasks)} held-out training tasks, {arguments.seconds:g} worker seconds each", *lines]))


def _summary(directory: Path, tasks: list[Task], solutions: dict[str, list[Grid]]) -> str:
    result = score(read(directory / "submission.json"), solutions)
    rows = [row for row in read_log(directory / "log.jsonl") if "error" not in row]
    steps = sum(row["steps"] for row in rows) / max(1, len(rows))
    settled = sum(row["settled"] for row in rows)
    pools = load_pools(directory / "pools.jsonl")
    parts = [f"attempt@2 {result.task_mean:.1%} ({sum(all(h) for h in result.hits.values())} tasks)"]
    for rule in RULES:
        attempts = {
            task.id: [
                two_attempts(pools[task.id, n], rule, fallback(grid)) if (task.id, n) in pools else fallback(grid)
                for n, grid in enumerate(task.test_inputs)
            ]
            for task in tasks
        }
        replayed = score(attempts, solutions)
        parts.append(f"{rule} {replayed.first_attempt:.1%}/{replayed.task_mean:.1%}")
    found = [
        (task.id, n) in pools and pools[task.id, n].get(truth) is not None
        for task in tasks
        for n, truth in enumerate(solutions[task.id])
    ]
    sizes = {row["canvas"] for row in rows}
    zoomed, other = sum(row.get("zoom", 1) > 1 for row in rows), sum(bool(row.get("weights")) for row in rows)
    parts.append(f"in the pool {sum(found)}/{len(found)} outputs")
    of = f"{len(rows)} copies, {zoomed} zoomed, {other} of other weights"
    return ", ".join(parts) + f", {steps:.0f} steps, {settled} settled, {of}, canvases {sorted(sizes)}"


if __name__ == "__main__":
    main()
