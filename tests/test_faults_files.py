"""Bad files and bad places: what is refused is one clear line, and what was good before stays as it was.

This is longer than other files for its table of over 200 malformed ones.
"""

import copy
import hashlib
import io
import json
import multiprocessing.process
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from fake_run import small_tasks, write_run

from solver.arc import datasets
from solver.arc.hashing import save_hashes
from solver.arc.tasks import TaskError, challenge_json, load_challenges
from solver.cli import main
from solver.weights import checkpoint
from submission.document import Document
from submission.validate import check

TASKS = datasets.demo_tasks(datasets.load("arc1-eval"), 4, largest_side=6)
GOOD = challenge_json(TASKS)
HUGE = 10**300

# Values that are wrong in some places, and how a message shows them.
VALUES = {
    "null": (None, "null"),
    "bool": (True, "true"),
    "float": (2.5, "2.5"),
    "nan": (float("nan"), "nan"),
    "infinity": (float("-inf"), "-inf"),
    "eleventh colour": (10, "10"),
    "minus": (-1, "-1"),
    "huge": (HUGE, "1000"),
    "text": ("3", "'3'"),
    "control characters": ("\x1b[31m\n", "'\\x1b[31m\\n'"),
    "lone surrogate": ("\ud800", "'\\ud800'"),
    "list": ([], "[]"),
    "object": ({}, "{}"),
    "deep": (json.loads("[" * 300 + "]" * 300), "[[["),
}
HOSTILE = [
    "../../escape",
    "/etc/passwd",
    "<script>alert(1)</script>",
    "a\nb",
    "\x00",
    "\x1b[2J",
    "‮",
    " ",
    "x" * 100_000,
    "__proto__",
    "con",
    "%s{0}",
    "' OR 1=1 --",
    "..",
    "🂡",
    "-rf",
    "~",
    "$(touch x)",
    "a/b\\c",
    "null",
]


class Case:
    """A file's content, what its refusal must say, and with keep_going the ids of its good tasks (None: unreadable)."""

    def __init__(self, name, content, words=(), good=None, ids=None):
        self.name, self.words, self.good, self.ids = name, words, good, ids
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()


def spoiled_task(document, victim, name, words):
    """A file whose task `victim` alone is bad."""
    ids = list(document)
    return Case(name, document, (repr(victim), *words), [i for i in ids if i != victim], ids)


def wrong_values(rng):
    """Each wrong value once in every kind of place."""
    for name, (value, shown) in VALUES.items():
        for place in ("task", "list", "entry", "grid", "row", "cell"):
            document = copy.deepcopy(GOOD)
            victim = rng.choice(list(document))
            task = document[victim]
            kind = rng.choice(["train", "test"])
            at = rng.randrange(len(task[kind]))
            key = rng.choice(["input", "output"]) if kind == "train" else "input"
            grid = task[kind][at][key]
            y = rng.randrange(len(grid))
            x = rng.randrange(len(grid[0]))
            pair = f"{'support' if kind == 'train' else 'test'} {at + 1}"
            words = [pair, shown]
            if place == "task":
                document[victim], words = value, [] if value == {} else [shown]
            elif place == "list":
                task[kind], words = value, [f"{pair[:-2]} 1"] if name == "deep" else [f"'{kind}'", shown]
            elif place == "entry":
                task[kind][at] = value
                words = [pair, "has no 'input'"] if value == {} else words
            elif place == "grid":
                task[kind][at][key] = value
                words = [f"{pair} {key}", "0 rows" if value == [] else "row 1 is [" if name == "deep" else shown]
                words[1:] = ["row 1"] if name == "deep" else words[1:]
            elif place == "row":
                grid[y] = value
                words = [f"{pair} {key}", f"row {y + 1} "]
                if name == "deep":  # a row of one cell: the length is wrong first, unless the grid is that narrow
                    words = [f"{pair} {key}", "row "]
            else:
                grid[y][x] = value
                words = [f"{pair} {key}: row {y + 1}, column {x + 1} holds {shown}"]
            yield spoiled_task(document, victim, f"{name} as {place}", words)


def wrong_shapes(rng):
    """Ragged, empty and too large grids, missing and repeated keys, empty lists."""

    def ragged(grid):
        grid[-1] = [*grid[-1], 0]
        return grid if len(grid) > 1 else [*grid, [0] * (len(grid[0]) + 1)]

    shapes = {
        "ragged": (ragged, " cells but row 1 has "),
        "no columns": (lambda grid: [[] for _ in grid], "row 1 has 0 cells"),
        "no rows": (lambda grid: [], "0 rows"),
        "31 x 31": (lambda grid: [[0] * 31] * 31, "31 rows"),
        "31 wide": (lambda grid: [[0] * 31], "31 cells"),
        "31 high": (lambda grid: [[0]] * 31, "31 rows"),
        "flat": (lambda grid: grid[0], "row 1 is"),
        "a thousand rows": (lambda grid: [[0]] * 1000, "1000 rows"),
    }
    for name, (change, words) in shapes.items():
        for kind, key in (("train", "input"), ("train", "output"), ("test", "input")):
            document = copy.deepcopy(GOOD)
            victim = rng.choice(list(document))
            entries = document[victim][kind]
            at = rng.randrange(len(entries))
            entries[at][key] = change(entries[at][key])
            pair = f"{'support' if kind == 'train' else 'test'} {at + 1} {key}"
            yield spoiled_task(document, victim, f"{name} {kind} {key}", [pair, words])
    for kind, key in (("train", "input"), ("train", "output"), ("test", "input")):
        document = copy.deepcopy(GOOD)
        victim = rng.choice(list(document))
        del document[victim][kind][0][key]
        pair = f"{'support' if kind == 'train' else 'test'} 1"
        yield spoiled_task(document, victim, f"no {key} in {kind}", [pair, f"has no '{key}'"])
    for kind in ("train", "test"):
        for emptied in (False, True):
            document = copy.deepcopy(GOOD)
            victim = rng.choice(list(document))
            if emptied:
                document[victim][kind] = []
            else:
                del document[victim][kind]
            yield spoiled_task(document, victim, f"no {kind}", [f"'{kind}'", "[]" if emptied else "null"])


def hostile_ids(rng):
    """A task with an odd id and a bad cell; the other odd ids are fine."""
    for odd in HOSTILE:
        ids = [odd, *rng.sample([i for i in HOSTILE if i != odd], len(GOOD) - 1)]
        document = dict(zip(ids, copy.deepcopy(GOOD).values(), strict=True))
        document[odd]["train"][0]["output"][0][0] = 77
        case = spoiled_task(document, odd, f"id {odd[:20]!r}", ["support 1 output: row 1, column 1 holds 77"])
        case.words = (repr(odd)[:10], *case.words[1:])
        yield case


def repeated_keys():
    ids, text = list(GOOD), json.dumps(GOOD)
    for victim in ids:
        again = text[:-1] + f", {json.dumps(victim)}: {json.dumps(GOOD[ids[0]])}}}"
        good = [i for i in ids if i != victim]
        yield Case("repeated id", again.encode(), (repr(victim), "more than once"), good, ids)
    for key, place in (("train", ""), ("test", ""), ("input", "support 1"), ("output", "support 1")):
        victim = ids[1]
        written = json.dumps(GOOD[victim])
        spoiled = written.replace(f'"{key}":', f'"{key}": [], "{key}":', 1)
        content = text.replace(written, spoiled).encode()
        words = (repr(victim), place, f"'{key}'", "more than once")
        yield Case(f"repeated {key}", content, words, [i for i in ids if i != victim], ids)


def broken_bytes(rng):
    """Files that are no JSON, no text or no object at all."""
    data = json.dumps(GOOD).encode()
    for _ in range(25):
        yield Case("truncated", data[: rng.randrange(len(data))], ("is not JSON",))
    for _ in range(15):
        at = rng.randrange(4, len(data))
        yield Case("invalid UTF-8", data[:at] + b"\xff" + data[at + 1 :], ("is not UTF-8 text", f"byte {at}"))
    first = data.index(b"[[") + 2  # the first cell of the file
    yield Case("a row nested too deeply", data[:first] + b"[" * 100_000 + data[first:], ("nested too deeply",))
    yield Case("objects nested too deeply", b'{"a": ' * 100_000, ("nested too deeply",))
    yield Case("twice", data + data, ("is not JSON",))
    yield Case("trailing comma", data[:-1] + b",}", ("is not JSON",))
    yield Case("single quotes", data.replace(b'"', b"'"), ("is not JSON",))
    yield Case("a comment", b"// tasks\n" + data, ("is not JSON",))
    yield Case("cut off by zeros", data[:300] + b"\0" * 500, ("is not JSON",))
    yield Case("zeros", b"\0" * 4096, ())
    yield Case("a page of HTML", b"<!DOCTYPE html><html>404</html>", ("is not JSON",))
    yield Case("a newline in an id", b'{"a\nb": 1}', ("is not JSON",))
    yield Case("an id that is no text", rb'{"\udfff": 1}', ("the id is not valid text",))
    for name, (value, shown) in VALUES.items():
        yield Case(f"{name} as file", value, ("holds no tasks" if value == {} else shown,))
    digits = str(GOOD[list(GOOD)[0]]["train"][0]["input"][0][0]).encode()
    longer = data[:first] + b"9" * 5000 + data[first + len(digits) :]
    good = list(GOOD)[1:]
    yield Case("a colour of 5000 digits", longer, (repr(list(GOOD)[0]), "row 1, column 1 holds"), good, list(GOOD))


def cases():
    rng = random.Random(0)
    return [*wrong_values(rng), *wrong_shapes(rng), *hostile_ids(rng), *repeated_keys(), *broken_bytes(rng)]


def faults_of_refusal(case, path):
    try:
        load_challenges(path)
    except TaskError as error:
        text = str(error)
        missing = [word for word in (str(path), *case.words) if word not in text]
        if missing or not text.isprintable() or len(text) > len(str(path)) + 250:
            return [f"{case.name}: {text[:300]!r} lacks {missing}"]
        return []
    return [f"{case.name}: was accepted"]


def test_over_200_malformed_files_are_each_refused_in_one_line_that_names_the_place(tmp_path):
    path, found, count = tmp_path / "challenges.json", [], 0
    for case in cases():
        path.write_bytes(case.content)
        found += faults_of_refusal(case, path)
        count += 1
    assert not found, "\n".join(found)
    assert count > 200


def test_the_good_tasks_of_each_malformed_file_are_kept_and_a_complete_submission_made(tmp_path):
    path, kept = tmp_path / "challenges.json", 0
    for case in cases():
        path.write_bytes(case.content)
        if case.good is None:
            with pytest.raises(TaskError):
                load_challenges(path, keep_going=True)
            continue
        read = load_challenges(path, keep_going=True)
        assert [task.id for task in read.tasks] == case.good, case.name
        assert list(read.test_inputs) == case.ids, case.name
        assert set(read.errors) == set(case.ids) - set(case.good), case.name
        if set(case.good) <= set(GOOD):
            assert challenge_json(read.tasks) == {i: GOOD[i] for i in case.good}, case.name
        check(Document(tmp_path / "submission.json", read.test_inputs).path, read.test_inputs)
        kept += 1
    assert kept > 100


def test_any_flipped_bits_give_a_valid_file_or_one_line(tmp_path):
    data, rng, path = json.dumps(GOOD).encode(), random.Random(1), tmp_path / "challenges.json"
    refused = 0
    for _ in range(150):
        spoiled = bytearray(data)
        for _ in range(rng.choice([1, 1, 3])):
            spoiled[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(spoiled)
        try:
            read, errors = load_challenges(path, keep_going=True), []
        except TaskError as error:
            errors = [error]
        else:
            errors = list(read.errors.values())
            check(Document(tmp_path / "submission.json", read.test_inputs).path, read.test_inputs)
        refused += len(errors) > 0
        assert all(str(error).startswith(str(path)) and str(error).isprintable() for error in errors)
    assert 50 < refused < 150


def test_oddities_that_lose_nothing_are_read(tmp_path):
    """A byte order mark, other encodings, extra keys, odd ids: the tasks are all there, so they are solved."""
    path, text = tmp_path / "challenges.json", json.dumps(GOOD)
    extra = copy.deepcopy(GOOD)
    for task in extra.values():
        task |= {"name": None, "output": [[99]]}
        task["train"][0] |= {"note": "x", "test": []}
        task["test"][0] |= {"output": "never looked at"}
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), b"\n\t " + text.encode(), json.dumps(extra)):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert challenge_json(load_challenges(path).tasks) == GOOD
    odd = dict.fromkeys(HOSTILE, GOOD[TASKS[0].id])
    path.write_text(json.dumps(odd))
    read = load_challenges(path)
    assert challenge_json(read.tasks) == odd
    check(Document(tmp_path / "submission.json", read.test_inputs).path, read.test_inputs)


@pytest.fixture
def bundle(tmp_path):
    """A sealed bundle of untrained weights that claims two pairs."""
    directory = tmp_path / "weights"
    return checkpoint.save_bundle(directory, "w", checkpoint.load("random:toy"), {}, np.array([3, 9], np.uint64))


def rewrite_card(bundle, **changes):
    """The card with other entries and a seal that fits them, as a forger or a bug would write it."""
    card = {key: value for key, value in {**bundle.card, **changes}.items() if key != "seal"}
    card["seal"] = checkpoint.seal(card)
    bundle.path.with_suffix(".json").write_bytes(orjson.dumps(card))


def refused(action, *arguments, names):
    with pytest.raises(ValueError, match=r".") as caught:
        action(*arguments)
    text = str(caught.value)
    assert text.startswith(str(names))
    assert text.isprintable()
    assert len(text) < len(str(names)) + 300
    return text


def test_weights_that_were_cut_off_or_lost_a_bit_are_refused(bundle):
    data, rng = bundle.path.read_bytes(), random.Random(0)
    assert isinstance(checkpoint.load(str(bundle.path)), torch.nn.Module)
    for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
        bundle.path.write_bytes(data[:length])
        assert "sha256" in refused(checkpoint.load, str(bundle.path), names=bundle.path)
        rewrite_card(bundle, sha256=hashlib.sha256(data[:length]).hexdigest())  # as if it had been written that way
        assert "does not fit" in refused(checkpoint.load, str(bundle.path), names=bundle.path)
        rewrite_card(bundle)
    for place in [0, 8, *(rng.randrange(len(data)) for _ in range(30))]:
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << rng.randrange(8)
        bundle.path.write_bytes(spoiled)
        assert "sha256" in refused(checkpoint.load, str(bundle.path), names=bundle.path)
    bundle.path.unlink()
    assert "cannot be read" in refused(checkpoint.load, str(bundle.path), names=bundle.path)


def test_an_altered_card_is_refused(bundle):
    card_path, rng = bundle.path.with_suffix(".json"), random.Random(0)
    data = card_path.read_bytes()
    network, found = checkpoint.load(str(bundle.path)), 0
    for _ in range(150):
        spoiled = bytearray(data)
        spoiled[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        card_path.write_bytes(spoiled)
        if not loads_the_same(bundle, network):
            refused(checkpoint.load, str(bundle.path), names=card_path)
            found += 1
    assert found > 100
    for content in (b"", b"[]", b"null", data[:-3], b'{"sha256": 5}', b"[" * 100_000, b"\x80\x04."):
        card_path.write_bytes(content)
        refused(checkpoint.load, str(bundle.path), names=card_path)
    # A card with a fitting seal that speaks of another network.
    model = bundle.card["model"]
    changes: dict[str, Any]
    for changes in (
        {"model": {**model, "width": 64}},
        {"model": {**model, "heads": 0}},
        {"model": {**model, "width": "32"}},
        {"model": {**model, "blocks": 2}},
        {"model": {**model, "extra": 1}},
        {"model": {}},
        {"parameters": 7},
        {"model": {**model, "heads": 3}},
        {"model": {**model, "task_tokens": 3}},
        {"model": {**model, "patch": 0}},
    ):
        rewrite_card(bundle, **changes)
        refused(checkpoint.load, str(bundle.path), names=bundle.path)
    card_path.unlink()
    refused(checkpoint.load, str(bundle.path), names=card_path)


def loads_the_same(bundle, network):
    """False if the bundle is refused. If it is not, only words that loading does not rely on were hit."""
    try:
        found = checkpoint.load(str(bundle.path))
    except ValueError:
        return False
    assert found.config == network.config
    return all(torch.equal(a, b) for a, b in zip(found.parameters(), network.parameters(), strict=True))


def test_altered_hashes_prove_nothing_and_are_refused(bundle):
    path = bundle.hashes_path
    data = path.read_bytes()
    assert checkpoint.trained_hashes(bundle).tolist() == [3, 9]
    for place in range(0, len(data), 3):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        path.write_bytes(spoiled)
        refused(checkpoint.trained_hashes, bundle, names=path)
    for length in (0, 1, 60, len(data) - 8, len(data) - 1):
        path.write_bytes(data[:length])
        refused(checkpoint.trained_hashes, bundle, names=path)
    save_hashes(path, [3])
    rewrite_card(bundle, hashes_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    bundle = checkpoint.find(str(bundle.path))
    assert "1 hashes, the card says 2" in refused(checkpoint.trained_hashes, bundle, names=path)
    path.unlink()
    refused(checkpoint.trained_hashes, bundle, names=path)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_ever_unpickled(bundle, tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Trap(canary)))
    assert canary.exists()  # the trap works
    canary.unlink()
    zipped, array = io.BytesIO(), io.BytesIO()
    torch.save({"w": Trap(canary)}, zipped)
    np.save(array, np.array([Trap(canary), 1], dtype=object), allow_pickle=True)
    for content in (pickle.dumps(Trap(canary)), pickle.dumps({"w": Trap(canary)}, protocol=0), zipped.getvalue()):
        bundle.path.write_bytes(content)
        rewrite_card(bundle, sha256=hashlib.sha256(content).hexdigest())
        assert "does not fit" in refused(checkpoint.load, str(bundle.path), names=bundle.path)
    for content in (pickle.dumps(Trap(canary)), array.getvalue()):
        bundle.hashes_path.write_bytes(content)
        rewrite_card(bundle, hashes_sha256=hashlib.sha256(content).hexdigest())
        refused(checkpoint.trained_hashes, checkpoint.find(str(bundle.path)), names=bundle.hashes_path)
    assert not canary.exists()


def test_every_bundled_card_is_sealed():
    for bundle in checkpoint.bundled():
        assert bundle.card["seal"] == checkpoint.seal(bundle.card)
        assert len(checkpoint.trained_hashes(bundle)) == bundle.card["pairs_trained_on"]


@pytest.fixture
def source(tmp_path):
    """A good file of challenges."""
    path = tmp_path / "challenges.json"
    path.write_text(json.dumps(GOOD))
    return path


@pytest.fixture
def cli(source, tmp_path, monkeypatch, capsys):
    """Runs `solve` on the good file where no process may start; returns the one line it is refused with."""
    monkeypatch.chdir(tmp_path)

    def start(self):
        raise AssertionError("solving has begun")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)

    def run(*arguments):
        given = ["--weights", "random:toy", "--steps", "1", "--device", "cpu", *arguments]
        assert main(["solve", str(source), *given]) == 2
        output = capsys.readouterr()
        assert output.err.startswith("tinyarc: ")
        assert output.err.count("\n") == 1
        assert json.loads(source.read_text()) == GOOD
        return output.err

    return run


def test_a_place_that_cannot_be_written_is_found_before_solving_begins(cli, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    long = "x" * 300
    for n, place in enumerate(("file/out.json", "folder", f"{long}/out.json", f"{long}.json", "/proc/none/out.json")):
        assert place in cli("--run-dir", str(tmp_path / f"run{n}"), "--out", place)
        assert not (tmp_path / f"run{n}" / "log.jsonl").exists()
    for place in ("file", "file/run", long, "/proc/none/run", "\0"):
        cli("--run-dir", place, "--out", str(tmp_path / "out.json"))
        assert not (tmp_path / "out.json").exists()
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_run_that_cannot_begin_leaves_the_submission_of_an_earlier_one(cli, tmp_path, bundle):
    out = tmp_path / "out.json"
    out.write_text("the earlier submission")
    (tmp_path / "run").write_text("")
    bundle.path.write_bytes(b"cut off")
    fresh = ["--run-dir", str(tmp_path / "fresh")]
    for wrong in (
        [*fresh, "--weights", str(bundle.path)],
        [*fresh, "--weights", "none"],
        [*fresh, "--rule", "none"],
        [*fresh, "--views", "0"],
        ["--run-dir", str(tmp_path / "run")],
        ["--resume", str(tmp_path / "nothing")],
    ):
        cli("--out", str(out), *wrong)
        assert out.read_text() == "the earlier submission"


def test_the_submission_never_overwrites_the_challenges(cli, source, tmp_path):
    (tmp_path / "link.json").symlink_to(source)
    for place in (source, tmp_path / "." / "link.json"):
        assert "challenges" in cli("--run-dir", str(tmp_path / "run"), "--out", str(place))


@pytest.fixture
def finished(tmp_path, monkeypatch, capsys):
    """A run folder of four answered tasks, and what resuming it says where no process may start."""
    tasks, truth = small_tasks(4)
    directory = write_run(tmp_path / "finished", tasks, truth, ["hit"] * 4, truth=False)
    digest = hashlib.sha256((directory / "challenges.json").read_bytes()).hexdigest()
    record = {"seed": 0, "steps": 1, "leave_one_out": False, "predict": {"views": 64}}
    record |= {"weights": {"name": "random:toy"}, "challenges": {"sha256": digest}}
    (directory / "config.json").write_bytes(orjson.dumps(record))
    source = tmp_path / "given.json"
    source.write_bytes((directory / "challenges.json").read_bytes())

    def start(self):
        raise AssertionError("solving has begun")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)

    def resume():
        arguments = ["--weights", "random:toy", "--steps", "1", "--device", "cpu", "--resume", str(directory)]
        return main(["solve", str(source), *arguments]), capsys.readouterr().err

    return directory, resume


def test_a_damaged_run_folder_is_refused_in_one_line_and_keeps_its_answers(finished):
    directory, resume = finished
    before = (directory / "submission.json").read_bytes()
    rows, pools = ((directory / name).read_bytes() for name in ("log.jsonl", "pools.jsonl"))
    damage = {
        "config.json": [b"", b"{}", b"[]", b"null", b'{"seed": 0, "weights": 1, "challenges": {}}', b"\xff"],
        "log.jsonl": [b"garbage\n" + rows, b'{"task": "a"}\n' + rows, b'{"task": [], "copy": 0}\n' + rows],
        "pools.jsonl": [b"garbage\n" + pools, b"{}\n" + pools, b"\x00" * 100 + b"\n" + pools],
    }
    for name, contents in damage.items():
        whole = (directory / name).read_bytes()
        for content in contents:
            (directory / name).write_bytes(content)
            code, said = resume()
            assert code == 2, (name, content[:40])
            assert said.count("\n") == 1
            assert name in said
            assert (directory / "submission.json").read_bytes() == before
        (directory / name).write_bytes(whole)
    assert resume()[0] == 0


def test_a_lost_or_damaged_submission_is_made_again_from_the_pools(finished):
    directory, resume = finished
    path = directory / "submission.json"
    assert resume()[0] == 0
    before = path.read_bytes()
    for content in (before[:100], b"", b"{}", None):
        path.unlink() if content is None else path.write_bytes(content)
        assert resume()[0] == 0
        assert path.read_bytes() == before
