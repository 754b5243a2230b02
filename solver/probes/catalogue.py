"""The probes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solver.arc.tasks import Task
from solver.model import Network
from solver.probes import ablate, identity, loops, steps, views
from solver.probes.bench import Arm, Bench, Key
from solver.probes.finding import Finding
from solver.probes.measured import Measured


@dataclass(frozen=True)
class Probe:
    """`measure(bench, network, tasks)` gives the arms of a `group` of tasks in a worker; `report` makes a finding
    of all of them. `seconds`: of one fine-tuning by default; `tunings`: how many of that a task takes."""

    question: str
    measure: Callable[[Bench, Network, list[Task]], dict[str, dict[Key, Arm]]]
    report: Callable[[Measured], Finding]
    seconds: float
    tunings: Callable[[str], float] = lambda weights: 1.0
    group: int = 1


PROBES = {
    "loops": Probe("After which loop step does the answer settle?", loops.measure, loops.report, 60.0),
    "views": Probe("How many views does the vote need?", views.measure, views.report, 60.0),
    "steps": Probe(
        "How much fine-tuning, and what is pretraining worth?",
        steps.measure,
        steps.report,
        20.0,
        tunings=lambda weights: sum(steps.PARTS) * (1 if weights.startswith("random:") else 2),
    ),
    "identity": Probe("Is a task in its tokens or in the weights?", identity.measure, identity.report, 45.0, group=2),
    "ablate": Probe(
        "What is each part worth at test time?",
        ablate.measure,
        ablate.report,
        14.0,
        tunings=lambda weights: float(len(ablate.ARMS)),
    ),
}
