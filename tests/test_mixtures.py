"""benchmarks/mixtures.py: copies are made once and go on, and mixtures take what their budget has seconds for."""

import mixtures
import pytest
from mixtures import Copy, Kind, kept, taken


def test_a_mixture_takes_its_kinds_in_turn_until_its_budget_is_spent():
    first, second = [Copy(2.0, []) for _ in range(3)], [Copy(5.0, [])]
    turns = [first[0], second[0], first[1]]
    for budget, count in ((1, 0), (6, 1), (7, 2), (9.5, 3)):
        assert taken([first, second], budget) == turns[:count]
    assert taken([first, second], 1e9) == [*turns, first[2]]


@pytest.mark.slow
def test_copies_are_made_once_and_voted(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(mixtures.KINDS, "toy", Kind("random:toy", 2, recipe="optimizer=adamw"))
    command = ["--limit", "2", "--workers", "1", "--out", str(tmp_path), "--mix", "toy+nano-100", "--budgets", "0,900"]
    assert mixtures.main([*command, "--make", "toy:1"]) == 0
    assert mixtures.main([*command, "--make", "toy:2"]) == 0
    assert [sorted(copies) for copies in kept(tmp_path, "toy").values()] == [[0, 1], [0, 1]]
    assert len((tmp_path / "toy.jsonl").read_text().splitlines()) == 4
    assert mixtures.main([*command, "--mix", "toy:1"]) == 0
    *_, row, one = capsys.readouterr().out.splitlines()
    assert "0.0 copies" in row
    assert "2.0 copies" in row
    assert one.startswith("toy:1")
    assert "1.0 copies" in one
    assert mixtures.main(["--mix", "toy:some"]) == 2
    assert "write KIND:COUNT" in capsys.readouterr().err
    assert mixtures.main(["--mix", "tiny"]) == 2
    assert "no kind is called 'tiny'" in capsys.readouterr().err
