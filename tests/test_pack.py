"""The pack's metadata, wheel and lock. A whole run is test_rehearse's."""

import hashlib
import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import pytest

from solver import pack as packing
from solver.kaggle_metadata import check_dataset, check_kernel, slugify
from solver.kaggle_metadata import metadata as kaggle_metadata
from solver.pack import Training, pack, pack_training
from solver.wheels import served, wheelhouse

CHECKOUT = Path(__file__).parents[1]
SOLVE = CHECKOUT / "kaggle" / "solve"


def metadata(user, competition="titanic", machine="NvidiaL4", **attached):
    return kaggle_metadata(SOLVE, user, competition=competition, machine=machine, **attached)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack("jane-doe", "arc-prize-2026-arc-agi-2", tmp_path_factory.mktemp("packed") / "kaggle")


@pytest.mark.slow
def test_a_pack_holds_what_an_upload_needs(packed):
    assert packed.wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(packed.wheel) as archive:
        names = set(archive.namelist())
    weights = {path.name for path in (CHECKOUT / "solver" / "weights").iterdir() if path.suffix != ".pyc"}
    assert {f"solver/weights/{name}" for name in weights - {"__pycache__"}} <= names
    assert not any(name.startswith(("kaggle", "tests", "build")) for name in names)
    assert {name.rsplit("/")[-1] for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-MIT-0"}

    sums = dict(line.split("  ")[::-1] for line in (packed.dataset / "SHA256SUMS").read_text().splitlines())
    uploaded = {path.name for path in packed.dataset.iterdir()} - {"SHA256SUMS", "dataset-metadata.json"}
    assert set(sums) == uploaded
    assert sums[packed.wheel.name] == hashlib.sha256(packed.wheel.read_bytes()).hexdigest()

    kernel = json.loads((packed.kernel / "kernel-metadata.json").read_text())
    assert kernel["dataset_sources"] == [json.loads((packed.dataset / "dataset-metadata.json").read_text())["id"]]
    assert (packed.kernel / kernel["code_file"]).is_file()
    assert "USER" not in json.dumps(kernel)
    assert packed.pythons == ("3.10", "3.11", "3.12", "3.13", "3.14")
    assert "Pythons served: 3.10, 3.11, 3.12, 3.13, 3.14" in packed.commands
    assert f"--accelerator {kernel['machine_shape']}\n" in packed.commands
    assert f"-k {kernel['id']} -v VERSION -f submission.json" in packed.commands


@pytest.mark.slow
def test_packing_again_replaces_the_pack_with_the_same_bytes_and_nothing_else(packed):
    before = packed.wheel.read_bytes()
    stray = packed.dataset.parent / "thesis.tex"
    stray.touch()
    with pytest.raises(ValueError, match=r"holds thesis\.tex"):
        pack("jane-doe", "titanic", stray.parent)
    stray.unlink()
    assert pack("jane-doe", "titanic", stray.parent).wheel.read_bytes() == before


def test_an_installed_copy_says_that_packing_needs_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHECKOUT", tmp_path)
    with pytest.raises(ValueError, match=r"needs a checkout.*no pyproject\.toml"):
        pack("jane-doe", "titanic", tmp_path / "out")


@pytest.mark.parametrize(
    ("user", "competition", "machine", "message"),
    [
        ("Jane Doe", "titanic", "NvidiaL4", "no Kaggle user name"),
        ("", "titanic", "NvidiaL4", "no Kaggle user name"),
        ("jane", "arc prize", "NvidiaL4", "no competition name"),
        ("jane", "titanic", "L4", "no machine"),
    ],
)
def test_names_are_checked(user, competition, machine, message):
    with pytest.raises(ValueError, match=message):
        metadata(user, competition, machine)


@pytest.mark.slow
def test_a_training_pack_has_the_data_and_the_settings(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "conceptarc.json").write_text("{}")
    training = Training("nano", budget="90m", session="9h")
    made = pack_training("jane", tmp_path / "pack", training=training, data=data, go_on=True)
    uploaded = {line.split("  ")[1] for line in (made.dataset / "SHA256SUMS").read_text().splitlines()}
    arc = {"arcagi_aa922be.json", "arcagi2_f3283f7.json"}
    assert uploaded == arc | {"conceptarc.json", "NOTICES.txt", made.wheel.name}
    cells = {
        cell["id"]: "".join(cell["source"])
        for cell in json.loads((made.kernel / "notebook.ipynb").read_text())["cells"]
    }
    settings: dict[str, Any] = {}
    exec(cells["settings"], settings)
    assert [settings[name] for name in ("PRESET", "BUDGET", "SESSION", "SCORE")] == ["nano", "90m", "9h", "20m"]
    kernel = json.loads((made.kernel / "kernel-metadata.json").read_text())
    assert kernel["kernel_sources"] == [kernel["id"]]
    assert f"--go-on --user jane --out {tmp_path / 'pack'} --preset nano --budget 90m --session 9h" in made.commands
    with pytest.raises(ValueError, match="no preset is called 'giant'"):
        pack_training("jane", tmp_path / "pack", training=Training("giant"))
    with pytest.raises(ValueError, match="no room for scoring"):
        pack_training("jane", tmp_path / "pack", training=Training(session="10m"))


def test_an_image_is_pinned_by_its_digest_and_datasets_are_attached():
    image = "registry.example/kaggle/python@sha256:" + "0f" * 32
    dataset, kernel = metadata("jane", image=image, datasets=["joe/weights"], notebooks=["joe/solver"])
    assert kernel["docker_image"] == image
    assert kernel["docker_image_pinning_type"] == "original"
    assert kernel["dataset_sources"] == [dataset["id"], "joe/weights"]
    assert kernel["kernel_sources"] == ["joe/solver"]
    with pytest.raises(ValueError, match="must be NAME@sha256:DIGEST"):
        metadata("jane", image="registry.example/kaggle/python:latest")


def test_the_pythons_that_wheels_serve():
    wheels = ["tinyarc-1-py3-none-any.whl"]
    assert served(wheels) == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    wheels += [f"my_lib-1.0-cp{python}-cp{python}-manylinux2014_x86_64.whl" for python in ("312", "313")]
    assert served(wheels) == ["3.12", "3.13"]
    assert served([*wheels, "stable-2-cp313-abi3-manylinux2014_x86_64.whl"]) == ["3.13"]
    assert served([*wheels, "stable-2-1-py2.py3-none-any.whl"]) == ["3.12", "3.13"]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("dataset", {"title": "tinyarc"}, "makes the slug 'tinyarc'"),
        ("dataset", {"title": "short", "id": "jane/short"}, "slug 'short'"),
        ("dataset", {"title": "x" * 51, "id": "jane/" + "x" * 51}, "51 characters"),
        ("dataset", {"licenses": []}, "exactly one"),
        ("dataset", {"licenses": [{"name": "other"}, {"name": "CC0-1.0"}]}, "exactly one"),
        ("dataset", {"subtitle": "too short"}, "subtitle"),
        ("kernel", {"id": "jane"}, "USER/SLUG"),
        ("kernel", {"title": "Another name"}, "makes the slug 'another-name'"),
        ("kernel", {"enable_internet": True}, "enable_internet is True"),
        ("kernel", {"enable_gpu": "true"}, "enable_gpu is 'true'"),
        ("kernel", {"machine_shape": ""}, "machine_shape"),
        ("kernel", {"dataset_sources": ["tinyarc-offline"]}, "attached dataset"),
        ("kernel", {"docker_image_pinning_type": "newest"}, "original or latest"),
    ],
)
def test_what_kaggle_would_refuse_is_refused(part, change, message):
    dataset, kernel = metadata("jane")
    with pytest.raises(ValueError, match=message):
        check_dataset(dataset | change) if part == "dataset" else check_kernel(kernel | change)


def test_slugs_are_made_like_kaggles():
    assert slugify("Tiny ARC: 7M parameters (v2)!") == "tiny-arc-7m-parameters-v2"


def test_the_wheelhouse_must_match_its_lock(tmp_path):
    lock = runpy.run_path(str(CHECKOUT / "offline_wheels" / "fill.py"))["lock"]
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for python in ("312", "313"):
        (wheels / f"my_lib-1.0-cp{python}-cp{python}-manylinux2014_x86_64.whl").write_text(python)
    names = sorted(wheels.iterdir())
    (tmp_path / "requirements.lock").write_text(text := lock(names))
    assert "my-lib==1.0 \\\n    --hash=sha256:" in text
    assert wheelhouse(tmp_path) == names
    names[0].write_text("another")
    with pytest.raises(ValueError, match=r"cp312.*is not in"):
        wheelhouse(tmp_path)
    names[0].unlink()
    with pytest.raises(ValueError, match="lacks 1 of the locked wheels"):
        wheelhouse(tmp_path)
    (wheels / "my_lib-2.0-py3-none-any.whl").touch()
    with pytest.raises(ValueError, match="my-lib: versions"):
        lock(sorted(wheels.iterdir()))
