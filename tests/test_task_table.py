"""The trained task tokens that go with a bundle: exact to bfloat16, strict to load, and a start for a training."""

import numpy as np
import pytest
import torch

from solver.model import MODELS, Network
from solver.training.presets import toy
from solver.training.pretrain import Trainer
from solver.training.sources import collect
from solver.weights import checkpoint

HASHES = np.array([3, 9], dtype=np.uint64)


def test_a_table_loads_as_it_was_saved_and_not_if_a_bit_flips(tmp_path):
    network = Network(MODELS["toy"], tasks=3)
    bundle = checkpoint.save_bundle(tmp_path, "with", network, {}, HASHES, tasks=["a", "b/c", "d"])
    loaded = checkpoint.load_table(str(bundle.path))
    assert loaded is not None
    ids, table = loaded
    assert ids == ["a", "b/c", "d"]
    assert torch.equal(table, network.conditioning.tasks.detach().to(torch.bfloat16).float())
    mean = checkpoint.load(str(bundle.path)).conditioning.tasks
    torch.testing.assert_close(mean, network.conditioning.tasks.mean(0, keepdim=True))
    assert checkpoint.whole(bundle.path) is not None
    data = bytearray(bundle.tasks_path.read_bytes())
    data[-1] ^= 1
    bundle.tasks_path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"with\.tasks\.safetensors: sha256 is"):
        checkpoint.load_table(str(bundle.path))
    bundle.tasks_path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoint.load_table(str(bundle.path))
    assert checkpoint.whole(bundle.path) is None


def test_a_table_in_the_package_is_no_bundle(tmp_path, monkeypatch):
    network = Network(MODELS["toy"], tasks=2)
    checkpoint.save_bundle(tmp_path, "with", network, {}, HASHES, tasks=["a", "b"])
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path)
    assert [bundle.name for bundle in checkpoint.bundled()] == ["with"]
    with pytest.raises(ValueError, match="there are: with, random:SIZE"):
        checkpoint.find("without")


def test_a_bundle_may_be_without_a_table_and_a_card_cannot_drop_it_unseen(tmp_path):
    network = Network(MODELS["toy"], tasks=2)
    plain = checkpoint.save_bundle(tmp_path, "plain", network, {}, HASHES)
    assert checkpoint.load_table(str(plain.path)) is None
    assert (bundled := checkpoint.load_table("nano")) is None or len(bundled[0]) > 0
    bundle = checkpoint.save_bundle(tmp_path, "with", network, {}, HASHES, tasks=["a", "b"])
    card = bundle.path.with_suffix(".json")
    card.write_text(card.read_text().replace("tasks_sha256", "tasks_sha257"))
    with pytest.raises(ValueError, match="do not match its seal"):
        checkpoint.load_table(str(bundle.path))


@pytest.mark.slow
def test_further_training_begins_with_the_tokens_of_known_tasks_and_the_mean_for_others(tmp_path):
    sources = collect(max_side=4)
    trainer = Trainer(toy(), sources, torch.device("cpu"))
    names = [str(name) for name in sources.pairs.ids]
    assert len(names) > 2
    network = Network(MODELS["toy"], tasks=2)
    start = checkpoint.save_bundle(tmp_path, "start", network, {}, HASHES, tasks=[names[1], "unheard of"])
    trainer.start_from(start)
    rows = trainer.network.conditioning.tasks.detach()
    known = network.conditioning.tasks.detach()
    assert torch.equal(rows[1], known[0].to(torch.bfloat16).float())
    torch.testing.assert_close(rows[0], known.mean(0))
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows, trainer.average.conditioning.tasks)
