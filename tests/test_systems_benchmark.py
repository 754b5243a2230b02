"""benchmarks/systems.py: trains in pieces that resume, scores with and without fine-tuning, and writes its table."""

import pytest
import systems


@pytest.mark.slow
def test_systems_are_trained_in_pieces_scored_and_tabled(tmp_path, capsys):
    arguments = ["--only", "trm-mlp-nano,ierm-nano", "--train", "3s", "--seconds", "1", "--limit", "2", "--views", "2"]
    arguments += ["--out", str(tmp_path)]
    for source in ("rearc", "conceptarc", "arcgen", "more"):
        arguments += [f"--{source}", "none"]
    assert systems.main([*arguments, "--piece", "1s"]) == 0
    assert "the same command continues" in capsys.readouterr().out
    assert not (tmp_path / "table.md").exists()
    assert systems.main(arguments) == 0
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert len(rows) == 2 + 4
    assert {row.split(" | ")[0].strip("| ") for row in rows[2:]} == {"trm-mlp-nano", "ierm-nano"}
    trained = (tmp_path / "ierm-nano" / "ierm-nano.safetensors").stat().st_mtime
    assert systems.main(arguments) == 0  # nothing is done again
    assert (tmp_path / "ierm-nano" / "ierm-nano.safetensors").stat().st_mtime == trained
    with pytest.raises(SystemExit) as wrong:
        systems.main([*arguments, "--only", "hrm"])
    assert wrong.value.code == 2
    assert "no system is called 'hrm'" in capsys.readouterr().err
