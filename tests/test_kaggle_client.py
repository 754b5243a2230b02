"""Kaggle's own client, from PyPI, reads what `tinyarc pack` writes: settings, notebook and commands. No network but for
its installation, once, into build/."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from solver.pack import pack, pack_training

pytestmark = pytest.mark.slow  # its installation is

CHECKOUT = Path(__file__).parents[1]
CLIENT = "kaggle==2.2.5"
"""It needs Python 3.11, and `six`, which it imports without naming it as a dependency."""


@pytest.fixture(scope="module")
def client():
    """The interpreter of an environment that has the client; skips where there is none and none can be made."""
    folder = CHECKOUT / "build" / CLIENT.replace("==", "-")
    interpreter, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT, "six"]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{CLIENT} cannot be installed here: {(done.stderr.splitlines() or ['pip said nothing'])[-1]}")
        ready.touch()
    return interpreter


def ask(client, packed, tmp_path):
    """What the client makes of a pack, run where every attempt to reach the network fails and is noted."""
    attempts = tmp_path / "network-attempts"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KAGGLE_CONFIG_DIR": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT / "kaggle" / "guard"),
        "TINYARC_GUARD_LOG": str(attempts),
    }
    script = CHECKOUT / "tests" / "inside_kaggle_client.py"
    commands = packed.kernel.with_name("commands.txt")
    command = [str(client), str(script), str(packed.dataset), str(packed.kernel), str(commands)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not attempts.exists(), attempts.read_text()
    return json.loads(done.stdout.splitlines()[-1])


def test_kaggles_own_client_takes_what_pack_writes(client, tmp_path):
    image = "registry.example/kaggle/python@sha256:" + "0f" * 32
    packed = pack("jane-doe", "titanic", tmp_path / "pack", "NvidiaTeslaT4", image=image, attach=["joe/weights"])
    answer = ask(client, packed, tmp_path)
    assert answer["said"] == ""  # it warns of a title that is not the id's, and of a retired accelerator
    kernel, *datasets = answer["sent"]
    wanted = {
        "slug": "jane-doe/tinyarc-arc-solver",
        "enable_gpu": True,
        "enable_internet": False,
        "is_private": True,
        "machine_shape": "NvidiaTeslaT4",
        "docker_image": image,
        "docker_image_pinning_type": "original",
        "dataset_data_sources": ["jane-doe/tinyarc-offline", "joe/weights"],
        "competition_data_sources": ["titanic"],
    }
    assert wanted.items() <= kernel.items()
    assert datasets[0]["slug"] == "tinyarc-offline"
    assert datasets[0]["is_private"] is True
    assert answer["uploaded"] == [str(packed.dataset)]


def test_kaggles_own_client_knows_the_commands_that_pack_prints(client, tmp_path):
    packed = pack("jane-doe", "titanic", tmp_path / "pack")
    commands = [line for line in packed.commands.splitlines() if line.startswith("kaggle ")]
    called = ask(client, packed, tmp_path)["parsed"]
    assert len(called) == len(commands)
    assert {"dataset_create_new_cli", "kernels_push_cli", "kernels_status_cli", "quota_view_cli"} <= set(called)


def test_kaggles_own_client_takes_the_training_pack(client, tmp_path):
    packed = pack_training("jane-doe", tmp_path / "pack", data=tmp_path, go_on=True)
    answer = ask(client, packed, tmp_path)
    assert answer["said"] == ""
    kernel, *datasets = answer["sent"]
    assert kernel["slug"] == "jane-doe/tinyarc-training"
    assert kernel["kernel_data_sources"] == ["jane-doe/tinyarc-training"]
    assert kernel["dataset_data_sources"] == ["jane-doe/tinyarc-training-data"]
    assert datasets[0]["slug"] == "tinyarc-training-data"
