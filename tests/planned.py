"""A planner at work on a simulated clock, for the tests of what it decides."""

from dataclasses import replace

from solver import presets
from solver.run.planner import Planner
from solver.run.schedule import Job
from solver.weights import checkpoint

CONFIG = replace(presets.cpu(), budget_steps=400)
SIZES = {f"t{n}": [8, 12, 16, 32][n % 4] for n in range(12)}


MODELS = {"": checkpoint.running("nano"), "small": checkpoint.running("small")}
SLOWER = 5
"""What a step of `small` takes in place of one of `nano`; by its operations it would be seven to eight."""


def next_job(planner: Planner) -> Job:
    """The next job of worker 0, which there is."""
    job = planner.next(0)
    assert job is not None
    return job


def simulate(planner, clock, *, step=1e-3, easy=(), startup=0.0):
    """Runs a planner with workers whose step takes `step` x size^2 / 64 seconds; (worker, job, start, end) of each
    job. A tenth of a job's time goes to 64 views. Tasks in `easy` settle after 20 steps and agree."""
    done: list[tuple[int, Job, float, float]] = []
    ends: dict[int, tuple[float, float, Job, int, float]] = {}
    clock[0] += startup
    while True:
        for worker in range(planner.workers):
            if worker not in ends and (job := planner.next(worker)) is not None:
                one = step * job.size**2 / 64 * (SLOWER if job.weights else 1)
                steps = int(job.seconds * 0.9 / one / len(job.task_ids)) + 1
                steps = min(steps, CONFIG.budget_steps, *[20 for task_id in job.task_ids if task_id in easy])
                spent = steps * one * len(job.task_ids)
                ends[worker] = clock[0] + spent / 0.9, clock[0], job, steps, spent
        if not ends:
            return done
        worker = min(ends, key=lambda w: ends[w][0])
        clock[0], start, job, steps, spent = ends.pop(worker)
        planner.idle(worker)
        done.append((worker, job, start, clock[0]))
        for task_id in job.task_ids:
            row = {"task": task_id, "copy": job.copy, "canvas": job.size, "zoom": job.zoom, "steps": steps}
            row |= {"views": [64], "adapt_seconds": spent / len(job.task_ids), "weights": job.weights}
            row |= {"predict_seconds": spent / len(job.task_ids) / 9}
            planner.heard(row, 1.0 if task_id in easy else 0.3)
