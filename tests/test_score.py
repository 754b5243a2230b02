"""The score against a second formulation, with exact fractions over JSON texts, and by hand."""

import json
from fractions import Fraction

import numpy as np
import pytest

from submission.document import Document, read
from submission.score import score


def test_by_hand():
    a, b, c = (np.full((2, 2), color) for color in range(3))
    solutions = {"two": [a, b], "one": [c], "missing": [a], "short": [a, a, a, a]}
    attempts = {"two": [(a, b), (a, b)], "one": [(a, b)], "short": [(b, a)], "elsewhere": [(a, a)]}
    result = score(attempts, solutions)
    assert result.hits == {"two": [1, 2], "one": [0], "missing": [0], "short": [2, 0, 0, 0]}
    assert result.unscored == ["elsewhere"]
    assert result.task_mean == pytest.approx((1 + 0 + 0 + 1 / 4) / 4)
    assert result.first_attempt == pytest.approx((1 / 2) / 4)
    assert result.output_mean == pytest.approx(3 / 8)
    assert result.solved == pytest.approx(1 / 4)


def test_the_same_cells_in_another_shape_are_a_miss():
    row = np.array([[1, 1, 1, 1]], np.uint8)
    result = score({"a": [(row.T, row.reshape(2, 2))]}, {"a": [row]})
    assert result.hits == {"a": [0]}
    assert score({"a": [(row, row)]}, {"a": [row.astype(np.int64)]}).hits == {"a": [1]}


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_fractions_over_texts(seed, tmp_path):
    rng = np.random.default_rng(seed)

    def grid():
        return rng.integers(0, 2, rng.integers(1, 3, 2), dtype=np.uint8)

    solutions = {str(task): [grid() for _ in range(rng.integers(1, 4))] for task in range(40)}
    document = Document(tmp_path / "submission.json", solutions)
    for task_id, outputs in solutions.items():
        for index in range(len(outputs)):
            document.set(task_id, index, grid(), grid())
    document.write()
    result = score(read(document.path), solutions)

    submitted = json.loads(document.path.read_text())
    first, either = {}, {}
    for task_id, outputs in solutions.items():
        texts = [json.dumps(output.tolist()) for output in outputs]
        tried = [[json.dumps(answer[f"attempt_{k}"]) for k in (1, 2)] for answer in submitted[task_id]]
        first[task_id] = Fraction(sum(t[0] == text for t, text in zip(tried, texts, strict=True)), len(texts))
        either[task_id] = Fraction(sum(text in t for t, text in zip(tried, texts, strict=True)), len(texts))
    count = sum(map(len, solutions.values()))
    assert 0 < result.first_attempt < result.task_mean < 1
    assert result.task_mean == pytest.approx(float(sum(either.values()) / len(solutions)))
    assert result.first_attempt == pytest.approx(float(sum(first.values()) / len(solutions)))
    assert result.solved == pytest.approx(sum(share == 1 for share in either.values()) / len(solutions))
    hit = sum(share * len(solutions[task_id]) for task_id, share in either.items())
    assert result.output_mean == pytest.approx(float(hit / count))


def test_refuses_to_score_across_versions_of_the_data():
    a = np.zeros((1, 1), int)
    with pytest.raises(ValueError, match="task a has 2 answers but 1 solutions"):
        score({"a": [(a, a), (a, a)]}, {"a": [a]})
    with pytest.raises(ValueError, match="task a has no solution"):
        score({}, {"a": []})
    with pytest.raises(ValueError, match="no solutions"):
        score({}, {})
