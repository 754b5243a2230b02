"""Training: the batches, checkpoints that continue bit for bit, and bundles that load as they were saved."""

import itertools
import os
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.arc import datasets
from solver.arc.hashing import pair_hashes
from solver.learn.objective import backward, exact, sample_loss
from solver.model import MODELS, Network, Step
from solver.training import command
from solver.training.corpus import Corpus
from solver.training.files import FILES
from solver.training.loop import Limit, save, train
from solver.training.optimizer import rate_factor
from solver.training.parallel import World
from solver.training.presets import TRAIN_PRESETS, toy
from solver.training.pretrain import Trainer
from solver.training.sources import collect
from solver.weights import checkpoint

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
NOTHING: dict[str, Path | None] = {source: Path("none") for source in FILES}


@pytest.fixture(scope="module")
def sources():
    return collect(max_side=7)


def test_verify_finds_a_planted_overlap(tmp_path, sources):
    network = checkpoint.load("random:toy")
    data = datasets.load("arc1-eval")
    card = {"name": "planted"}
    clean = checkpoint.save_bundle(tmp_path, "clean", network, card, sources.hashes)
    assert checkpoint.overlaps(clean, data) == {}
    stolen = data.tasks[3]
    hashes = np.array(pair_hashes([stolen])[stolen.id], dtype=np.uint64)
    planted = checkpoint.save_bundle(tmp_path, "planted", network, card, np.concatenate([sources.hashes, hashes]))
    assert checkpoint.overlaps(planted, data)[stolen.id] == len(hashes)


def test_bundled_weights_load_and_never_saw_a_pair_they_are_scored_on():
    bundles = checkpoint.bundled()
    assert "nano" in [bundle.name for bundle in bundles]
    for bundle in bundles:
        network = checkpoint.load(bundle.name)
        assert sum(p.numel() for p in network.parameters()) == bundle.card["parameters"]
        assert len(checkpoint.load_hashes(bundle.hashes_path)) == bundle.card["pairs_trained_on"]
        assert checkpoint.overlaps(bundle, datasets.load(bundle.card["target"])) == {}
        train1 = datasets.load("arc1-train")
        assert set(datasets.held_out(train1)).isdisjoint(checkpoint.overlaps(bundle, train1))


def test_a_bundle_loads_as_it_was_saved_and_not_if_a_bit_flips(tmp_path, sources):
    network = checkpoint.load("random:toy", seed=3)
    bundle = checkpoint.save_bundle(tmp_path, "mine", network, {}, sources.hashes)
    again = checkpoint.load(str(bundle.path))
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    data = bytearray(bundle.path.read_bytes())
    data[-5] ^= 1
    bundle.path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="sha256"):
        checkpoint.load(str(bundle.path))
    with pytest.raises(ValueError, match="no bundled weights are called 'nothing'"):
        checkpoint.load("nothing")


def test_a_bundle_in_bf16_holds_the_rounded_weights_in_half_the_space(tmp_path, sources):
    network = Network(MODELS["base"], tasks=5)
    assert {TRAIN_PRESETS[name]().bundle_dtype for name in ("base", "base-arc2")} == {"bfloat16"}
    bundle = checkpoint.save_bundle(tmp_path, "half", network, {}, sources.hashes, torch.bfloat16)
    assert bundle.path.stat().st_size == bundle.card["bytes"] < 11e6
    assert bundle.card["stored_as"] == "bfloat16"
    expected = network.state_dict()
    expected["conditioning.tasks"] = expected["conditioning.tasks"].mean(0, keepdim=True)
    for name, value in checkpoint.load(str(bundle.path)).state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name].to(torch.bfloat16).float())


def test_a_training_may_begin_with_the_weights_of_a_bundle_and_owns_up_to_its_pairs(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(command, "collect", lambda *_, **__: sources)
    foreign = np.array([12345], dtype=np.uint64)
    start = checkpoint.save_bundle(tmp_path, "start", checkpoint.load("random:toy", seed=3), {}, foreign)
    trainer = Trainer(toy(), sources, CPU)
    trainer.start_from(start)
    for network in (trainer.network, trainer.average):
        for name, value in checkpoint.load(str(start.path)).state_dict().items():
            assert torch.equal(network.state_dict()[name], value.expand_as(network.state_dict()[name])), name
    shallow = checkpoint.save_bundle(tmp_path, "shallow", checkpoint.load("random:toy"), {"loops": 1}, foreign)
    trainer.start_from(shallow)  # trained with fewer loop steps than it has embeddings for
    with pytest.raises(ValueError, match="holds another model"):
        Trainer(replace(toy(), model=replace(toy().model, loops=3)), sources, CPU).start_from(start)

    def bundle(name, init, **how):
        return command.train_bundle(
            toy(),
            Limit(steps=2),
            tmp_path / name,
            resume=False,
            init=init,
            files=NOTHING,
            device="cpu",
            seed=0,
            log=lambda line: None,
            **how,
        )

    assert bundle("out", str(start.path), go_on=True, piece=0.0) is None  # paused, and resumed without the bundle
    card = bundle("out", None, go_on=True).card
    assert card["init"] == {"name": "start", "sha256": start.card["sha256"]}
    assert card["pairs_trained_on"] == len(np.unique(sources.hashes)) + 1
    stolen = np.array(pair_hashes(datasets.load("arc1-eval").tasks[:1])["00576224"], dtype=np.uint64)
    seeing = checkpoint.save_bundle(tmp_path, "seeing", checkpoint.load("random:toy"), {}, stolen)
    with pytest.raises(ValueError, match="was trained on pairs of 1 tasks of arc1-eval, 00576224"):
        bundle("other", str(seeing.path))


def test_the_same_command_begins_goes_on_and_ends(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(command, "collect", lambda *_, **__: sources)
    heard: list[str] = []

    def again(piece, steps=3):
        return command.train_bundle(
            toy(),
            Limit(steps=steps),
            tmp_path,
            resume=False,
            go_on=True,
            files=NOTHING,
            device="cpu",
            seed=0,
            piece=piece,
            log=heard.append,
        )

    assert again(0.0) is None
    assert "the same command continues" in heard[-1]
    bundle = again(None)
    assert [line for line in heard if line.startswith("resumed at step 0")]
    assert bundle.card["steps"] == 3
    assert command.log_table(bundle.card["log"]).splitlines()[-1].split()[0] == "3"
    monkeypatch.setattr(command, "train", None)
    assert again(None).card == bundle.card
    monkeypatch.undo()
    bundle.path.unlink()  # killed before the bundle was written
    assert again(None).card["sha256"] == bundle.card["sha256"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_training_shows_how_far_it_is_on_a_terminal_only(tmp_path, sources, monkeypatch, capsys, terminal):
    torch.set_num_threads(1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    trainer = Trainer(replace(toy(), batch_cells=256), sources, CPU)
    seconds = itertools.count(0.0, 3.0)
    assert train(trainer, Limit(steps=4), tmp_path, clock=lambda: next(seconds))
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()] == [["step", "4"]]
    shown = said.err.split("\r")[-1].strip()
    if terminal:
        assert re.fullmatch(r"toy +75% \|.*\| \S+ gone, \S+ left, loss \d+\.\d{3}, \d+ samples/s", shown)
    else:
        assert not shown


def test_a_warm_up_changes_nothing(sources):
    trainer, other = (Trainer(replace(toy(), batch_cells=256), sources, CPU, seed=1) for _ in range(2))
    trainer.warm_up()
    assert trainer.samples == trainer.step == 0
    assert torch.equal(trainer.train_step(0.5), other.train_step(0.5))
    for a, b in zip(trainer.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_batches_fit_their_canvas_and_favour_no_single_task(sources):
    corpus = Corpus(sources.pairs, (8,), CPU)
    drawn = corpus.draw(8, 5000, torch.Generator().manual_seed(0))
    assert int(sources.pairs.shapes[drawn.numpy()].max()) < 8
    share = np.bincount(sources.pairs.task[drawn.numpy()]).max() / 5000
    assert share < 0.05


def test_training_resumes_bit_for_bit(tmp_path, sources):
    torch.set_num_threads(1)
    config = replace(toy(), batch_cells=256, decay=0.5)
    whole = Trainer(config, sources, CPU, seed=1)
    assert train(whole, Limit(steps=12), tmp_path / "whole", log=lambda line: None)
    assert whole.rows[-1]["step"] == 12
    first = Trainer(config, sources, CPU, seed=1)
    for step in range(7):
        first.train_step(Limit(steps=12).progress(step, 0))
    save(first, tmp_path / "part.pt")
    second = Trainer(config, sources, CPU, seed=99)
    second.load_state(torch.load(tmp_path / "part.pt", weights_only=True))
    train(second, Limit(steps=12), tmp_path / "rest", log=lambda line: None)
    for a, b in zip(whole.state()["average"].values(), second.state()["average"].values(), strict=True):
        assert torch.equal(a, b)
    assert [piece["from_step"] for piece in second.pieces] == [0]
    third = Trainer(replace(config, lr=1e-4), sources, CPU)
    third.load_state(torch.load(tmp_path / "part.pt", weights_only=True))
    assert [(piece["from_step"], piece["lr"]) for piece in third.pieces] == [(0, config.lr), (7, 1e-4)]
    other = replace(config, model=replace(config.model, loops=3))
    with pytest.raises(ValueError, match="another model"):
        Trainer(other, sources, CPU).load_state(torch.load(tmp_path / "part.pt", weights_only=True))


@pytest.mark.parametrize("supervision", ["last", "all", "detached"])
def test_supervision_reaches_the_steps_it_should(supervision):
    leaves = [torch.zeros(1, 1, 4, 4, 12, requires_grad=True) for _ in range(3)]
    target = torch.randint(0, 12, (1, 1, 4, 4))
    loss, logits = backward((Step(leaf, None, ()) for leaf in leaves), 3, target, supervision)
    sizes = [0.0 if leaf.grad is None else float(leaf.grad.abs().sum()) for leaf in leaves]
    if supervision == "last":
        assert sizes[:2] == [0.0, 0.0]
        assert sizes[2] > 0
    else:
        assert sizes[1] == pytest.approx(2 * sizes[0], rel=1e-4)
        assert sizes[2] == pytest.approx(3 * sizes[0], rel=1e-4)
    assert torch.equal(loss, sample_loss(leaves[2], target).detach())
    assert not logits.requires_grad
    assert not exact(logits, target).any() or bool((target == 10).all())


def test_rates_rise_stay_and_fall():
    factors = [rate_factor(p / 100, warmup=0.1, decay=0.5) for p in range(101)]
    assert factors[0] < 0.02
    assert max(factors) == 1.0
    assert factors[30] == factors[49] == 1.0
    assert factors[75] == pytest.approx(0.5)
    assert factors[100] == 0.0


def test_presets_are_consistent():
    for name, preset in TRAIN_PRESETS.items():
        config = preset()
        assert config.name == name
        assert sum(config.mix.values()) == pytest.approx(1.0)
        assert config.max_side < max(config.mix)
        assert all(size % config.model.patch == 0 for size in config.mix)


def _gradients(trainer):
    """What one float32 step on the joint batch leaves, after averaging and clipping, by parameter name."""
    trainer.dtype = torch.float32
    trainer.train_step(trainer.world.agree(0.5 + trainer.world.rank))
    return {name: p.grad for name, p in trainer.network.named_parameters()}


def _one_of_two(rank, port, sources, path):
    os.environ.update(WORLD_SIZE="2", RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    trainer = Trainer(replace(toy(), batch_cells=512), sources, CPU, seed=1, world=World.join(CPU))
    gradients = _gradients(trainer)
    if trainer.world.leads:
        torch.save(gradients, path)


def test_two_processes_train_as_one_with_the_joint_batch(tmp_path, sources):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_one_of_two, args=(port, sources, tmp_path / "two.pt"), nprocs=2)
    alone = _gradients(Trainer(replace(toy(), batch_cells=512), sources, CPU, seed=1))
    together = torch.load(tmp_path / "two.pt", weights_only=True)
    assert set(alone) == set(together)
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, rtol=1e-3, atol=1e-6)
