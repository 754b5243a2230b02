"""Long work in pieces: the experiments and the evaluation stop, go on, and end with a table."""

import experiments
import orjson
import pytest

from solver.cli import main
from solver.results.trial import standing
from solver.training.files import FILES
from solver.training.presets import TRAIN_PRESETS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["base", "nano"])
def test_every_experiment_can_be_trained_and_differs_from_the_preset(name):
    preset = TRAIN_PRESETS[name]()
    questions = experiments.ask(preset)
    known = experiments.named(questions)
    assert known["as-preset"] == preset
    assert len(set(map(repr, known.values()))) == len(known)
    for config in known.values():
        assert config.max_side < max(config.mix)
        assert sum(config.mix.values()) == pytest.approx(1.0)
        assert all(size % config.model.patch == 0 for size in config.mix)
        assert config.batch_cells >= max(config.mix) ** 2
        assert config.batch_cells / config.model.patch**2 == preset.batch_cells / preset.model.patch**2
    if name == "base":
        assert all(preset in answers.values() for answers in questions.values())
        assert len(known) == 14


def test_experiments_stop_go_on_and_end_with_a_table(tmp_path, capsys, monkeypatch):
    common = ["--toy", "--seconds", "2", "--only", "as-preset,tokens-1", "--device", "cpu"]
    common += [word for source in FILES for word in (f"--{source}", "none")]
    common += ["--held-out", "8", "--held-out-steps", "2", "--out", str(tmp_path)]
    experiments.collect("arc1-eval", max_side=7)  # compiles what would otherwise take the first piece

    assert experiments.main([*common, "--piece", "1"]) == 0
    paused = capsys.readouterr().out
    assert "the same command goes on" in paused
    assert (tmp_path / "as-preset" / "latest.pt").exists()
    assert not (tmp_path / "experiments.jsonl").exists()

    assert experiments.main([*common, "--piece", "200"]) == 0
    ended = capsys.readouterr().out
    reached = paused.split("step ")[-1].split()[0]
    assert f"as-preset: from step {reached}," in ended
    rows = [orjson.loads(line) for line in (tmp_path / "experiments.jsonl").read_bytes().splitlines()]
    assert [row["name"] for row in rows] == ["as-preset", "tokens-1"]
    assert all(row["seconds"] >= 2 and row["steps"] > 0 and row["loss"] > 0 for row in rows)
    scored = {orjson.loads(line)["task"] for line in (tmp_path / "tokens-1" / "held_out.jsonl").open("rb")}
    assert len(scored) == rows[1]["held_out_tasks"] > 0
    assert not (tmp_path / "as-preset" / "latest.pt").exists()
    table = ended[ended.index("supervision") :].splitlines()
    line = next(line for line in table if line.startswith("  1 "))
    assert line.split()[1] == f"{rows[1]['parameters']:,}"

    monkeypatch.setattr(experiments, "train", None)
    assert experiments.main([*common, "--piece", "200"]) == 0
    again = capsys.readouterr().out
    assert again[again.index("supervision") :].splitlines() == table
    assert experiments.main([*common, "--seed", "1"]) == 2
    assert "was begun with seed 0, not 1" in capsys.readouterr().err


def test_an_evaluation_stops_goes_on_and_ends_with_the_scores(tmp_path, capsys):
    common = ["eval", "arc1-eval", "--weights", "random:toy", "--steps", "1", "--views", "4", "--limit", "2"]
    common += ["--device", "cpu", "--workers", "1", "--run-dir", str(tmp_path / "run"), "--continue"]
    assert main([*common, "--piece", "0.5"]) == 1
    assert "no task was finished in this piece" in capsys.readouterr().out
    assert main([*common, "--piece", "300"]) == 0
    scores = capsys.readouterr().out
    assert "2 tasks," in scores
    assert "by canvas" in scores
    assert main([*common, "--piece", "0.5"]) == 0
    assert scores.endswith(capsys.readouterr().out)
    (tmp_path / "run" / "solutions.json").unlink()
    assert main([*common, "--steps", "2"]) == 2
    assert "was run with adapt.steps 1, not 2" in capsys.readouterr().err
    before = (tmp_path / "run" / "challenges.json").read_bytes()
    assert main([*common, "--limit", "1"]) == 2
    assert "was run on other tasks" in capsys.readouterr().err
    assert (tmp_path / "run" / "challenges.json").read_bytes() == before


def test_an_interrupted_evaluation_tells_how_far_it_is(tmp_path):
    (tmp_path / "challenges.json").write_bytes(orjson.dumps({task_id: {} for task_id in "abc"}))
    rows = [
        {"task": "a", "copy": 0, "canvas": 12, "adapt_seconds": 3.0, "predict_seconds": 1.0},
        {"task": "b", "copy": 0, "error": "no memory"},
    ]
    (tmp_path / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows) + b'{"task": "c')
    lines = standing(tmp_path).splitlines()
    assert lines[0].startswith("1 of 3 tasks answered, 1 failed")
    assert lines[2].split() == ["12", "1", "4.0"]
