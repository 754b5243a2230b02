"""The wheel, installed where there is no checkout: what a user of the package gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from solver.wheels import build_wheel

CHECKOUT = Path(__file__).parents[1]
TASK = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]]}]}


@pytest.fixture(scope="module")
def tinyarc(tmp_path_factory):
    """Runs a command of the installed package in an empty folder, which it is told; the checkout is not on the path."""
    root = tmp_path_factory.mktemp("wheel")
    wheel, site, folder = build_wheel(CHECKOUT, root), root / "site", root / "empty"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    folder.mkdir()
    (folder / "challenges.json").write_text(json.dumps({"00000000": TASK}))
    (folder / "solutions.json").write_text(json.dumps({"00000000": [[[4, 3]]]}))
    # An isolated interpreter takes nothing from the folder or PYTHONPATH; the path finder of an editable install of
    # the checkout is asked after `site`.
    start = f"import sys; sys.path.insert(0, {str(site)!r}); import solver.cli; "
    start += f"assert solver.__file__.startswith({str(site)!r}), solver.__file__; sys.exit(solver.cli.main())"

    def run(*arguments, code=0):
        command = [sys.executable, "-I", "-c", start, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run, folder


@pytest.mark.slow
def test_the_wheel_alone_solves_scores_lists_weights_shows_and_reports(tinyarc):
    pytest.importorskip("jinja2", reason="the report needs it")
    run, folder = tinyarc
    where = ["--steps", "2", "--views", "8", "--device", "cpu", "--workers", "1"]
    assert "1 tasks, run folder" in run("solve", "challenges.json", "--out", "out.json", "--run-dir", "run", *where)
    assert "attempt@2 score" in run("score", "out.json", "solutions.json")
    assert run("weights").startswith("nano: ")
    assert "test 1×2" in run("show", "challenges.json")
    assert run("report", "run").strip() == str(Path("run", "report.html"))
    assert "00000000" in (folder / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pack_says_in_one_line_what_it_needs(tinyarc):
    said = tinyarc[0]("pack", "--user", "someone", code=2).strip()
    assert "\n" not in said
    assert "checkout" in said
