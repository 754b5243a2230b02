"""Bundled weights: `NAME.safetensors` with a card `NAME.json` and the hashes of all pairs trained on,
`NAME.hashes.npy`. Loading is strict and checks the checksum; nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from solver import datasets
from solver.hashing import load_hashes, pair_hashes, save_hashes
from solver.model import Network
from solver.model.config import ModelConfig

BUNDLED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Bundle:
    """`path` of the weights and the `card` beside them, a plain dictionary."""

    path: Path
    card: dict

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def hashes_path(self) -> Path:
        return self.path.with_name(self.name + ".hashes.npy")


def bundled() -> list[Bundle]:
    """Every bundle inside the package, by name."""
    return [find(path.stem) for path in sorted(BUNDLED.glob("*.safetensors"))]


def find(weights: str) -> Bundle:
    """The bundle with this name, or the one whose .safetensors file is given. ValueError if there is none."""
    path = Path(weights)
    if path.suffix != ".safetensors":
        path = BUNDLED / f"{weights}.safetensors"
        if not path.is_file():
            names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors"))) or "none"
            raise ValueError(f"no bundled weights are called {weights!r}; there are: {names}, random:SIZE")
    card_path = path.with_suffix(".json")
    try:
        card = orjson.loads(card_path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{card_path}: the card of these weights cannot be read: {error}") from None
    needed = {"sha256", "model", "parameters", "bytes", "pairs_trained_on"}
    if not isinstance(card, dict) or not needed <= set(card):
        raise ValueError(f"{card_path}: is not a card of weights, which has {', '.join(sorted(needed))}")
    return Bundle(path, card)


def save_bundle(
    directory: Path, name: str, network: Network, card: dict, hashes: np.ndarray, dtype=torch.float32
) -> Bundle:
    """Writes weights (task tokens reduced to their mean), card and hashes; returns the bundle."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    state["conditioning.tasks"] = state["conditioning.tasks"].mean(dim=0, keepdim=True)
    data = save_safetensors({key: value.to(dtype).contiguous() for key, value in state.items()})
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.safetensors"
    card = {
        **card,
        "model": dataclasses.asdict(network.config),
        "parameters": sum(value.numel() for value in state.values()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "pairs_trained_on": len(np.unique(hashes)),
    }
    path.write_bytes(data)
    bundle = Bundle(path, card)
    save_hashes(bundle.hashes_path, hashes)
    path.with_suffix(".json").write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return bundle


def load(weights: str, seed: int = 0, *, loops: int | None = None) -> Network:
    """The network of a bundle, or for `random:SIZE` untrained weights of a named size, drawn with `seed`, running
    at most `loops` loop steps.

    ValueError if the file does not match its checksum or its configuration.
    """
    network = _random(weights.removeprefix("random:"), seed) if weights.startswith("random:") else _load(weights)
    if loops is not None:
        network.config = dataclasses.replace(network.config, loops=min(loops, network.config.loops))
    return network


def _load(weights: str) -> Network:
    bundle = find(weights)
    try:
        data = bundle.path.read_bytes()
    except OSError as error:
        raise ValueError(f"{bundle.path}: cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != bundle.card["sha256"]:
        raise ValueError(f"{bundle.path}: sha256 is {digest[:16]}..., its card says {bundle.card['sha256'][:16]}...")
    try:
        network = Network(ModelConfig(**bundle.card["model"]), tasks=1)
        network.load_state_dict({k: v.float() for k, v in load_safetensors(data).items()}, strict=True)
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise ValueError(f"{bundle.path}: does not fit its card: {str(error).splitlines()[0]}") from None
    return network


def _random(size: str, seed: int) -> Network:
    from solver.model import MODELS

    if size not in MODELS:
        raise ValueError(f"no model size is called {size!r}; choose from {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(MODELS[size], tasks=1)


def overlaps(bundle: Bundle, data: datasets.DataSet) -> dict[str, int]:
    """Task id -> how many of its pairs, tests included, the weights were trained on (up to D4 and colours)."""
    trained = set(load_hashes(bundle.hashes_path).tolist())
    own = pair_hashes(data.tasks, data.solutions)
    counts = {task_id: sum(h in trained for h in hashes) for task_id, hashes in own.items()}
    return {task_id: count for task_id, count in counts.items() if count}
