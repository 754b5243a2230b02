"""The planner on a simulated clock: the budget is kept, all tasks answered early, the rest spent where it pays."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from solver import presets
from solver.run.chance import AGAIN, ALIKE, OFFERS, Bid, Way, chance, spend
from solver.run.log import LogRow
from solver.run.planner import Planner
from solver.run.schedule import Budget, Job, Speeds
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


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("budget", [20.0, 100.0, 1000.0])
def test_the_budget_is_kept_and_every_task_has_an_early_answer(budget, stack):
    clock, easy = [0.0], ["t1", "t4"]
    config = replace(CONFIG, stack=stack)
    planner = Planner(SIZES, config, Budget(budget, lambda: clock[0]), 3)
    done = simulate(planner, clock, easy=easy)
    ends: dict[tuple[str, int], float] = {}
    for _, job, _, end in done:
        for task_id in job.task_ids:
            ends.setdefault((task_id, job.copy), end)
    assert clock[0] <= budget
    first = [ends[task_id, 0] for task_id in SIZES]
    assert max(first) <= 0.15 * budget + 0.2
    assert not planner.unanswered
    assert all((task_id, 1) not in ends for task_id in easy)  # agreed: nothing to gain
    again = [(t, c) for t, c in ends if c]
    assert {t for t, c in again} == set(SIZES) - set(easy)
    if budget < 1000:  # in 1000 s all 16 copies get all their steps, and then there is nothing left to do
        assert sum(end - start for _, _, start, end in done) > 0.75 * 3 * budget
    assert planner.again == len(again)


def test_a_slow_machine_gets_fewer_steps_and_not_a_late_file():
    def steps(step):
        clock = [0.0]
        planner = Planner(SIZES, CONFIG, Budget(60.0, lambda: clock[0]), 2)
        done = simulate(planner, clock, step=step, startup=12.0)  # the window of the first round is over by then
        assert clock[0] <= 60.0
        assert {task_id for _, job, _, _ in done for task_id in job.task_ids} == set(SIZES)
        return sum((end - start) / (step * job.size**2) for _, job, start, end in done)

    assert steps(1e-2) < 0.2 * steps(1e-3)


def test_nothing_starts_that_cannot_end():
    clock = [0.0]
    planner = Planner({"a": 8, "b": 8}, CONFIG, Budget(100.0, lambda: clock[0]), 1)
    job = next_job(planner)
    clock[0] = 97.0
    planner.idle(0)
    row: LogRow = {"task": "a", "copy": 0, "canvas": 8, "steps": 10, "views": [64]}
    row |= {"adapt_seconds": 90.0, "predict_seconds": 7}
    planner.heard(row, 0.5)
    assert job.task_ids == ("a",)
    assert planner.next(0) is None  # one step takes 9 s, and 1 s is left
    assert planner.unanswered == ["b"]


def test_without_a_budget_every_task_is_done_once_in_stacks_that_do_not_depend_on_the_workers():
    stacks = []
    for workers in (1, 4):
        planner = Planner(SIZES, replace(CONFIG, stack=2), Budget(None), workers)
        jobs: list[Job] = []
        while (job := planner.next(len(jobs) % workers)) is not None:
            jobs.append(job)
        assert all(job.seconds is None for job in jobs)
        stacks.append([job.task_ids for job in jobs])
    assert stacks[0] == stacks[1]
    assert sorted(t for job in stacks[0] for t in job) == sorted(SIZES)


def test_a_job_that_comes_back_goes_first_and_a_known_task_only_later():
    clock = [0.0]
    planner = Planner(SIZES, CONFIG, Budget(100.0, lambda: clock[0]), 1)
    row: LogRow = {"task": "t0", "copy": 0, "canvas": 8, "steps": 10}
    planner.known("t0", [row], 0.5)
    job = next_job(planner)
    assert job.task_ids != ("t0",)
    planner.idle(0)
    planner.put_back(replace(job, tries=1, seconds=None))
    again = next_job(planner)
    assert (again.task_ids, again.tries) == (job.task_ids, 1)
    assert again.seconds is not None
    assert again.seconds > 0
    planner.idle(0)
    seen = [next_job(planner) for _ in range(11)]
    assert ("t0",) not in [j.task_ids for j in seen[:10]]
    assert seen[10].task_ids == ("t0",)
    assert seen[10].copy == 1
    assert seen[10].seconds is not None
    assert np.isfinite(seen[10].seconds)


def test_a_tight_budget_is_spent_where_hits_are_cheap():
    clock, sizes = [0.0], {f"t{n}": 32 if n % 2 else 12 for n in range(60)}
    planner = Planner(sizes, CONFIG, Budget(60.0, lambda: clock[0]), 1)
    done = simulate(planner, clock, step=2e-3)
    again = [job for _, job, _, _ in done if job.copy]
    small = [job for job in again if job.size == 12]
    assert {i for job in small for i in job.task_ids} == {i for i, size in sizes.items() if size == 12}
    assert sum(job.seconds for job in small) > 0.9 * sum(job.seconds for job in again)
    assert sum(end - start for _, _, start, end in done) > 0.9 * 60.0


@pytest.mark.slow
def test_seconds_are_spent_as_well_as_by_trying_everything():
    rng = np.random.default_rng(0)
    for _ in range(20):
        bids = [
            Bid(
                int(size),
                tuple(
                    Way(
                        zoom, step * (zoom * size) ** 2, views, float(chance(size, had[zoom - 1], zoom)), copies // zoom
                    )
                    for zoom in (1, 2)[:ways]
                ),
            )
            for size, had, copies, ways, step, views in zip(
                rng.choice([8, 12, 16, 32], 3),
                rng.integers(0, 200, (3, 2)),
                rng.integers(1, 4, 3),
                rng.integers(1, 3, 3),
                rng.uniform(1, 3, 3) * 1e-4,
                rng.uniform(0, 2, 3),
                strict=True,
            )
        ]
        seconds, returns, _ = spend(bids, 20.0, 1000)
        gained, used = (seconds * returns).sum(), seconds.sum()
        assert used <= 20.0
        costs, gains = [], []
        for bid in bids:
            offers = list(itertools.product(bid.ways, np.minimum(OFFERS, 1000)))
            costs.append(np.array([0.0, *(steps * way.step + way.views for way, steps in offers)]))
            gains.append(np.array([0.0, *(worth(bid, *offer) for offer in offers)]))
        every = itertools.product(*map(range, map(len, costs)))
        chosen = np.array(list(every)).T
        cost, gain = (sum(values[at] for values, at in zip(table, chosen, strict=True)) for table in (costs, gains))
        assert gained == pytest.approx(gain[cost <= used + 1e-9].max())


def worth(bid, way, steps):
    """What a copy of so many steps is worth, as `spend` says in words."""
    reached, best = chance(bid.size, steps, way.zoom), max(way.reached for way in bid.ways)
    votes = reached >= way.reached and reached >= ALIKE * best
    return max(0.0, reached - best) + (AGAIN * reached / max(1, way.copies) ** 2 if votes else 0.0)


def test_alike_bids_with_money_for_some_of_them_get_that_many():
    bids = [Bid(12, (Way(1, 0.02, 1.0, 0.2, 1), Way(2, 0.06, 1.0, 0.0, 0)))] * 10
    one = spend(bids[:1], 1e6, 1000)
    for count in (1, 4, 9):
        seconds = spend(bids, (count + 0.5) * one.seconds[0], 1000).seconds
        assert sum(seconds) > count * one.seconds[0] - 1e-6


def test_an_equal_share_of_equal_tasks_is_not_left_over():
    clock, sizes = [0.0], {f"t{n}": 12 for n in range(48)}
    for budget in (480.0, 2400.0):
        clock[0] = 0.0
        planner = Planner(sizes, CONFIG, Budget(budget, lambda: clock[0]), 2, zoomed=dict.fromkeys(sizes, 24))
        simulate(planner, clock, step=0.04)
        assert 0.95 * budget < clock[0] <= budget


def test_what_an_earlier_start_has_zoomed_counts_as_that():
    clock, sizes = [0.0], {f"t{n}": 12 for n in range(4)}
    planner = Planner(sizes, CONFIG, Budget(100.0, lambda: clock[0]), 1, zoomed=dict.fromkeys(sizes, 24))
    for task_id in sizes:
        rows: list[LogRow] = [
            {"task": task_id, "copy": 0, "canvas": 12, "zoom": 1, "steps": 30},
            {"task": task_id, "copy": 1, "canvas": 24, "zoom": 2, "steps": 400},
        ]
        planner.known(task_id, rows, 0.3)
    job = next_job(planner)
    assert (job.copy, job.zoom, job.size) == (2, 1, 12)  # a second copy there has more to add


def test_a_task_is_zoomed_once_there_is_time_for_it():
    def zooms(budget):
        clock = [0.0]
        planner = Planner(SIZES, CONFIG, Budget(budget, lambda: clock[0]), 2, zoomed={"t0": 16, "t1": 24, "t5": 24})
        done = simulate(planner, clock)
        assert clock[0] <= budget
        assert {job.size for _, job, _, _ in done if job.zoom > 1} <= {16, 24}
        return [(task_id, job.copy) for _, job, _, _ in done if job.zoom > 1 for task_id in job.task_ids]

    assert not zooms(2.5)
    assert all(copy for _, copy in zooms(60.0))
    assert {task_id for task_id, _ in zooms(60.0)} == {"t0", "t1", "t5"}


def test_copies_of_other_weights_are_made_once_they_add_most_for_their_time():
    def of_small(budget, **rest):
        clock = [0.0]
        planner = Planner(SIZES, CONFIG, Budget(budget, lambda: clock[0]), 2, **rest)
        done = simulate(planner, clock)
        assert done
        assert budget - 8.0 < clock[0] <= budget
        return [(job.copy, task_id) for _, job, _, _ in done if job.weights for task_id in job.task_ids]

    assert CONFIG.also == ("small",)
    assert not of_small(200.0)  # a planner that is not told what they are
    assert not of_small(4.0, models=MODELS)
    some = of_small(200.0, models=MODELS)
    assert {task_id for _, task_id in some} == {task_id for task_id, size in SIZES.items() if size < 32}
    assert min(copy for copy, _ in some) >= 1


def test_what_an_earlier_start_has_made_of_other_weights_counts_as_that():
    clock, sizes = [0.0], {f"t{n}": 12 for n in range(4)}
    planner = Planner(sizes, CONFIG, Budget(1000.0, lambda: clock[0]), 1, models=MODELS)
    for task_id in sizes:
        of = ("", "", "small", "small", "small")
        rows: list[LogRow] = [
            {"task": task_id, "copy": n, "canvas": 12, "steps": 400, "weights": name} for n, name in enumerate(of)
        ]
        planner.known(task_id, rows, 0.3)
    timed: LogRow = {"task": "another", "copy": 0, "canvas": 12, "steps": 10, "views": [10]}
    for weights, seconds in (("", 1.0), ("small", 1.0)):
        planner.speeds.learn({**timed, "adapt_seconds": seconds, "predict_seconds": 0.1, "weights": weights})
    job = next_job(planner)
    assert (job.copy, job.weights) == (5, "")  # at the same speed a third copy adds more than a fourth


def test_a_resumed_run_begins_with_its_own_weights_whose_speed_it_has_to_learn():
    clock, sizes = [0.0], {f"t{n}": 12 for n in range(100)}
    for known in ([400], [60, 400], [400, 400], [60, 200, 200]):
        planner = Planner(sizes, CONFIG, Budget(3600.0, lambda: clock[0]), 2, models=MODELS)
        for task_id in sizes:
            rows: list[LogRow] = [{"task": task_id, "copy": n, "canvas": 12, "steps": s} for n, s in enumerate(known)]
            planner.known(task_id, rows, 0.3)
        assert not next_job(planner).weights


def test_what_fails_of_one_kind_twice_is_not_tried_again_and_other_kinds_are():
    clock = [0.0]
    planner = Planner({"a": 12}, CONFIG, Budget(100.0, lambda: clock[0]), 1, models=MODELS)
    good: LogRow = {"task": "a", "copy": 0, "canvas": 12, "steps": 100, "views": [10]}
    good |= {"adapt_seconds": 1.0, "predict_seconds": 0.1}
    planner.heard(good, 0.3)
    kinds = []
    for copy in range(1, 9):
        job = next_job(planner)
        kinds.append(job.weights)
        failed: LogRow = {"task": "a", "copy": copy, "weights": job.weights, "zoom": 1, "error": "no"}
        planner.heard(failed if job.weights else {**good, "copy": copy}, 0.3)
        planner.idle(0)
    assert kinds.count("small") == 2
    assert kinds[-1] == ""


def test_the_speed_of_other_weights_is_guessed_from_their_operations_and_then_measured():
    speeds = Speeds(MODELS)
    assert speeds.seconds("step", 12, "small") is None
    row: LogRow = {"task": "a", "copy": 0, "canvas": 12, "steps": 10, "views": [10]}
    speeds.learn({**row, "adapt_seconds": 1.0, "predict_seconds": 0.1})
    guess = speeds.seconds("step", 16, "small")
    assert guess is not None
    assert guess / (0.1 * (16 / 12) ** 2) == pytest.approx(7.5, abs=0.3)
    speeds.learn({**row, "adapt_seconds": 5.0, "predict_seconds": 0.1, "weights": "small"})
    speeds.learn({**row, "canvas": 32, "adapt_seconds": 2.0, "predict_seconds": 0.1})
    assert speeds.seconds("step", 12, "small") == pytest.approx(0.5)
    assert speeds.seconds("step", 32, "small") == pytest.approx(1.0)  # as those of the run's own go: twice
    assert speeds.seconds("step", 12) == pytest.approx(0.1)
    other_way = Speeds({"": MODELS["small"], "nano": MODELS[""]})
    other_way.learn({**row, "adapt_seconds": 1.0, "predict_seconds": 0.1})
    assert other_way.seconds("step", 12, "nano") == pytest.approx(0.1)  # perhaps faster, as will be seen
    assert Speeds().seconds("step", 12, "small") is None
