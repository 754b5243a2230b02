"""The notebooks for Kaggle where things go wrong, and what a rehearsal plays on. A whole run is test_rehearse's."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from submission.validate import check

CHECKOUT = Path(__file__).parents[1]
NOTEBOOK = json.loads((CHECKOUT / "kaggle" / "solve" / "notebook.ipynb").read_text())
CODE = {cell["id"]: "".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"}
TASKS = {"00000000": {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[1, 2], [3, 4]]}]}}


@pytest.mark.parametrize("kind", ["solve", "train"])
def test_the_notebooks_are_small_and_clean(kind):
    cells = json.loads((CHECKOUT / "kaggle" / kind / "notebook.ipynb").read_text())["cells"]
    assert len(cells) <= 7
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert all(len("".join(cell["source"]).splitlines()) <= 45 for cell in cells)


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """A folder like /kaggle with the competition, and a decoy of its file in somebody's dataset."""
    for folder in ("input/a/b", "input/competitions/arc-prize-2030", "working"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "input/competitions/arc-prize-2030/arc-agi_test_challenges.json").write_text(json.dumps(TASKS))
    (tmp_path / "input/a/arc-agi_test_challenges.json").write_text("{}")
    monkeypatch.setenv("TINYARC_ROOT", str(tmp_path))
    monkeypatch.delenv("KAGGLE_IS_COMPETITION_RERUN", raising=False)
    return tmp_path


def test_the_notebook_fails_a_commit_run_without_the_dataset(mounted):
    names: dict[str, Any] = {}
    for cell in ("find", "install", "solve"):
        exec(CODE[cell], names)
    with pytest.raises(RuntimeError, match="attach the dataset"):
        exec(CODE["check"], names)
    check(mounted / "working" / "submission.json", {"00000000": [None]})


def test_the_notebook_takes_weights_with_a_card_and_leaves_other_files_alone(mounted):
    names: dict[str, Any] = {}
    exec(CODE["find"], names)
    names["problems"].append("nothing is to be installed or solved here")
    for name, card in {"a": "no JSON", "b": "[]", "c": "{}", "d": '{"pairs_trained_on": 3}'}.items():
        (mounted / "input/a/b" / f"{name}.safetensors").touch()
        (mounted / "input/a/b" / f"{name}.json").write_text(card)
    (mounted / "input/a/b/e.safetensors").touch()
    exec(CODE["solve"], names)
    assert [Path(path).name for path in names["bundles"]("")] == ["d.safetensors"]


def test_a_rehearsal_finds_the_pythons_of_pyenv(tmp_path, monkeypatch):
    (tmp_path / "path").mkdir()
    for place, version in (("path/python3.12", "3.9"), ("versions/3.12.9/bin/python", "3.12")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / place).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = runpy.run_path(str(CHECKOUT / "kaggle" / "pythons.py"))["found"]()
    assert found["3.12"] == (
        sys.executable if sys.version_info[:2] == (3, 12) else str(tmp_path / "versions/3.12.9/bin/python")
    )


@pytest.mark.slow
def test_the_notebook_ends_a_rerun_with_a_valid_submission_whatever_happens(mounted, monkeypatch, capfd):
    (mounted / "input/a/b/tinyarc-9-py3-none-any.whl").write_text("half of an upload")
    (mounted / "input/a/b/SHA256SUMS").write_text("0" * 64 + "  tinyarc-9-py3-none-any.whl\n")
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    monkeypatch.setenv("PIP_TARGET", str(mounted / "never"))
    names: dict[str, Any] = {}
    for cell in CODE:
        if cell == "check":
            (mounted / "working" / "submission.json").write_text("{")
        exec(CODE[cell], names)
    assert not (mounted / "never").exists()
    printed = capfd.readouterr().out
    assert "PROBLEM: sha256sum --check --quiet SHA256SUMS ended with 1" in printed
    assert "PROBLEM: the submission went back to fallbacks" in printed
    check(mounted / "working" / "submission.json", {"00000000": [None]})


def test_the_notebook_stops_a_command_that_overruns(mounted):
    names: dict[str, Any] = {}
    exec(CODE["find"], names)
    exec(CODE["install"].split("\n\n\n")[0], names)
    names["run"]([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert names["problems"][0].endswith("ended with -9")


def test_the_guard_of_a_rehearsal_notes_and_refuses_the_network(tmp_path):
    code = "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as e:\n    print(e)"
    environment = {"PYTHONPATH": str(CHECKOUT / "kaggle" / "guard"), "TINYARC_GUARD_LOG": str(tmp_path / "log")}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)
    assert "a rehearsal has no network" in done.stdout
    assert "192.0.2.1" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_the_notebook_puts_answers_of_these_tasks_to_ours(mounted):
    names: dict[str, Any] = {}
    exec(CODE["find"], names)
    exec(CODE["install"].split("\n\n\nif wheels")[0], names)
    run = names["RUN"] = mounted / "working" / "run-1"
    run.mkdir()
    (run / "challenges.json").write_text(json.dumps(TASKS))
    (run / "config.json").write_text("{}")
    (run / "submission.json").write_bytes((mounted / "working" / "submission.json").read_bytes())
    answer = [{"attempt_1": [[5, 5, 5]], "attempt_2": [[6]]}]
    for folder, task_id in (("input/b", "00000000"), ("input/c", "11111111"), ("working/theirs", "00000000")):
        (mounted / folder).mkdir()
        (mounted / folder / "submission.json").write_text(json.dumps({task_id: answer}))
    exec(CODE["merge"], names)
    assert names["problems"] == []
    assert [Path(path).parent.name for path in names["others"]] == ["b", "theirs"]
    assert json.loads((mounted / "working" / "submission.json").read_text()) == {"00000000": answer}
    (merged,) = (mounted / "working").glob("merged-*")
    assert (merged / "pools.jsonl").is_file()


def test_the_training_notebook_goes_on_from_the_furthest_checkpoint_that_it_finds(mounted):
    cells = json.loads((CHECKOUT / "kaggle" / "train" / "notebook.ipynb").read_text())["cells"]
    code = {cell["id"]: "".join(cell["source"]) for cell in cells}
    for name, preset, step in (("one", "base", 10), ("two", "base", 30), ("three", "nano", 90)):
        folder = mounted / "input" / "notebooks" / "jane" / name / "checkpoints" / preset
        folder.mkdir(parents=True)
        torch.save({"counters": [step, 1.5, 7]}, folder / "latest.pt")
    names: dict[str, Any] = {}
    exec(code["settings"], names)
    with pytest.raises(FileNotFoundError, match="attach the dataset"):
        exec(code["find"], names)
    (mounted / "input" / "tinyarc-training-data").mkdir()
    (mounted / "input" / "tinyarc-training-data" / "arcagi_aa922be.json").touch()
    (mounted / "input" / "a" / "tinyarc-1-py3-none-any.whl").touch()  # the solver's dataset, attached too
    exec(code["find"], names)
    assert names["DATA"].name == "tinyarc-training-data"
    assert names["steps"](mounted / "working" / "checkpoints" / "base" / "latest.pt") == 30
