"""Mistakes of users end in one line, bugs leave their traceback; and no error is swallowed without a reason."""

import re
from pathlib import Path

import numpy as np
import pytest
from fake_run import small_tasks, write_run

from solver import errors
from solver.arc.tasks import load_challenges
from solver.cli import main
from solver.results import show
from solver.results.printing import run_table

ROOT = Path(__file__).parents[1]


def refuse():
    raise ValueError("file.json: this value is wrong")


def test_a_raise_of_the_project_is_deliberate_and_what_a_library_raises_is_a_bug(monkeypatch, tmp_path):
    monkeypatch.setattr(errors, "PACKAGES", (*errors.PACKAGES, __name__))
    cases = [
        (refuse, True),
        (lambda: load_challenges(tmp_path), True),  # raised anew, from an error of the system
        (lambda: (tmp_path / "absent").read_bytes(), True),
        (lambda: int("x"), False),
        (lambda: np.zeros(3).reshape(2, 2), False),
        (lambda: np.stack([]), False),
        (lambda: {"other": 1}["key"], False),
        (lambda: [0].index(1), False),
        (lambda: pytest.fail("assertion"), False),
    ]
    for number, (function, deliberate) in enumerate(cases):
        with pytest.raises((Exception, pytest.fail.Exception)) as caught:
            function()
        assert errors.is_deliberate(caught.value) == deliberate, number
    with pytest.raises(ValueError, match="wrong") as caught:
        refuse()
    monkeypatch.setattr(errors, "PACKAGES", ())
    assert not errors.is_deliberate(caught.value)  # of somebody else's `raise` nothing is known


@pytest.fixture
def broken(monkeypatch):
    """`tinyarc show` with a bug in it: an int() deep inside."""
    monkeypatch.setattr(show, "find", lambda name: int(name))


def test_a_bug_leaves_its_traceback_and_says_what_it_is(broken, capsys):
    assert main(["show", "0a1d4ef5"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)")
    assert "invalid literal for int() with base 10: '0a1d4ef5'" in said
    assert said.splitlines()[-1].startswith("tinyarc: this is a bug")


@pytest.mark.parametrize("how", ["plain", "before", "after", "environment"])
def test_the_traceback_of_a_mistake_is_shown_when_asked_for(how, capsys, monkeypatch, tmp_path):
    command = ["score", str(tmp_path / "absent.json"), str(tmp_path / "absent.json")]
    if how == "environment":
        monkeypatch.setenv("TINYARC_TRACEBACK", "1")
    asked = {"before": ["--traceback", *command], "after": [*command, "--traceback"]}
    assert main(asked.get(how, command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("tinyarc: ")
    assert "absent.json" in lines[-1]
    assert (len(lines) > 1) == (how != "plain")
    assert ("Traceback (most recent call last):" in lines) == (how != "plain")


def test_memory_that_is_short_is_no_bug(capsys, monkeypatch):
    def find(name):
        raise MemoryError("9 GiB")

    monkeypatch.setattr(show, "find", find)
    assert main(["show", "x"]) == 1
    assert capsys.readouterr().err == "tinyarc: not enough memory: 9 GiB\n"


def test_whatever_catches_everything_says_why():
    broad = re.compile(r"^\s*(except( \(?.*\b(Base)?Exception\b.*)?:|.*suppress\((Base)?Exception\))")
    found = []
    for folder in ("solver", "tta", "voting", "submission", "kaggle", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [(path.name, line) for line in lines if broad.match(line)]
    assert found
    assert [place for place in found if "  # " not in place[1]] == []


def test_the_traceback_of_a_task_is_shown_when_asked_for(tmp_path, capsys):
    tasks, solutions = small_tasks(2)
    directory = write_run(tmp_path / "run", tasks, solutions, ["hit", "failed"])
    log = (directory / "log.jsonl").read_text()
    (directory / "log.jsonl").write_text(log.replace('"error":', '"traceback":"in frob, line 3","error":'))
    assert "in frob" not in run_table(directory)
    with errors.tracebacks(True):
        assert "RuntimeError: out of memory <b>\nin frob, line 3" in run_table(directory)
    assert "in frob" not in run_table(directory)
