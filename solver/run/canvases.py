"""On which canvases the tasks of a run are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.arc.tasks import Task
from solver.learn.canvas import ZOOM, task_canvas, zoomed_canvas
from solver.presets import SolveConfig
from solver.weights import checkpoint


@dataclass(frozen=True)
class Canvases:
    """By task id: the side of its `own` canvas, in cells, and of the one on which it is `zoomed`, for those that may
    be."""

    own: dict[str, int]
    zoomed: dict[str, int]

    def by_size(self, tasks: Sequence[Task]) -> dict[int, list[Task]]:
        """For every canvas the tasks whose own it is, or where there is none those that may be zoomed to it."""
        found = {size: [task for task in tasks if self.own[task.id] == size] for size in self.own.values()}
        for size in set(self.zoomed.values()) - set(found):
            found[size] = [task for task in tasks if self.zoomed.get(task.id) == size]
        return found


def canvases(tasks: Sequence[Task], config: SolveConfig) -> Canvases:
    """Zoomed are the tasks that fit the largest canvas so, for weights whose patches are as large as a zoomed cell.
    ValueError if the weights are for one canvas size and a task does not fit it, or there are others beside them."""
    models = {name: checkpoint.model_for_tasks(name) for name in config.networks.values()}
    model = models[config.weights]
    for name, one in models.items():
        if one.canvas and config.also:
            raise ValueError(f"{name}: is for canvases of {one.canvas} cells alone, so not to be used beside others")
    own = {task.id: task_canvas(task, model.canvas) for task in tasks}
    if not config.may_zoom or model.canvas or model.patch != ZOOM:
        return Canvases(own, {})
    return Canvases(own, {task.id: size for task in tasks if (size := zoomed_canvas(task)) is not None})
