"""The program in docs/library.md runs as it stands, but for the weights and the time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from solver.arc import datasets
from solver.arc.tasks import challenge_json, load_challenges
from submission.validate import check

ROOT = Path(__file__).parents[1]
CHANGES = {'"nano"': '"random:toy"', "budget=60.0": "budget=12.0"}


@pytest.mark.slow
def test_the_documented_program_prints_two_attempts_for_every_test_input(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    assert 8 <= len([line for line in program.splitlines() if line.strip()]) <= 10
    for before, after in CHANGES.items():
        assert program.count(before) == 1
        program = program.replace(before, after)
    tasks = datasets.demo_tasks(datasets.load("arc1-eval"), 2, largest_side=6)
    (tmp_path / "challenges.json").write_text(json.dumps(challenge_json(tasks)))
    (tmp_path / "mine.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    printed = [line.split(" ", 1)[0] for line in done.stdout.splitlines()]
    assert printed == [task.id for task in tasks for _ in task.test_inputs]
    check(tmp_path / "runs" / "mine" / "submission.json", load_challenges(tmp_path / "challenges.json").test_inputs)
