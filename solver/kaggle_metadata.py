"""The two settings files of an upload to Kaggle: templates filled in, and checked by the rules of Kaggle's client.

The rules are those of the client `kaggle` 2.2.5 and of its documentation (github.com/Kaggle/kaggle-cli,
`docs/kernels.md` and `docs/kernels_metadata.md`, September 2026); tests/test_kaggle_client.py lets it check itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COMPETITION = "arc-prize-2026-arc-agi-2"
MACHINES = {
    "NvidiaL4": "four L4",
    "NvidiaTeslaT4": "two T4",
    "NvidiaL4X1": "one L4",
    "NvidiaTeslaA100": "one A100",
    "NvidiaH100": "one H100",
    "NvidiaRtxPro6000": "one RTX PRO 6000",
}
"""Accelerators by the client's identifiers. A P100 is retired: the client warns that two T4 take its place."""
OWNER = r"[a-z0-9]+(?:[_-][a-z0-9]+)*"
SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"
IMAGE = r"[a-z0-9.-]+(?:/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}"

Metadata = dict[str, Any]


def metadata(
    templates: Path,
    user: str,
    *,
    competition: str | None,
    machine: str,
    image: str | None = None,
    datasets: Iterable[str] = (),
    notebooks: Iterable[str] = (),
) -> tuple[Metadata, Metadata]:
    """The files `dataset-metadata.json` and `kernel-metadata.json` of the folder `templates`, filled in and checked.

    `datasets` and the outputs of `notebooks`, each USER/SLUG, are attached beside the dataset that is uploaded. With
    `image`, as `kaggle kernels pull -m` writes it (NAME@sha256:DIGEST), the notebook is pinned to that image.
    ValueError as in the checks.
    """
    if not re.fullmatch(OWNER, user):
        raise ValueError(f"{user!r} is no Kaggle user name; take it from the address of your profile, in lower case")
    if competition is not None and not re.fullmatch(SLUG, competition):
        raise ValueError(f"{competition!r} is no competition name; take the last part of its address")
    if machine not in MACHINES:
        raise ValueError(f"no machine is called {machine!r}; choose from {', '.join(MACHINES)}")
    dataset = json.loads((templates / "dataset-metadata.json").read_text(encoding="utf-8"))
    kernel = json.loads((templates / "kernel-metadata.json").read_text(encoding="utf-8"))
    dataset["id"] = dataset["id"].replace("USER", user)
    kernel["id"] = kernel["id"].replace("USER", user)
    kernel |= {
        "dataset_sources": [dataset["id"], *datasets],
        "competition_sources": [] if competition is None else [competition],
        "kernel_sources": [*notebooks],
        "machine_shape": machine,
    }
    if image is not None:
        kernel["docker_image"] = image
    check_dataset(dataset)
    check_kernel(kernel)
    return dataset, kernel


def check_dataset(meta: Metadata) -> None:
    """ValueError unless Kaggle's client would take this dataset-metadata.json, and make its title this id."""
    slug = _check_id("dataset", meta)
    if not 6 <= len(slug) <= 50:  # its documentation says from 3, its code from 6
        raise ValueError(f"dataset slug {slug!r}: has {len(slug)} characters, where 6 to 50 are allowed")
    if not 6 <= len(meta["title"]) <= 50:
        raise ValueError(f"dataset title {meta['title']!r}: has {len(meta['title'])} characters, not 6 to 50")
    if len(meta.get("licenses", ())) != 1 or not meta["licenses"][0].get("name"):
        raise ValueError(f"dataset licenses {meta.get('licenses')}: exactly one with a name is needed")
    if not 20 <= len(meta.get("subtitle", "x" * 20)) <= 80:
        raise ValueError(f"dataset subtitle: has {len(meta['subtitle'])} characters, where 20 to 80 are allowed")


def check_kernel(meta: Metadata) -> None:
    """ValueError unless Kaggle's client and a competition without internet would take this kernel-metadata.json."""
    slug = _check_id("kernel", meta)
    if not 5 <= len(slug) <= 50:
        raise ValueError(f"kernel slug {slug!r}: has {len(slug)} characters, where 5 to 50 are allowed")
    wanted = {"language": "python", "kernel_type": "notebook", "enable_gpu": True, "enable_internet": False}
    for key, value in wanted.items():
        if meta.get(key) != value:
            raise ValueError(f"kernel {key} is {meta.get(key)!r}, but must be {value!r}")
    if not str(meta.get("code_file", "")).endswith(".ipynb"):
        raise ValueError(f"kernel code_file {meta.get('code_file')!r}: must name the notebook")
    if meta.get("machine_shape") not in MACHINES:
        raise ValueError(f"kernel machine_shape {meta.get('machine_shape')!r}: choose from {', '.join(MACHINES)}")
    if meta.get("docker_image_pinning_type", "original") not in ("original", "latest"):
        raise ValueError(f"kernel docker_image_pinning_type {meta['docker_image_pinning_type']!r}: original or latest")
    if "docker_image" in meta and not re.fullmatch(IMAGE, meta["docker_image"]):
        raise ValueError(
            f"image {meta['docker_image']!r}: must be NAME@sha256:DIGEST, as `kaggle kernels pull -m` writes it"
        )
    for key, kind in (("dataset_sources", "dataset"), ("kernel_sources", "notebook")):
        for source in meta.get(key, []):
            if not re.fullmatch(f"{OWNER}/{SLUG}", source):
                raise ValueError(f"attached {kind} {source!r}: must be USER/SLUG")


def slugify(title: str) -> str:
    """The slug that Kaggle gives a title in ASCII."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _check_id(kind: str, meta: Metadata) -> str:
    """The slug in the id; ValueError unless the id is USER/SLUG and the title makes that slug."""
    if not re.fullmatch(f"{OWNER}/{SLUG}", meta.get("id", "")):
        raise ValueError(f"{kind} id {meta.get('id')!r}: must be USER/SLUG in lower case")
    slug: str = meta["id"].split("/")[1]
    if slugify(meta.get("title", "")) != slug:
        raise ValueError(
            f"{kind} title {meta.get('title')!r}: makes the slug {slugify(meta.get('title', ''))!r}, "
            f"but its id ends in {slug!r}"
        )
    return slug
