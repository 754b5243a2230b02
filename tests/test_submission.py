"""The submission document and its validator: valid from the start, whatever dies, and every fault named."""

import copy
import json
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from submission.document import Document, fallback, read
from submission.validate import check, problems


@pytest.fixture
def test_inputs():
    rng = np.random.default_rng(0)

    def grid():
        return rng.integers(0, 10, rng.integers(1, 31, 2), dtype=np.uint8)

    return {f"{task:08x}": [grid() for _ in range(1 + task % 2)] for task in range(5)}


def test_document_is_valid_at_once_and_after_every_answer(tmp_path, test_inputs):
    path = tmp_path / "new" / "folder" / "submission.json"
    document = Document(path, test_inputs)
    check(path, test_inputs)
    assert list(json.loads(path.read_bytes())) == list(test_inputs)
    start = read(path)
    assert all(not np.array_equal(*pair) for pairs in start.values() for pair in pairs)
    assert document.answered == frozenset()

    task_id = list(test_inputs)[1]
    first = np.full((30, 1), 9)
    second = [[0, 1], [2, 3]]
    document.set(task_id, 1, first, second)
    second[0][0] = 7  # the caller's own list, which is no longer the document's
    assert np.array_equal(read(path)[task_id][1][0], start[task_id][1][0])  # not before `write`
    document.write()
    check(path, test_inputs)
    now = read(path)
    assert now[task_id][1][0].dtype == np.uint8
    assert now[task_id][1][0].tolist() == first.tolist()
    assert now[task_id][1][1].tolist() == [[0, 1], [2, 3]]
    assert document.answered == {(task_id, 1)}
    assert document.is_fallback(task_id, 0)
    assert not document.is_fallback(task_id, 1)
    for other, pairs in start.items():
        for index, pair in enumerate(pairs):
            if (other, index) != (task_id, 1):
                assert all(np.array_equal(a, b) for a, b in zip(pair, now[other][index], strict=True))
    assert list(path.parent.iterdir()) == [path]


def test_document_refuses_bad_answers_and_keeps_the_old(tmp_path, test_inputs):
    document = Document(tmp_path / "submission.json", test_inputs)
    before = document.path.read_bytes()
    good = np.zeros((2, 2), np.uint8)
    bad_grids = [good[0], np.zeros((31, 1), int), np.zeros((0, 2), int), good + 10, good - 1.0, good > 0]
    for bad in [*bad_grids, [[0], [0, 1]], None]:
        with pytest.raises(ValueError, match="task 00000000, test 0, attempt_2: "):
            document.set("00000000", 0, good, bad)
    for task_id, index in [("ffffffff", 0), ("00000000", 1), ("00000000", -1)]:
        with pytest.raises(ValueError, match=task_id):
            document.set(task_id, index, good, good)
        with pytest.raises(ValueError, match=task_id):
            document.is_fallback(task_id, index)
    document.write()
    assert document.path.read_bytes() == before
    assert not document.answered
    empties: list[dict[str, list[np.ndarray]]] = [{}, {"a": []}, {"a": [np.full((2, 2), 11)]}]
    for empty in empties:
        with pytest.raises(ValueError, match="task"):
            Document(tmp_path / "other.json", empty)


def test_fallback_grids_always_differ(test_inputs):
    plain = [np.zeros((1, 1), np.uint8), np.full((3, 4), 9), np.array([[1, 2, 1]])]
    for grid in plain + [grid for grids in test_inputs.values() for grid in grids]:
        first, second = fallback(grid)
        assert np.array_equal(first, grid)
        assert not np.array_equal(first, second)
        answer = {"attempt_1": first.tolist(), "attempt_2": second.tolist()}
        assert problems({"a": [answer]}, {"a": [grid]}) == []


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path, test_inputs, monkeypatch, broken):
    document = Document(tmp_path / "submission.json", test_inputs)
    before = document.path.read_bytes()
    document.set("00000000", 0, [[1]], [[2]])

    def fail(*args):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(OSError, match="no space"):
            document.write()
    assert document.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [document.path]
    document.write()
    assert read(document.path)["00000000"][0][0].tolist() == [[1]]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, test_inputs, monkeypatch):
    sync = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError("invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    check(Document(tmp_path / "submission.json", test_inputs).path, test_inputs)


WRITER = """
import sys
import numpy as np
from submission.document import Document
inputs = {f"{task:08x}": [np.zeros((30, 30), np.uint8)] * 2 for task in range(100)}
document = Document(sys.argv[1], inputs)
for step in range(10**9):
    answer = np.full((1 + step % 30, 30), step % 10)
    document.set(f"{step % 100:08x}", step % 2, answer, answer)
    document.write()
"""


@pytest.mark.slow
def test_a_reader_never_sees_half_a_file_and_a_kill_never_leaves_one(tmp_path):
    path = tmp_path / "submission.json"
    test_inputs = {f"{task:08x}": [None, None] for task in range(100)}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    rng, seen = random.Random(0), set()
    for _ in range(5):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env=environment)
        try:
            deadline = time.monotonic() + 30
            while not path.exists() and time.monotonic() < deadline:
                assert writer.poll() is None
                time.sleep(0.001)
            deadline = time.monotonic() + rng.uniform(0.05, 0.15)
            while time.monotonic() < deadline:
                seen.add(path.read_bytes())
        finally:
            writer.kill()
            writer.wait()
        check(path, test_inputs)
    assert len(seen) > 1  # the writer was indeed at work
    for content in seen:
        assert list(orjson.loads(content)) == list(test_inputs)


GRID = [[0, 1], [2, 3]]
VALID = {"a": [{"attempt_1": GRID, "attempt_2": GRID}], "b": [{"attempt_1": GRID, "attempt_2": GRID}] * 2}
FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "document no object": (lambda d: [d], "not an object of task ids"),
    "task missing": (lambda d: d.pop("a") and d, "task a: missing"),
    "task surplus": (lambda d: {**d, "c": d["a"]}, "task c: not among the challenges"),
    "answers no list": (lambda d: {**d, "a": d["a"][0]}, "task a: not a list of answers"),
    "too few answers": (lambda d: {**d, "b": d["b"][:1]}, "task b: 1 answers for 2 test inputs"),
    "too many answers": (lambda d: {**d, "a": d["a"] * 2}, "task a: 2 answers for 1 test inputs"),
    "answer no object": (lambda d: {**d, "a": [[GRID, GRID]]}, "task a, test 0: not an object"),
    "attempt missing": (lambda d: d["b"][1].pop("attempt_2") and d, "task b, test 1, attempt_2: missing"),
    "key surplus": (lambda d: d["a"][0].update(other=GRID) or d, "task a, test 0: surplus key 'other'"),
}
GRID_FAULTS: dict[str, tuple[Any, str]] = {
    "null": (None, "not a list of rows: None"),
    "text": ("01", "not a list of rows: '01'"),
    "no rows": ([], "0 rows"),
    "flat": ([0, 1], "row 0 is not a list: 0"),
    "no columns": ([[]], "row 0 has 0 cells"),
    "ragged": ([[0, 1], [2]], "row 1 has 1 cells, but row 0 has 2"),
    "31 rows": ([[0]] * 31, "31 rows"),
    "31 columns": ([[0] * 31], "row 0 has 31 cells"),
    "colour 10": ([[0, 10]], "row 0, column 1 is not an integer 0 to 9: 10"),
    "colour -1": ([[0], [-1]], "row 1, column 0 is not an integer 0 to 9: -1"),
    "bool": ([[True]], "row 0, column 0 is not an integer 0 to 9: True"),
    "float": ([[1.0]], "row 0, column 0 is not an integer 0 to 9: 1.0"),
}
for _name, (_value, _message) in GRID_FAULTS.items():
    FAULTS[_name] = (
        lambda d, value=_value: d["b"][1].update(attempt_2=value) or d,
        f"task b, test 1, attempt_2: {_message}",
    )


@pytest.mark.parametrize("name", FAULTS)
def test_validator_names_the_place_of(name, tmp_path):
    break_it, message = FAULTS[name]
    test_inputs = {"a": [GRID], "b": [GRID, GRID]}
    # Through JSON, so that no two answers are one object.
    assert problems(VALID, test_inputs) == []
    broken = break_it(json.loads(json.dumps(VALID)))
    found = problems(copy.deepcopy(broken), test_inputs)
    assert len(found) == 1
    assert found[0].startswith(message) or message == "not an object of task ids"
    assert message in found[0]
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="is not a valid submission") as caught:
        check(path, test_inputs)
    assert message in str(caught.value)


def test_check_sees_what_parsing_hides(tmp_path):
    path = tmp_path / "submission.json"
    answer = json.dumps(VALID["a"])
    path.write_text(f'{{"a": {answer}, "a": {answer}}}')
    with pytest.raises(ValueError, match="key 'a' appears 2 times"):
        check(path, {"a": [GRID]})
    path.write_text(json.dumps(VALID)[:-5])
    for load in (read, lambda path: check(path, {"a": [GRID]})):
        with pytest.raises(ValueError, match="is not JSON"):
            load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="and 3 more"):
        check(path, {task_id: [GRID] for task_id in "abcdefgh"})
    eleventh_color = {"a": [{"attempt_1": GRID, "attempt_2": [[10]]}]}
    for bad in ([VALID], {"a": VALID}, {"a": [{"attempt_1": GRID}]}, eleventh_color):
        path.write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=r"is not a submission|task a, test 0, attempt_2"):
            read(path)
