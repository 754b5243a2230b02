"""Tasks in the terminal and as SVG."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from fake_run import small_tasks, write_run

from solver.arc.tasks import Pair, Task
from solver.results import show
from solver.run.read import read_run


def small_exhibit():
    grid = np.array([[0, 1], [2, 3]], np.uint8)
    task = Task("<b>&\x1b", (Pair(grid, 9 - grid),) * 3, (grid, grid))
    return show.Exhibit(task, [(grid, grid + 1), (grid + 5, grid)], [grid, grid])


def test_the_terminal_without_colors():
    lines = show.text(small_exhibit(), width=60, colors="none").splitlines()
    assert lines[0] == "<b>&\N{REPLACEMENT CHARACTER}"
    assert [line.rstrip() for line in lines[2:5]] == [
        "1 in 2×2   out 2×2   2 in 2×2   out 2×2   3 in 2×2   out 2×2",
        ". 1        9 8       . 1        9 8       . 1        9 8",
        "2 3        7 6       2 3        7 6       2 3        7 6",
    ]
    assert lines[-3].rstrip() == "test 2 2×2   attempt 1 ✗ 2×2   attempt 2 ✓ 2×2   truth 2×2"
    assert max(map(len, lines)) == 60
    narrow = show.text(small_exhibit(), width=59, colors="none").splitlines()
    assert narrow[2].rstrip() == "1 in 2×2   out 2×2   2 in 2×2   out 2×2"
    assert narrow[6].rstrip() == "3 in 2×2   out 2×2"


@pytest.mark.parametrize(("colors", "red"), [("full", "48;2;255;65;54"), ("256", "48;5;203")])
def test_the_terminal_in_colors(colors, red):
    found = show.text(small_exhibit(), width=30, colors=colors, symbols=True)
    assert f"\x1b[{red}m" in found
    plain = re.sub(r"\x1b\[[0-9;]*m", "", found)
    assert max(map(len, plain.splitlines())) <= 30
    assert " 2 3" in plain
    assert all(line.count("\x1b[48") == 0 or "\x1b[0m" in line for line in found.splitlines())
    with pytest.raises(ValueError, match="'many'"):
        show.text(small_exhibit(), colors="many")


def test_the_svg_is_well_formed_and_holds_the_cells():
    root = ET.fromstring(show.svg(small_exhibit(), cell=10))
    space = "{http://www.w3.org/2000/svg}"
    title = root.find(f"{space}title")
    assert title is not None
    assert title.text == "ARC task <b>&\N{REPLACEMENT CHARACTER}"
    rectangles = root.findall(f".//{space}g/{space}rect")
    assert len(rectangles) == 4 * (6 + 8)
    assert {r.get("fill") for r in rectangles} <= set(show.PALETTE)


@pytest.mark.slow
def test_tasks_are_found_by_run_file_and_name(tmp_path):
    tasks, solutions = small_tasks(3)
    run = read_run(write_run(tmp_path / "run", tasks, solutions, ["hit", "near", "missed"]))
    name = list(run.tasks)[0]
    exhibit = show.from_run(run, name)
    assert exhibit.attempts is run.attempts[name]
    assert len(show.find(str(run.directory / "challenges.json"))) == 3
    truth = show.find(name)[0].truth
    assert truth is not None
    assert exhibit.truth is not None
    assert np.array_equal(truth[0], exhibit.truth[0])
    with pytest.raises(ValueError, match="neither a file nor a task"):
        show.find("nothing")
    with pytest.raises(ValueError, match="has no task 'nothing'"):
        show.from_run(run, "nothing")
