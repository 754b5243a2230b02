"""`tinyarc data`, on small fakes of each repository in its authors' own format."""

import json
import zipfile

import numpy as np
import pytest

from solver.arc import datasets
from solver.arc.tasks import Pair, Task
from solver.cli import main
from solver.training import arcgen, building

ONE, TWO, TALL = [[1, 2]], [[3], [4]], [[0]] * 31
PAIR = {"input": ONE, "output": TWO}


def task(*pairs):
    return json.dumps({"train": list(pairs[:-1]), "test": list(pairs[-1:])})


def pairs_of(packed):
    """{task id: its pairs as lists}."""
    found: dict[str, list[list[list[list[int]]]]] = {str(i): [] for i in packed.ids}
    for number, row in enumerate(packed.task):
        found[str(packed.ids[row])].append([grid.tolist() for grid in packed.pair(number)])
    return found


@pytest.mark.parametrize("shape", ["checkout", "zip", "unpacked"])
def test_rearc_is_read_from_its_checkout_its_zip_or_that_unpacked(tmp_path, capsys, shape):
    files = {
        "re_arc/tasks/007bbfb7.json": [PAIR, {"input": TWO, "output": ONE}],
        "re_arc/tasks/00d62c1b.json": [PAIR, {"input": TALL, "output": ONE}],
        "re_arc/metadata.json": {},
        "__MACOSX/re_arc/tasks/00d62c1b.json": "rubbish",
    }
    where = tmp_path / "re-arc"
    where.mkdir()
    with zipfile.ZipFile(where / "re_arc.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content))
    source = {"checkout": where, "zip": where / "re_arc.zip", "unpacked": where / "there"}[shape]
    if shape == "unpacked":
        with zipfile.ZipFile(where / "re_arc.zip") as archive:
            archive.extractall(source, [name for name in files if name.startswith("re_arc/")])
    out = tmp_path / "rearc.npz"
    assert main(["data", "rearc", str(source), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 tasks, 3 pairs, content sha256 " + datasets.packed_hash(out) in said
    assert "left out: 1 pairs with a side above 30" in said
    assert pairs_of(datasets.packed_pairs(out)) == {"007bbfb7": [[ONE, TWO], [TWO, ONE]], "00d62c1b": [[ONE, TWO]]}
    before = out.read_bytes()
    assert main(["data", "rearc", str(source), "-o", str(out)]) == 0
    assert out.read_bytes() == before


def test_conceptarc_becomes_one_file_without_the_minimal_tasks(tmp_path, capsys):
    folder = tmp_path / "corpus" / "AboveBelow"
    folder.mkdir(parents=True)
    for name in ("AboveBelow2", "AboveBelow10", "AboveBelowMinimal"):
        (folder / f"{name}.json").write_text(task(PAIR, {**PAIR, "extra": 1}))
    out = tmp_path / "conceptarc.json"
    assert main(["data", "conceptarc", str(tmp_path), "-o", str(out)]) == 0
    assert "2 tasks, 4 pairs" in capsys.readouterr().out
    data = datasets.conceptarc(out)
    assert [task.id for task in data.tasks] == ["AboveBelow10", "AboveBelow2"]
    assert data.solutions["AboveBelow2"][0].tolist() == TWO


def test_the_small_collections_are_told_apart_and_cleaned(tmp_path, capsys):
    three = [PAIR, {"input": TWO, "output": ONE}, {"input": ONE, "output": ONE}]
    files = {
        "mini/data/MiniARC/Flip_color!,_and more and more and more_l6ab8jog.json": task(*three),
        "tama/dataset/flip/flip_12.json": task(*three, PAIR, {"input": TALL, "output": ONE}),
        "tama/dataset/flip/flip_13.json": task(*three[:2]),
        "one/dataset/1d_fill/1d_fill_10.json": task(*three),
        "one/dataset/1d_fill/1d_fill_9.json": task(*three),
        "one/dataset/1d_long/1d_long_0.json": task(*three, {"input": TALL, "output": ONE}),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    out, folders = tmp_path / "more.npz", [str(tmp_path / name) for name in ("one", "tama", "mini")]
    assert main(["data", "more", *folders, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    for reason in ("1 pairs with a side above 30", "1 pairs that are in their task twice", "1 tasks with fewer than 3"):
        assert reason in said
    assert "1 tasks of 1d with a side above 30" in said
    found = pairs_of(datasets.packed_pairs(out))
    assert list(found) == ["1d/fill_10", "1d/fill_9", "mini/Flip_color_and_more_and_more_l6ab8jog", "tama/flip_12"]
    assert set(map(len, found.values())) == {3}


TASK_LIST = """
import random
import time

def good():
    print("a word that is no result")
    size = random.randint(1, 30)
    return {"input": [[size % 10] * size], "output": [[1] * size]}

def slow():
    time.sleep(60)

def broken():
    raise KeyError("no")

def official():
    return {"train": [{"input": [[1, 2]], "output": [[3], [4]]}], "test": [{"input": [[5]], "output": [[6]]}]}

def other():
    return {"train": [{"input": [[1, 2]], "output": [[3], [4]]}], "test": [{"input": [[5]], "output": [[7]]}]}

def task_list():
    return {"good": (good, official), "slow": (slow, official), "broken": (broken, official),
            "other": (good, other), "unknown": (good, official)}
"""


def test_generators_run_apart_with_a_time_limit_and_must_reproduce_their_task(tmp_path, monkeypatch):
    monkeypatch.setattr(arcgen, "FAILURES", 1)
    monkeypatch.setattr(arcgen, "FEWEST_PAIRS", 4)
    (tmp_path / "task_list.py").write_text(TASK_LIST)

    def grid(cells):
        return np.array(cells, dtype=np.uint8)

    names = ("good", "slow", "broken", "other")
    tasks = [Task(name, (Pair(grid([[1, 2]]), grid([[3], [4]])),), (grid([[5]]),)) for name in names]
    known = {"set": datasets.DataSet("set", tasks, {name: [grid([[6]])] for name in names}, "")}
    seen = []

    def gathered():
        return arcgen.gather(tmp_path, known, {"set": 8}, limit=1.0, progress=lambda *done: seen.append(done))

    found = gathered()
    assert seen[-1] == (4, 4)
    assert [(name, len(pairs)) for name, pairs in found.tasks] == [("good", 8)]
    keys = [(a.tobytes(), a.shape) for a, _ in found.tasks[0][1]]
    assert len(set(keys)) == 8
    assert found.left_out["pairs that took too long or failed"] == 2
    assert found.left_out["generators that do not reproduce their task"] == 1
    assert found.left_out["generators of tasks that are in none of the sets"] == 1
    assert found.left_out["generators with fewer than 4 pairs"] == 2
    tasks[1:] = []
    again = gathered()
    assert [(a.tobytes(), a.shape) for a, _ in again.tasks[0][1]] == keys


@pytest.mark.slow
def test_what_is_not_as_published_is_said_in_one_line(tmp_path, capsys):
    def said(*arguments):
        assert main(["data", *map(str, arguments), "-o", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        return line

    assert "nowhere: there is no such file or folder" in said("rearc", tmp_path / "nowhere")
    for source, missing in (("rearc", "re_arc.zip"), ("conceptarc", "corpus/"), ("arcgen", "task_list.py")):
        assert missing in said(source, tmp_path)
    assert "no checkout of MINI-ARC, tama or 1D-ARC" in said("more", tmp_path)
    assert "one repository, 2 are given" in said("rearc", tmp_path, tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "00d62c1b.json").write_text(json.dumps([{"input": [[11]], "output": [[1]]}]))
    assert "tasks/00d62c1b.json: pair 1 input" in said("rearc", tmp_path)
    (tmp_path / "task_list.py").write_text("import something_that_is_not_there")
    assert "ModuleNotFoundError" in said("arcgen", tmp_path)
    assert set(building.ABOUT) == set(building.FILES)
