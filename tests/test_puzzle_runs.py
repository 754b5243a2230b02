"""Puzzles as a command: systems on them, a training of some seconds, what it leaves behind, and bad use."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import puzzles as benchmark
import pytest
import torch

from solver.cli import main
from solver.learn.canvas import cell_log_probs, decode, pack, random_placement, render
from solver.model import MODELS, Network
from solver.results.puzzles.trained import draw_pictures, run_puzzle
from solver.training.loop import Limit
from solver.training.puzzles import sudoku
from solver.training.puzzles.answering import Answering, Voting
from solver.training.puzzles.catalogue import FEW_SHOT, PUZZLES, puzzle
from solver.training.puzzles.learning import SYSTEMS, config_for, learn
from solver.weights import checkpoint
from tta import random_views, transform, view_size

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PUZZLES if name != "rubik2"])  # which needs all of its states
def test_every_system_fits_a_puzzle(name):
    asked = puzzle(name)
    made = asked.make(4, np.random.default_rng(0), "test")
    assert asked.canvas > max(made.inputs.shape[1:])
    for system in SYSTEMS:
        config = config_for(asked, system)
        assert max(made.inputs.max(), made.targets.max()) < config.model.vocabulary == asked.vocabulary
        assert list(config.mix) == [asked.canvas]
        assert asked.canvas % config.model.patch == 0


def test_signs_beyond_the_colors_are_placed_and_read_back_and_no_view_changes_them():
    generator = torch.Generator().manual_seed(0)
    signs = np.array([[3, 12, 16], [14, 0, 9]], dtype=np.uint8)
    views = random_views(16, generator)
    height, width = view_size(views.elements, torch.full((16,), 2), torch.full((16,), 3))
    place = random_placement(height, width, 8, generator)
    canvas = render(pack([signs]), torch.zeros(16, dtype=torch.int64), views, place, 8)
    logs = torch.nn.functional.one_hot(canvas, 17).float().clamp(min=1e-6).log()
    read = decode(cell_log_probs(logs, place))
    assert read.valid.all()
    for i in range(16):
        grid = read.grid(i)
        expected = transform(torch.from_numpy(signs), int(views.elements[i])).numpy()
        np.testing.assert_array_equal(np.where(grid < 10, 0, grid), np.where(expected < 10, 0, expected))


def test_a_network_has_the_vocabulary_it_is_asked_for_and_a_card_without_one_means_twelve():
    assert MODELS["toy"].vocabulary == 12
    network = Network(replace(MODELS["toy"], patch=2, vocabulary=17))
    zero = torch.zeros(1, 1, dtype=torch.int64)
    canvas = torch.full((1, 1, 8, 8), 16)
    *_, logits = network(canvas, zero, zero, torch.arange(10).view(1, 1, 10))
    assert logits.shape == (1, 1, 8, 8, 17)
    with pytest.raises(ValueError, match="vocabulary 11"):
        replace(MODELS["toy"], vocabulary=11)


def test_a_toy_learns_sudoku4_and_its_folder_says_how(tmp_path):
    torch.set_num_threads(1)
    said: list[str] = []
    limit = Limit(steps=80)
    outcome = run_puzzle(puzzle("sudoku4"), "toy", limit, tmp_path, CPU, tested=60, amount=3000, say=said.append)
    assert outcome is not None
    record = orjson.loads((tmp_path / "puzzle.json").read_bytes())
    rows = record["training"]
    assert rows[-1]["loss"] < 3.0
    assert outcome.samples == record["outcome"]["samples"] == 80 * puzzle("sudoku4").batch
    assert outcome.tested == 60
    estimate = outcome.marks["valid"]
    assert estimate.low <= estimate.value <= estimate.high
    assert len(outcome.steps) == 2
    assert outcome.steps[-1] == round(estimate.value, 4)
    assert checkpoint.load(str(tmp_path / "sudoku4-toy.safetensors")).config.patch == puzzle("sudoku4").patch == 2
    for name in ("answers.svg", "solving.svg"):
        texts = [node.text for node in ElementTree.parse(tmp_path / name).iter() if node.tag.endswith("text")]
        assert texts.count("4") > 4
    assert "loop step 2 of 2" in texts
    trainer, _ = learn(
        puzzle("sudoku4"), "toy", Limit(steps=80), tmp_path / "training", CPU, amount=3000, say=said.append
    )
    assert trainer.step == 80  # it was trained to the end, and is not trained again
    answering = Answering(trainer.average, 6, CPU, torch.float32, trainer.corpus.table)
    inputs = puzzle("sudoku4").draw(9, "test").inputs
    np.testing.assert_array_equal(answering.steps(inputs)[0], replace(answering, loops=1)(inputs))


def test_a_question_is_judged_by_its_own_kind_and_tasks_are_none_for_these_weights(tmp_path, capsys):
    asked = puzzle("arithmetic")
    outcome = run_puzzle(asked, "toy", Limit(steps=2), tmp_path, CPU, tested=1, amount=200, say=print)
    assert outcome is not None
    assert len(outcome.marks) == 1
    assert len(outcome.steps) == 2
    source = tmp_path / "challenges.json"
    source.write_text('{"a": {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[1]]}]}}')
    solve = ["solve", str(source), "--weights", str(tmp_path / "arithmetic-toy.safetensors"), "--steps", "1"]
    assert main([*solve, "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("its cells hold 17 tokens, of a puzzle and not of ARC tasks")
    assert not (tmp_path / "run" / "submission.json").exists()


def test_what_is_nearly_right_is_said_to_be_wrong(tmp_path):
    torch.set_num_threads(1)
    test = puzzle("sudoku9").draw(2, "test")
    answers = test.targets.copy()
    answers[1, 0, 0] = answers[1, 0, 0] % 9 + 1
    marks = puzzle("sudoku9").marks(test, lambda _: answers)
    assert {name: values.tolist() for name, values in marks.items()} == {
        "exact": [True, False],
        "nearly": [True, True],
    }
    draw_pictures(puzzle("sudoku9"), test, marks, answers[None], "loop step", tmp_path)
    texts = [node.text for node in ElementTree.parse(tmp_path / "answers.svg").iter() if node.tag.endswith("text")]
    assert (texts.count("right"), texts.count("wrong")) == (1, 1)


def test_without_a_puzzle_to_be_judged_nothing_is_trained(tmp_path):
    with pytest.raises(ValueError, match="rubik2: what is asked for leaves no puzzle for the"):
        run_puzzle(puzzle("rubik2", moves=1), "toy", Limit(steps=1), tmp_path, CPU)


def test_views_vote_on_a_puzzle_and_their_answers_are_brought_back():
    test = puzzle("sudoku4").draw(40, "test")
    full = sudoku.all_of_four()

    class Solver:
        """Right but for puzzles whose first cell is empty, where it is unsure and says 1 everywhere."""

        def sure(self, inputs):
            fits = ((inputs[:, None] == 0) | (inputs[:, None] == full)).all((2, 3))
            answers, lost = full[fits.argmax(1)], inputs[:, 0, 0] == 0
            return np.where(lost[:, None, None], np.uint8(1), answers), np.where(lost, -9.0, -0.1)

    solver: Any = Solver()
    alone = solver.sure(test.inputs)[0]
    wrong = (alone != test.targets).any((1, 2))
    assert 0 < wrong.sum() < 40
    corner = (test.inputs[:, [0, 0, 3, 3], [0, 3, 0, 3]] > 0).any(1)
    assert wrong[corner].any()
    for digits in (0, 4):
        voted = Voting(solver, turns=True, digits=digits)(test.inputs)
        right = (voted == test.targets).all((1, 2))
        np.testing.assert_array_equal(right, corner)  # a view in which the first cell is given is enough


@pytest.mark.slow
def test_the_benchmark_trains_judges_and_goes_on(tmp_path, capsys):
    torch.set_num_threads(1)
    command = ["--only", "sudoku4", "--systems", "toy", "--budget", "2s", "--examples", "500", "--test", "20"]
    assert benchmark.main([*command, "--out", str(tmp_path)]) == 0
    first = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert first.startswith("| sudoku4 | toy | ")
    assert benchmark.main([*command, "--out", str(tmp_path)]) == 0  # nothing is left to be done
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == first
    assert first in (tmp_path / "table.md").read_text()
    assert benchmark.main(["--only", "sudoku5", "--out", str(tmp_path)]) == 2
    assert "no puzzle is called 'sudoku5'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["soduko"], "no puzzle is called 'soduko'; there are sudoku4, sudoku9"),
        (["maze", "--system", "mamba"], "no system is called 'mamba'; choose from toy, nano"),
        (["maze", "--size", "31"], "--size 31: a maze has 6 to 30 cells a side"),
        (["sudoku4", "--moves", "3"], "--moves is not for sudoku4"),
        (["life", "--system", "nano"], "--system is not for life"),
        (["life", "--size", "0"], "--size is not for life"),
        (["maze", "--weights", "nano"], "--weights is for few-shot puzzles"),
        (["maze", "--test", "0"], "--test 0: must be at least 1"),
        (["maze", "--seed", "-1"], "--seed -1: must be at least 0"),
        (["maze", "--budget", "0"], "--budget 0: there is nothing to be done"),
        (["arithmetic", "--digits", "0"], "--digits 0: numbers have 1 to 9 digits"),
        (["heat", "--test", "752"], "--test 752: heat spreads at 751 different speeds"),
        (["heat", "--processor-time"], "--processor-time is not for heat"),
    ],
)
def test_bad_use_is_one_line_and_code_2(arguments, says, capsys, tmp_path):
    assert main(["puzzle", *arguments, "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_puzzles_are_listed(capsys):
    assert main(["puzzle"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (*PUZZLES, *FEW_SHOT, *SYSTEMS))


@pytest.mark.slow
def test_life_is_solved_as_a_run(tmp_path, capsys):
    command = ["puzzle", "life", "--weights", "random:toy", "--test", "2", "--steps", "2", "--workers", "1"]
    assert main([*command, "--run-dir", str(tmp_path / "run")]) == 0
    assert "2 tasks of life, seed 0" in capsys.readouterr().out
    assert (tmp_path / "run" / "submission.json").is_file()
    assert len(orjson.loads((tmp_path / "run" / "solutions.json").read_bytes())) == 2
