"""Files that a kill may interrupt: a bundle in four of them, and JSON lines half of whose last one is there."""

from pathlib import Path

import pytest

from solver.arc import hashing
from solver.run.log import append_row, read_log
from solver.training import command
from solver.training.files import FILES
from solver.training.loop import Limit
from solver.training.presets import toy
from solver.training.sources import collect
from solver.weights import checkpoint
from submission.files import write_whole
from voting import append_lines, read_lines


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_kill_between_the_files_of_a_bundle_does_not_block_the_same_command(tmp_path, monkeypatch, written):
    """A bundle of 2 steps is there; the kill comes when so many of the four files of one of 3 steps are written."""
    sources = collect(max_side=4)
    monkeypatch.setattr(command, "collect", lambda *_, **__: sources)
    files: list[Path] = []

    def killed(path, content):
        if len(files) == written:
            raise KeyboardInterrupt
        files.append(path)
        write_whole(path, content)

    def again(steps):
        return command.train_bundle(
            toy(),
            Limit(steps=steps),
            tmp_path,
            resume=False,
            go_on=True,
            files={source: Path("none") for source in FILES},
            device="cpu",
            seed=0,
            log=lambda line: None,
        )

    assert again(2).card["steps"] == 2
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_whole", killed)
        patch.setattr(hashing, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            again(3)
    bundle = again(3)
    assert bundle.card["steps"] == 3
    whole = checkpoint.whole(bundle.path)
    assert whole is not None
    assert whole.card == bundle.card


def test_half_a_line_is_skipped_and_cut_off_and_a_whole_one_without_its_line_break_counts(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [{"task": "a", "copy": 0, "error": "x"}, {"task": "b", "copy": 1, "steps": 3}]
    append_lines(path, rows)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(first + 1, len(content)):
        path.write_bytes(content[:cut])
        kept = rows if cut == len(content) - 1 else rows[:1]
        assert read_log(path) == kept
        append_row(path, {"task": "c", "copy": 0})
        assert [value for _, value in read_lines(path)] == [*kept, {"task": "c", "copy": 0}]
    for line in (b"[]\n", b'{"task": "a"}\n', b'{"task": 1, "copy": 0}\n', b'{"task": "a", "copy": true}\n', b"{\n"):
        path.write_bytes(content + line + content)
        with pytest.raises(ValueError, match=r"log\.jsonl, line 3: "):
            read_log(path)
