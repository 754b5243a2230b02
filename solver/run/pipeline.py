"""`solve`: from tasks to a submission that is complete and valid on disk from the first moment."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from solver.device import compute_dtype, device_name, pick_device, worker_devices
from solver.presets import SolveConfig
from solver.run import record
from solver.run.answers import Answers
from solver.run.canvases import canvases
from solver.run.folder import write_json
from solver.run.job import Outcome, failure, run_job
from solver.run.log import good_rows, read_log
from solver.run.planner import Planner
from solver.run.process import LocalProcess, WorkerSettings
from solver.run.schedule import Budget
from solver.run.work import Means, Progress, Work
from solver.run.workers import Report, Starter, Workers
from solver.weights import checkpoint
from submission.files import write_whole


def solve(
    work: Work,
    config: SolveConfig,
    directory: Path,
    means: Means,
    *,
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    listen: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
    runner: Callable[..., list[Outcome]] = run_job,
) -> Path:
    """Solves `work` with `means` as `config` says, and returns the submission's path.

    The run folder `directory` (made if absent) is filled as `solver.run.folder` says; `out` is a second place for the
    submission. With `resume` the folder's earlier run goes on: answered tasks are not done again, and the budget is a
    fresh one. A task that fails keeps its fallback answer, and its log row says why. `listen` hears of progress, `say`
    what the user should know. `runner` does a job in a worker process.
    """
    config = config.within(means.budget)
    tasks, cluster = work.tasks, means.cluster
    seen = canvases(tasks, config)
    about = record.new_record(work, config, means.budget, seed)
    before = record.earlier(directory, about) if resume else []
    answers = Answers(directory, work.challenges, config.rule, out, keep=resume)
    log = _Log(answers, len(before))
    settings = WorkerSettings(config, seed, means.device, 1, runner)
    starters: Sequence[Starter]
    if cluster is None:
        starters, machine = _this_machine(settings, means.workers, len(tasks))
    else:
        starters = cluster.starters(settings, tasks)
        machine = {"device": cluster.about.device, "dtype": cluster.about.dtype, "threads": None}
    inputs = {task.id: len(task.test_inputs) for task in tasks}
    planner = Planner(
        seen.own,
        config,
        Budget(means.budget),
        len(starters),
        zoomed=seen.zoomed,
        inputs=inputs,
        models={key: checkpoint.running(name, config.loops) for key, name in config.networks.items()},
    )
    if resume:
        log.restore(planner)
        say(record.resuming(directory, before, means.budget))
    if work.challenges.path.resolve() != (directory / "challenges.json").resolve():
        write_whole(directory / "challenges.json", work.challenges.path.read_bytes())
    start = record.new_start(**machine, workers=len(starters), tasks=len(tasks), budget=means.budget)
    about["starts"] = [*before, start]
    write_json(directory / "config.json", about)
    if not resume:
        log.give_up({task_id: str(error) for task_id, error in work.challenges.errors.items()})
    try:
        if planner.open():
            with Workers(starters, arrivals=cluster) as workers:
                for report in workers.run(planner, {task.id: task for task in tasks}):
                    log.hear(report, planner)
                    answers.write()
                    done = len(tasks) - len(planner.unanswered)
                    listen(Progress(done, len(tasks), planner.again, planner.budget.left()))
        log.give_up(dict.fromkeys(planner.unanswered, "no time left in the budget"))
    except BaseException as error:  # a control-C too; raised again, once the run folder knows of it
        start["seconds"] = round(planner.budget.elapsed(), 3)
        if isinstance(error, Exception):
            start["error"] = "".join(traceback.format_exception(error))
        with contextlib.suppress(OSError):  # of a full disk, which is then the error that is raised
            write_json(directory / "config.json", about)
        raise
    start |= {"finished": record.now(), "seconds": round(planner.budget.elapsed(), 3)}
    write_json(directory / "config.json", about)
    return answers.documents[-1].path


def _this_machine(settings: WorkerSettings, workers: int | None, tasks: int) -> tuple[list[Starter], dict[str, Any]]:
    """What starts a worker process on each of this machine's devices, and what the record says of the machine."""
    where = pick_device(settings.device)
    devices, threads = worker_devices(where, workers, tasks)
    starters: list[Starter] = [
        functools.partial(LocalProcess, replace(settings, device=device, threads=threads)) for device in devices
    ]
    dtype = str(compute_dtype(where)).removeprefix("torch.")
    return starters, {"device": device_name(where), "dtype": dtype, "threads": threads}


class _Log:
    """Brings outcomes to the `answers`, each with a row that says which `start` of the run it belongs to."""

    def __init__(self, answers: Answers, start: int) -> None:
        self.answers, self.start = answers, start

    def hear(self, report: Report, planner: Planner) -> None:
        """Takes what a worker reported to the answers, and to the planner what that says about time."""
        for outcome in report.outcomes:
            if "error" in outcome.row:
                outcome.row |= {"weights": report.job.weights, "zoom": report.job.zoom}
            outcome.row |= {"worker": report.worker}
            outcome.row |= {"started": round(report.started, 3), "ended": round(report.ended, 3)}
            self._take(outcome)
            planner.heard(outcome.row, self.answers.agreement(outcome.task_id))

    def give_up(self, reasons: dict[str, str]) -> None:
        """Tasks, by id, that are not tried, and why."""
        for task_id, reason in reasons.items():
            self._take(failure(task_id, 0, reason))

    def restore(self, planner: Planner) -> None:
        """Takes up what an earlier, interrupted run has answered; failed tasks count as not heard of."""
        self.answers.restore()
        for task_id, rows in good_rows(read_log(self.answers.directory / "log.jsonl")).items():
            if task_id in planner.states:
                planner.known(task_id, rows, self.answers.agreement(task_id))

    def _take(self, outcome: Outcome) -> None:
        self.answers.take(outcome, {**outcome.row, "start": self.start})
