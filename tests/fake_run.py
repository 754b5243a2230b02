"""A run folder made by hand: real tasks, candidate pools whose outcome is known beforehand, no model."""

import numpy as np
import orjson

from solver import __version__
from solver.arc import datasets
from solver.arc.expected import needed_side
from solver.arc.tasks import challenge_json
from solver.learn.canvas import choose_size
from submission.document import Document, fallback
from voting import Pool, save_pools, two_attempts

VIEWS = 32
# What a recipe leaves behind for each test output; the views that go to each candidate, most first.
RECIPES = {
    "hit": ["truth", "junk"],
    "second": ["junk", "truth"],
    "pool": ["junk", "other", "truth"],
    "near": ["almost", "junk"],
    "missed": ["junk", "other"],
    "alone": ["truth"],
    "fallback": [],
    "failed": None,
}


def small_tasks(count, name="arc1-train"):
    """Tasks of one test input whose output has more than 10 cells, by id, and their solutions."""
    data = datasets.load(name)
    fitting = [t for t in data.tasks if len(t.test_inputs) == 1 and data.solutions[t.id][0].size > 10]
    tasks = datasets.demo_tasks(datasets.DataSet(name, fitting, {}, ""), count)
    return tasks, {task.id: data.solutions[task.id] for task in tasks}


def write_run(directory, tasks, solutions, recipes, *, rule="count", truth=True, workers=2):
    """Fills `directory`; recipes: one name in RECIPES per task, or a list of them, one per test input."""
    directory.mkdir(parents=True)
    document = Document(directory / "submission.json", {task.id: task.test_inputs for task in tasks})
    clock, rows, pools = [1.0] * workers, [], {}
    for number, (task, recipe) in enumerate(zip(tasks, recipes, strict=True)):
        names = [recipe] * len(task.test_inputs) if isinstance(recipe, str) else recipe
        worker = number % workers
        started, ended = clock[worker], clock[worker] + 4 + number % 5
        clock[worker] = ended
        spent = {"worker": worker, "started": started, "ended": ended}
        if "failed" in names:
            rows.append({"task": task.id, "copy": 0, "error": "RuntimeError: out of memory <b>", **spent})
            continue
        answers = zip(names, task.test_inputs, solutions[task.id], strict=True)
        for index, (name, grid, output) in enumerate(answers):
            pool = pools[task.id, index] = _pool(RECIPES[name], output)
            if len(pool):
                document.set(task.id, index, *two_attempts(pool, rule, fallback(grid)))
        rows.append(
            {
                "task": task.id,
                "copy": 0,
                "canvas": choose_size(needed_side(task)),
                "steps": 40 + number,
                "loss": 0.01,
                "settled": number % 2 == 0,
                "adapt_seconds": ended - started - 0.5,
                "predict_seconds": 0.5,
                "views": [VIEWS] * len(names),
                "trace": [_trace(output, number) for output in solutions[task.id]],
                **spent,
            }
        )
    document.write()
    save_pools(directory / "pools.jsonl", pools)
    (directory / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (directory / "challenges.json").write_bytes(orjson.dumps(challenge_json(tasks)))
    if truth:
        known = {task.id: [grid.tolist() for grid in solutions[task.id]] for task in tasks}
        (directory / "solutions.json").write_bytes(orjson.dumps(known))
    config = {
        "version": __version__,
        "command": "tinyarc solve challenges.json",
        "seed": 0,
        "weights": {"name": "nano", "sha256": "c0ffee" * 10 + "c0de", "parameters": 330_000},
        "model": {"width": 128, "blocks": 2, "loops": 4},
        "device": "cpu",
        "dtype": "float32",
        "workers": workers,
        "budget": max(clock) + 10,
        "steps": None,
        "rule": rule,
        "versions": {"python": "3.12.1", "torch": "2.10.0", "numpy": "2.0.2"},
        "challenges": {"file": "challenges.json", "sha256": "ab" * 32},
        "dataset": "arc1-train",
        "started": "2026-05-01T10:00:00+00:00",
        "finished": "2026-05-01T10:05:00+00:00",
        "seconds": max(clock) + 1,
    }
    (directory / "config.json").write_bytes(orjson.dumps(config))
    return directory


def _pool(candidates, truth):
    """The first candidate gets 16 views, each further one half of that; what is left decodes to nothing.

    Views that gave junk were unsure of it, so that the rule "confidence" ranks it last.
    """
    pool, votes = Pool(), VIEWS // 2
    for name in candidates:
        for _ in range(votes):
            pool.add(_answer(name, truth), -3.0 if name == "junk" else -0.05)
        votes //= 2
    pool.add_undecoded(VIEWS - pool.total_views)
    for candidate in pool.candidates:
        pool.add_likelihood(candidate.grid, -100.0 / candidate.views, VIEWS)
    return pool


def _answer(name, truth):
    answer = truth.copy()
    if name == "almost":
        answer[-1, -1] = (answer[-1, -1] + 1) % 10
    elif name == "junk":
        answer = (answer + 1) % 10
    elif name == "other":
        answer = np.pad(answer[:29], ((0, 1), (0, 0)))
    return answer


def _trace(truth, seed, loops=6):
    """Rows of characters per loop step: ever more of the truth, inside its border, from noise."""
    rng = np.random.default_rng(seed)
    order, noise = rng.random(truth.shape), rng.integers(0, 10, truth.shape)
    steps = []
    for step in range(1, loops + 1):
        answer = np.where(order < (step / (loops - 2)) ** 2, truth, noise)
        rows = ["".join(map(str, row)) + "#" for row in answer.tolist()]
        steps.append([*rows, "#" * len(rows[0])])
    steps[0] = [row.replace("#", ".") for row in steps[0]]
    return steps
