"""Bundled weights: `NAME.safetensors` with a card `NAME.json` and the hashes of all pairs trained on,
`NAME.hashes.npy`; where they are kept, the trained tokens of every task, `NAME.tasks.safetensors`.

Loading is strict and checks the checksums; nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from solver.arc import datasets
from solver.arc.hashing import load_hashes, pair_hashes, save_hashes
from solver.model import MODELS, ModelConfig, Network
from solver.model.config import LEAST_VOCABULARY
from submission.files import write_whole

BUNDLED = Path(__file__).parent
# What a card must say, and what its `seal` covers; the rest of a card is for readers and may be added to later.
NEEDED = {"sha256": str, "model": dict, "parameters": int, "bytes": int, "pairs_trained_on": int}
SEALED = (*NEEDED, "hashes_sha256", "tasks_sha256")
TASKS = ".tasks"
"""What the stem of the file of task tokens ends in; such a file is no bundle."""


@dataclass(frozen=True)
class Bundle:
    """`path` of the weights and the `card` beside them, a plain dictionary."""

    path: Path
    card: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def hashes_path(self) -> Path:
        return self.path.with_name(self.name + ".hashes.npy")

    @property
    def tasks_path(self) -> Path:
        return self.path.with_name(self.name + TASKS + ".safetensors")


def bundled() -> list[Bundle]:
    """Every bundle inside the package, by name."""
    return [find(name) for name in _names()]


def _names() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.safetensors") if not path.stem.endswith(TASKS))


def find(weights: str) -> Bundle:
    """The bundle with this name, or the one whose .safetensors file is given.

    ValueError if there is none, or if its card is no card or does not match its own seal.
    """
    path = Path(weights)
    if path.suffix != ".safetensors":
        path = BUNDLED / f"{weights}.safetensors"
        if not path.is_file():
            names = ", ".join(_names()) or "none"
            raise ValueError(f"no bundled weights are called {weights!r}; there are: {names}, random:SIZE")
    card_path = path.with_suffix(".json")
    try:
        card = orjson.loads(card_path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{card_path}: the card of these weights cannot be read: {error}") from None
    if not isinstance(card, dict) or any(type(card.get(key)) is not kind for key, kind in NEEDED.items()):
        raise ValueError(f"{card_path}: is not a card of weights, which has {', '.join(sorted(NEEDED))}")
    if "seal" in card and card["seal"] != seal(card):
        raise ValueError(f"{card_path}: the card was altered: {', '.join(SEALED)} do not match its seal")
    return Bundle(path, card)


def seal(card: dict[str, Any]) -> str:
    """The sha256 (hex) of the entries of a card that loading relies on. Cards written before there were seals have
    none, and are taken as they are."""
    known = {key: card[key] for key in SEALED if key in card}
    return hashlib.sha256(orjson.dumps(known, option=orjson.OPT_SORT_KEYS)).hexdigest()


def save_bundle(
    directory: Path,
    name: str,
    network: Network,
    card: dict[str, Any],
    hashes: np.ndarray,
    dtype: torch.dtype = torch.float32,
    tasks: Sequence[str] | None = None,
) -> Bundle:
    """Writes hashes, weights (task tokens reduced to their mean, all rounded to `dtype`) and card, each as a whole and
    the card last: it is what says that the others are there. With `tasks`, the id of every row of the task table, the
    table itself is written too, as bfloat16. Returns the bundle. `load` gives float32 whatever the file holds."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    table = state["conditioning.tasks"]
    state["conditioning.tasks"] = table.mean(dim=0, keepdim=True)
    data = save_safetensors({key: value.to(dtype).contiguous() for key, value in state.items()})
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.safetensors"
    card = {
        **card,
        "model": dataclasses.asdict(network.config),
        "parameters": sum(value.numel() for value in state.values()),
        "bytes": len(data),
        "stored_as": str(dtype).removeprefix("torch."),
        "sha256": hashlib.sha256(data).hexdigest(),
        "pairs_trained_on": len(np.unique(hashes)),
    }
    bundle = Bundle(path, card)
    save_hashes(bundle.hashes_path, hashes)
    card["hashes_sha256"] = hashlib.sha256(bundle.hashes_path.read_bytes()).hexdigest()
    card.pop("tasks_sha256", None)
    if tasks is not None:
        assert len(tasks) == len(table), (len(tasks), len(table))
        content = save_safetensors({"tasks": table.to(torch.bfloat16).contiguous()}, {"ids": "\n".join(tasks)})
        write_whole(bundle.tasks_path, content)
        card["tasks_sha256"] = hashlib.sha256(content).hexdigest()
    card["seal"] = seal(card)
    write_whole(path, data)
    write_whole(path.with_suffix(".json"), orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return bundle


def whole(path: Path) -> Bundle | None:
    """The bundle of a .safetensors file, or None where weights, hashes and card are not all there or do not belong
    together, as a kill in `save_bundle` may leave them."""
    try:
        bundle = find(str(path))
        _load(str(path))
        trained_hashes(bundle)
        load_table(str(path))
    except ValueError:
        return None
    return bundle


def model_of(weights: str) -> ModelConfig:
    """The configuration of a bundle, by its card, or of `random:SIZE`. ValueError, one line, if there is none."""
    if weights.startswith("random:"):
        return _named(weights.removeprefix("random:"))
    bundle = find(weights)
    try:
        return ModelConfig(**bundle.card["model"])
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{bundle.path}: does not fit its card: {error}") from None


def model_for_tasks(weights: str) -> ModelConfig:
    """The same. ValueError too for weights of a puzzle whose cells hold more than a task's."""
    model = model_of(weights)
    if model.vocabulary != LEAST_VOCABULARY:
        raise ValueError(f"{weights}: its cells hold {model.vocabulary} tokens, of a puzzle and not of ARC tasks")
    return model


def load(weights: str, seed: int = 0, *, loops: int | None = None) -> Network:
    """The network of a bundle, or for `random:SIZE` untrained weights of a named size, drawn with `seed`, running
    at most `loops` loop steps (None: as many as the card says they are for, or all).

    ValueError, one line, if the file does not match its checksum, its card or its configuration.
    """
    random = weights.startswith("random:")
    network = _random(weights.removeprefix("random:"), seed) if random else _load(weights)
    network.config = running(weights, loops)
    return network


def running(weights: str, loops: int | None = None) -> ModelConfig:
    """The configuration with which `load` gives a network, of so many loop steps; errors as in `model_of`."""
    model = model_of(weights)
    if not weights.startswith("random:"):
        loops = loops or find(weights).card.get("loops")
    return model if loops is None else dataclasses.replace(model, loops=min(loops, model.loops))


def _load(weights: str) -> Network:
    bundle = find(weights)
    try:
        data = bundle.path.read_bytes()
    except OSError as error:
        raise ValueError(f"{bundle.path}: cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != bundle.card["sha256"]:
        raise ValueError(f"{bundle.path}: sha256 is {digest[:16]}..., its card says {bundle.card['sha256'][:16]}...")
    # safetensors refuses anything but plain tensors, a pickle under this name too.
    try:
        state = {key: value.float() for key, value in load_safetensors(data).items()}
        network = Network(ModelConfig(**bundle.card["model"]), tasks=1)
        network.load_state_dict(state, strict=True)
    except (SafetensorError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{bundle.path}: does not fit its card: {reason}") from None
    if (count := sum(value.numel() for value in state.values())) != bundle.card["parameters"]:
        raise ValueError(f"{bundle.path}: has {count} parameters, its card says {bundle.card['parameters']}")
    return network


def load_table(weights: str) -> tuple[list[str], torch.Tensor] | None:
    """The trained task tokens of a bundle: R task ids, and float32 (R, task_tokens * width) with a row for each.
    None for a bundle without them and for random weights. ValueError, one line, if the file does not match the card.
    """
    if weights.startswith("random:"):
        return None
    bundle = find(weights)
    if (expected := bundle.card.get("tasks_sha256")) is None:
        return None
    path, model = bundle.tasks_path, model_of(weights)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    if (digest := hashlib.sha256(data).hexdigest()) != expected:
        raise ValueError(f"{path}: sha256 is {digest[:16]}..., the card says {str(expected)[:16]}...")
    try:
        # A file of safetensors begins with the length of its header, 8 bytes, and the header, in JSON.
        header = orjson.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        ids = str(header["__metadata__"]["ids"]).split("\n")
        table = load_safetensors(data)["tasks"].float()
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is not a table of task tokens: {' '.join(str(error).split())[:200]}") from None
    if table.shape != (len(ids), model.task_tokens * model.width) or len(set(ids)) != len(ids):
        raise ValueError(f"{path}: has {len(ids)} ids for a table of {tuple(table.shape)}")
    return ids, table


def _random(size: str, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(_named(size), tasks=1)


def _named(size: str) -> ModelConfig:
    if size not in MODELS:
        raise ValueError(f"no model size is called {size!r}; choose from {', '.join(MODELS)}")
    return MODELS[size]


def trained_hashes(bundle: Bundle) -> np.ndarray:
    """The hashes of all pairs that the weights were trained on, (N,) uint64, ascending.

    ValueError if the file is not the one that the card speaks of.
    """
    path, card = bundle.hashes_path, bundle.card
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    if digest != card.get("hashes_sha256", digest):
        raise ValueError(f"{path}: sha256 is {digest[:16]}..., the card says {str(card['hashes_sha256'])[:16]}...")
    hashes = load_hashes(path)
    if len(hashes) != card["pairs_trained_on"]:
        raise ValueError(f"{path}: has {len(hashes)} hashes, the card says {card['pairs_trained_on']}")
    return hashes


def overlaps(bundle: Bundle, data: datasets.DataSet) -> dict[str, int]:
    """Task id -> how many of its pairs, tests included, the weights were trained on (up to D4 and colours)."""
    trained = set(trained_hashes(bundle).tolist())
    by_task = pair_hashes(data.tasks, data.solutions)
    counts = {task_id: sum(h in trained for h in hashes) for task_id, hashes in by_task.items()}
    return {task_id: count for task_id, count in counts.items() if count}
