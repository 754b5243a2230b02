"""The planner on a simulated clock: the budget is kept, all tasks answered early, the rest spent where it pays."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from planned import CONFIG, SIZES, next_job, simulate

from solver.run.chance import AGAIN, ALIKE, OFFERS, Bid, Way, chance, spend
from solver.run.log import LogRow
from solver.run.planner import Planner
from solver.run.schedule import Budget, Job


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
