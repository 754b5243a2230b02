"""`tinyarc weights` and `tinyarc weights verify`: their options, and what they do."""

from __future__ import annotations

import argparse

from solver.arc import datasets
from solver.options import Command
from solver.weights import checkpoint


def _options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_list)
    actions = parser.add_subparsers(metavar="verify")
    verify = actions.add_parser("verify", help="prove that weights never saw a pair of a data set")
    verify.add_argument("weights", metavar="NAME", help="bundled weights, or the path of a .safetensors file")
    verify.add_argument("--against", required=True, metavar="SET", help="for example arc1-eval")
    verify.set_defaults(action=_verify)


def _run(arguments: argparse.Namespace) -> int | None:
    code: int | None = arguments.action(arguments)
    return code


def _list(arguments: argparse.Namespace) -> None:
    print(weights_table())


def _verify(arguments: argparse.Namespace) -> int:
    bundle, data = checkpoint.find(arguments.weights), datasets.load(arguments.against)
    found = checkpoint.overlaps(bundle, data)
    for task_id, count in found.items():
        print(f"{task_id}: {count} pairs trained on")
    verdict = f"overlap with {len(found)} of {len(data.tasks)} tasks" if found else "no pair in common"
    print(f"{bundle.name} ({bundle.card['pairs_trained_on']} pairs) against {data.name}: {verdict}")
    return 1 if found else 0


def weights_table() -> str:
    """The bundles inside the package."""
    lines = []
    for bundle in checkpoint.bundled():
        card = bundle.card
        data = ", ".join(f"{name} {count}" for name, count in card["pairs"].items())
        processes = card.get("processes", 1)
        where = card["device"] if processes == 1 else f"{processes} processes, each {card['device']}"
        lines += [
            f"{bundle.name}: {card['parameters']:,} parameters, {card['bytes'] / 1e6:.1f} MB, sha256 {card['sha256']}",
            f"  trained for {card['seconds'] / 60:.0f} minutes on {where}: {card['steps']:,} steps, "
            f"{card['samples']:,} samples; to be scored on {card['target']}",
            f"  {card['pairs_trained_on']:,} different pairs: {data}",
        ]
        if held := card.get("held_out_score"):
            low, high = held["interval"]
            lines.append(
                f"  held out: {held['score']:.1%} [{low:.1%}, {high:.1%}] of {held['tasks']} {held['what']}, "
                f"{held['core_seconds_a_task']} core-seconds each"
            )
    return "\n".join(lines) or "no weights are bundled"


COMMANDS = {"weights": Command(_options, _run)}
