"""solver.arc.tasks: what is read, what is refused and with which words, and what is never looked at."""

import copy
import hashlib
import json
from typing import Any

import numpy as np
import pytest

from solver.arc.tasks import TaskError, challenge_json, load_challenges, load_solutions

GOOD = {
    "train": [{"input": [[1, 2, 3]], "output": [[4], [5]]}, {"input": [[0]], "output": [[9]]}],
    "test": [{"input": [[6, 7], [8, 9], [0, 1], [2, 3]]}, {"input": [[1]]}],
}


def written(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def refusal(path, load=load_challenges):
    with pytest.raises(TaskError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    return message


def test_a_file_round_trips_and_test_outputs_stay_unread(tmp_path):
    tempting: dict[str, Any] = copy.deepcopy(GOOD)
    for test in tempting["test"]:
        test["output"] = "anything, even rubbish"
    path = written(tmp_path, {"b": GOOD, "a": tempting})
    read = load_challenges(path)
    assert [task.id for task in read.tasks] == ["b", "a"]
    assert challenge_json(read.tasks) == {"b": GOOD, "a": GOOD}
    assert read.tasks[0].support[0].output.dtype == np.uint8
    assert read.tasks[0].support[0].output.shape == (2, 1)
    assert read.tasks[0].largest_side == 4
    assert read.errors == {}
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


BAD_GRIDS = [
    ([[1, 2], [3]], "row 2 has 1 cells but row 1 has 2"),
    ([[1, 10]], "row 1, column 2 holds 10;"),
    ([[1], [-1]], "row 2, column 1 holds -1;"),
    ([["3"]], "holds '3';"),
    ([[1.5]], "holds 1.5;"),
    ([[1.0]], "holds 1.0;"),
    ([[True]], "holds true;"),
    ([[0, None]], "column 2 holds null;"),
    ([], "has 0 rows"),
    ([[]], "row 1 has 0 cells"),
    ([[0] * 31], "row 1 has 31 cells"),
    ([[0]] * 31, "has 31 rows"),
    ([[0], "x" * 5000], "row 2 is 'xxx"),
    ({"rows": 1}, "a grid is a list of rows, not {'rows': 1}"),
    (None, "not null"),
]


@pytest.mark.parametrize(("grid", "words"), BAD_GRIDS)
def test_a_bad_grid_is_named_with_its_place_and_value(tmp_path, grid, words):
    task = copy.deepcopy(GOOD)
    task["train"][1]["output"] = grid
    message = refusal(written(tmp_path, {"good": GOOD, "bad": task}))
    assert "task 'bad': support 2 output: " in message
    assert words in message
    assert words in refusal(written(tmp_path, {"x": [[[1]], grid]}), load_solutions)


BAD_TASKS = [
    ({"test": GOOD["test"]}, "'train' must be a list with at least one entry, not null"),
    ({"train": [], "test": GOOD["test"]}, "'train' must be"),
    ({"train": GOOD["train"], "test": {}}, "'test' must be"),
    ({"train": [{"input": [[1]]}], "test": GOOD["test"]}, "support 1: has no 'output'"),
    ({"train": GOOD["train"], "test": [{"input": [[1]]}, {}]}, "test 2: has no 'input'"),
    ({"train": GOOD["train"], "test": [[[1]]]}, "test 1: expected a JSON object, not [[1]]"),
    ([GOOD], "expected a JSON object, not [{"),
]


@pytest.mark.parametrize(("task", "words"), BAD_TASKS)
def test_a_bad_task_is_named(tmp_path, task, words):
    message = refusal(written(tmp_path, {"bad": task}))
    assert "task 'bad': " in message
    assert words in message


BAD_FILES = [
    (b"{", "is not JSON"),
    (b"", "is not JSON"),
    (b"9" * 5000, "expected a JSON object of tasks by id, not inf"),
    (b"[1]", "expected a JSON object of tasks by id, not [1]"),
    (b"{}", "holds no tasks"),
    (b'{"a\xff": 1}', "is not UTF-8 text"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"": 1}', "an id must not be empty"),
    (rb'{"\ud800": 1}', "the id is not valid text"),
    (b'{"a": 1, "b": 2, "a": 3}', "task 'a': the id appears more than once"),
    (b'{"a": {"train": [], "test": [], "train": []}}', "task 'a': the key 'train' appears more than once"),
]


@pytest.mark.parametrize(("content", "words"), BAD_FILES)
def test_a_bad_file_is_refused(tmp_path, content, words):
    assert words in refusal(written(tmp_path, content))


def test_what_cannot_be_opened_is_refused(tmp_path):
    assert "cannot be read: Is a directory" in refusal(tmp_path)
    assert "cannot be read: No such file" in refusal(tmp_path / "none.json", load_solutions)


def test_keeping_going_leaves_a_place_for_every_test_of_every_task(tmp_path):
    bad_test = {"train": GOOD["train"], "test": [{"input": [[5]]}, {"input": [[77]]}, 3]}
    bad_support = {"train": [{}], "test": GOOD["test"]}
    path = written(tmp_path, {"z": bad_test, "good": GOOD, "s": bad_support, "none": None, "": GOOD})
    read = load_challenges(path, keep_going=True)
    assert [task.id for task in read.tasks] == ["good"]
    assert sorted(read.errors) == ["", "none", "s", "z"]
    assert "test 2 input: row 1, column 1 holds 77" in str(read.errors["z"])
    assert list(read.test_inputs) == ["z", "good", "s", "none", ""]
    assert [g.tolist() for g in read.test_inputs["z"]] == [[[5]], [[0]], [[0]]]
    assert [len(read.test_inputs[i]) for i in ("good", "s", "none", "")] == [2, 2, 1, 2]


def test_keeping_going_survives_a_repeated_id_but_not_a_broken_file(tmp_path):
    good = json.dumps(GOOD)
    read = load_challenges(written(tmp_path, f'{{"a": {good}, "b": {good}, "a": {good}}}'.encode()), True)
    assert [task.id for task in read.tasks] == ["b"]
    assert list(read.test_inputs) == ["a", "b"]
    with pytest.raises(TaskError, match="is not JSON"):
        load_challenges(written(tmp_path, b'{"a": '), keep_going=True)
