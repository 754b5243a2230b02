"""The planner and copies of other weights: when they are made, what they cost, what happens when they fail."""

import pytest
from planned import CONFIG, MODELS, SIZES, next_job, simulate

from solver.run.log import LogRow
from solver.run.planner import Planner
from solver.run.schedule import Budget, Speeds


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
