"""The budget: never more is asked than it pays for, what judges cost counts once, and the job ends all the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from manyhands import metrics
from manyhands.messages import Event, Failure
from manyhands_aggregator import ratings, tables
from manyhands_aggregator.course import Course
from manyhands_aggregator.ratings import Rating
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, open_store, said
from tests.unit.aggregator.test_cascade import PLAIN, asked


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that is empty."""
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    yield store
    store.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator without any thread."""
    return Bench(store)


def job_of(first: Any = 1.0, second: Any = 1.0, **more: Any) -> Job:
    """A job of two stages at these prices, of which the first is never content."""
    size = {key: more.pop(key) for key in ("count", "size") if key in more}
    stages = [
        {"judges": [{"judge": "one", "price": first}], "accept": {"agree": 2}},
        {"judges": [{"judge": "two", "price": second}]},
    ]
    return Job(**{"count": 1, "size": 1, **size}, more={**PLAIN, "stages": stages, **more})


def with_total(job: Job, suite: int) -> Event:
    """News of a suite that tell how many tasks the job has."""
    news = job.announced(suite)
    return replace(news, data={**news.data, "total": job.count})


def one_by_one(bench: Bench, job: Job, *, total: bool) -> list[int]:
    """Every suite announced when the one before is settled; how many each asked of the second stage."""
    bench.take(job.opened())
    more = []
    for suite in range(job.suites):
        bench.take(with_total(job, suite) if total else job.announced(suite))
        more.append(len(asked(bench.events(job.judged(suite, "a")))))
        if more[-1]:
            bench.take(job.judged(suite, "a", judge="two", stage=1))
    bench.take(job.sealed())
    assert bench.state(job) == "complete"
    return more


@pytest.mark.parametrize(
    ("budget", "total", "more", "spent"),
    [(4, False, [0, 0, 0, 0], 4), (6, False, [0, 0, 0, 0], 4), (4, True, [0, 0, 0, 0], 4), (6, True, [1, 1, 0, 0], 6)],
)
def test_the_first_stage_of_what_is_still_to_come_is_kept_back(
    bench: Bench, budget: float, total: bool, more: list[int], spent: float
) -> None:
    """Of as many tasks as can be paid for, until their number is told; also where each suite waits for the last."""
    job = job_of(count=4, budget=budget)
    assert one_by_one(bench, job, total=total) == more
    assert bench.progress(job)["spent"] == spent


def test_a_first_stage_that_is_free_keeps_nothing_back(bench: Bench) -> None:
    """Whoever is asked further on is paid as they come."""
    job = job_of(first=0, count=4, budget=2)
    assert one_by_one(bench, job, total=False) == [1, 1, 0, 0]


def test_a_judge_that_is_free_is_asked_though_the_budget_is_gone(bench: Bench) -> None:
    """What was spent beyond it costs no judgment that is for nothing."""
    job = job_of(second=0, budget=1)
    bench.take(*job.news())
    assert asked(bench.events(job.judged(0, "a", costs=[1.25]))) == [(1, "two", 0, [0], "unsure")]
    bench.take(job.judged(0, "b", judge="two", stage=1))
    assert (bench.state(job), bench.progress(job)["spent"]) == ("complete", 1.25)


def test_a_price_is_taken_off_once(bench: Bench) -> None:
    """An error that states a cost and a value behind it are both paid, and no price besides."""
    job = job_of()
    bench.take(*job.news())
    bench.take(job.judged(0, [None], errors={0: Failure(code="e", message="m")}, costs=[0.5]))
    said = job.judged(0, ["a"], costs=[0.75])
    bench.take(said, said)
    assert bench.progress(job)["spent"] == 0.5 + 0.75 + 1


def test_a_price_comes_back_with_a_value_that_states_no_cost(bench: Bench) -> None:
    """The error's cost was the error's; the value is reckoned at its price."""
    job = Job(count=1, judges=[{"judge": "one", "price": 1}])
    bench.take(*job.news())
    bench.take(job.judged(0, [None], errors={0: Failure(code="e", message="m")}, costs=[0.5]))
    assert bench.progress(job)["spent"] == 0.5
    bench.take(job.judged(0, ["a"]))
    assert bench.progress(job)["spent"] == 1.5


@pytest.mark.parametrize("cascades", [False, True])
def test_what_is_no_answer_is_paid_and_asked_again(bench: Bench, cascades: bool) -> None:
    """Each attempt once, at what it says it cost or at the price, however often its message comes."""
    job = job_of(budget=50) if cascades else Job(count=1, judges=[{"judge": "one", "price": 1}], more={"budget": 50})
    bench.take(*job.news())
    first = job.judged(0, ["?"], costs=[5.0])
    again = (0, "one", 0, [0], "invalid-answer")
    for _ in range(2):
        assert asked(bench.events(first, first))[0] == again
        assert bench.progress(job)["spent"] == 5 + 1
    assert asked(bench.events(job.judged(0, ["?"], attempt=2))) == [again]
    assert bench.progress(job)["spent"] == 5 + 1 + 1
    bench.take(job.judged(0, ["a"], attempt=3, costs=[2.0]))
    assert bench.progress(job)["spent"] == 5 + 1 + 2 + cascades
    bench.audit(job)


def test_what_cannot_be_paid_is_not_asked_again(bench: Bench) -> None:
    """The tasks have failed then, and the job ends; what was asked before is asked when its message comes again."""
    job = Job(count=3, size=3, judges=[{"judge": "one", "price": 1}], more={"budget": 4.5})
    bench.take(*job.news())
    message = job.judged(0, ["?", "?", "a"])
    assert [one[3] for one in asked(bench.events(message))] == [[0]]
    assert [one[3] for one in asked(bench.events(message))] == [[0]]
    assert (bench.state(job), bench.progress(job)["spent"]) == ("open", 4)
    bench.take(job.judged(0, ["b"], positions=[0], attempt=2))
    progress = bench.progress(job)
    assert (progress["state"], progress["reason"], progress["spent"]) == ("partial", "budget", 4)
    assert (bench.codes(job), bench.answers(job).values) == ({1: "invalid-answer"}, ["b", None, "a"])


@pytest.mark.parametrize(("budget", "more"), [(8, []), (11.5, []), (12, [3]), (14.5, [3]), (15, [3, 4])])
def test_what_is_dearer_than_its_price_is_reckoned_with_at_that(bench: Bench, budget: float, more: list[int]) -> None:
    """What is under way as well as what is new: two of three are out when the first says 3, so 9 are as good as spent.

    A budget of less than that would have been overspent by what was asked before it was known.
    """
    job = job_of(first=0, count=6, budget=budget)
    bench.take(*job.news(), *(job.judged(suite, "a") for suite in range(3)))
    assert bench.progress(job)["spent"] == 3
    bench.take(job.judged(0, "a", judge="two", stage=1, costs=[3.0]))
    assert [suite for suite in range(3, 6) if asked(bench.events(job.judged(suite, "a")))] == more
    for suite in (1, 2, *more):
        bench.take(job.judged(suite, "a", judge="two", stage=1, costs=[3.0]))
    assert bench.progress(job)["spent"] == 9 + 3 * len(more)
    assert (bench.state(job), bench.progress(job)["reason"]) == ("complete", "budget")


@pytest.mark.parametrize("costs", [[1.0, 1.0, 7.0, 3.0], [3.0, 3.0, 3.0, 3.0]])
def test_one_judgment_that_carries_what_others_cost_makes_nobody_dear(bench: Bench, costs: list[float]) -> None:
    """A suite counts as a whole: at 3 each the eight under way come to 24 of 30, and two more are asked."""
    job = job_of(first=0, count=12, size=4, budget=12 + 12 + 6)
    bench.take(*job.news(), *(job.judged(suite, "a") for suite in range(2)))
    bench.take(job.judged(0, "a", judge="two", stage=1, costs=costs))
    assert [one[3] for one in asked(bench.events(job.judged(2, "a")))] == [[8, 9]]


@pytest.mark.parametrize("counted", [True, False])
def test_a_job_that_an_earlier_version_opened_has_its_budget(bench: Bench, counted: bool) -> None:
    """Nobody counted what was asked and came then: all is reckoned with at its price, nothing as still under way."""
    job = job_of(count=6, budget=6 * (1 + 1) + 3 * 0.25)
    bench.take(*job.news())
    assert all(asked(bench.events(job.judged(suite))) for suite in range(3))
    if not counted:
        bench.store.write(lambda c: c.execute(sa.update(tables.jobs).values(traffic=None)))
    assert all(asked(bench.events(job.judged(suite, costs=[1.25]))) for suite in range(3, 6))
    bench.take(*(job.judged(suite, judge="two", stage=1) for suite in range(6)))
    assert (bench.state(job), bench.progress(job)["spent"]) == ("complete", 12.75)


def test_a_judge_that_is_out_is_not_kept_money_for(bench: Bench) -> None:
    """It is sent nothing more: of what it has not judged, only the price is reckoned with, however dear it was."""
    first = [{"judge": "one", "price": 1}, {"judge": "svm", "price": 1}]
    stages = [{"judges": first, "accept": {"agree": 2}}, {"judges": [{"judge": "two", "price": 1}]}]
    rules = {"warn": False, "pause": False, "retire": False}
    more = {**PLAIN, "stages": stages, "quality": rules, "budget": 20 + 4 + 5}
    job = Job(count=10, size=1, more=more)
    bench.take(*job.news(), job.judged(0), job.judged(0, judge="svm", costs=[5.0]))
    bench.store.write(lambda c: ratings.note(c, job.id, [Rating("svm", "retire", ("said so",), {})], 1.0))
    assert [suite for suite in range(1, 10) if asked(bench.events(job.judged(suite)))] == [1, 2, 3, 4, 5]
    bench.take(*(job.judged(suite, judge="two", stage=1) for suite in range(1, 6)))
    assert (bench.state(job), bench.progress(job)["spent"]) == ("complete", 29)


def test_what_comes_back_cheap_makes_room_again(bench: Bench) -> None:
    """It was kept back for as dear as the dearest, and cost its price."""
    job = job_of(first=0, count=4, budget=9)
    bench.take(*job.news(), *(job.judged(suite, "a") for suite in range(3)))
    bench.take(job.judged(0, "a", judge="two", stage=1, costs=[3.0]))
    bench.take(*(job.judged(suite, "a", judge="two", stage=1, costs=[1.0]) for suite in (1, 2)))
    assert asked(bench.events(job.judged(3, "a"))) == [(1, "two", 0, [3], "unsure")]


def test_a_first_stage_that_is_dearer_ends_the_job(bench: Bench) -> None:
    """The producer goes by the price: it is told by the job's end, when more was spent than there was."""
    job = Job(count=8, size=1, judges=[{"judge": "one", "price": 1}], more={"budget": 8})
    bench.take(job.opened())
    for suite in range(4):
        bench.take(job.announced(suite), job.judged(suite, costs=[2.0]))
    bench.swept()
    assert (bench.state(job), bench.progress(job)["spent"]) == ("open", 8)
    bench.take(job.announced(4, 5), job.judged(4, costs=[2.5]))
    ended = said(bench.swept())
    progress = bench.progress(job)
    assert (progress["state"], progress["reason"], progress["spent"]) == ("partial", "budget", 8 + 2.5 + 1)
    assert [event.data["state"] for event in ended if event.name == "job.completed"] == ["partial"]
    bench.take(job.announced(6, 7), job.sealed())  # what was not sent is told all the same
    bench.take(job.judged(5, costs=[2.5]))  # what was under way is taken in: more than that is not spent
    assert bench.counts(job) == (8, 6, 2, 0, 0)
    assert bench.codes(job) == {6: "budget", 7: "budget"}


@pytest.mark.parametrize("deadline", [None, 3600.0])
@pytest.mark.parametrize("sealed", ["before", "behind", "not"])
def test_what_is_overspent_with_nothing_to_come_goes_on(bench: Bench, sealed: str, deadline: float | None) -> None:
    """Also when the last that was to come, came before upkeep; its deadline is what it was."""
    more = {"budget": 3, **({} if deadline is None else {"deadline": deadline})}
    job = Job(count=3, size=1, judges=[{"judge": "one", "price": 1}], more=more)
    opened = job.opened(bench.clock.now())
    bench.take(opened, job.announced(), *([job.sealed()] if sealed == "before" else []))
    bench.take(job.judged(0, costs=[2.0]))
    bench.take(*([job.sealed()] if sealed == "behind" else []))
    bench.swept()
    if sealed == "not":
        assert (bench.state(job), bench.progress(job)["reason"]) == ("partial", "budget")
        return
    assert bench.state(job) == "open"
    if deadline is not None:
        bench.fake_clock.turn(deadline + 1)
        bench.swept()
        assert (bench.state(job), bench.progress(job)["reason"]) == ("partial", "deadline")
        return
    bench.take(job.judged(1), job.judged(2))
    assert bench.state(job) == "complete"


def test_a_course_keeps_what_was_for_nothing() -> None:
    """And one that was written before there was such a thing has nothing of it."""
    course = Course(void={((0, "one", 0), 1): {4, 2}})
    assert Course.unpack(course.pack()) == course
    assert Course.unpack(b"\x92\x90\x80") == Course()


@pytest.mark.parametrize("seed", range(8))
def test_no_order_of_things_goes_beyond_the_budget(bench: Bench, seed: int) -> None:
    """Suites announced and judged as it comes, some answers invalid, messages twice: it ends within its budget."""
    draw = random.Random(seed)
    budget = draw.choice([12, 15, 20])
    job = job_of(draw.choice([0, 0.5, 1]), draw.choice([1, 2]), count=12, size=2, budget=budget)
    bench.take(job.opened())
    to_tell = [with_total(job, s) if seed % 2 else job.announced(s) for s in range(job.suites)]
    to_tell.append(job.sealed())
    waiting: list[tuple[int, int, str, list[int], int]] = []
    told = 0
    while to_tell or waiting:
        if to_tell and (not waiting or draw.random() < 0.4):
            bench.take(to_tell.pop(0))
            if told < job.suites:
                waiting.append((told, 0, "one", job.sent(told), 1))
                told += 1
            continue
        suite, stage, judge, positions, attempt = waiting.pop(draw.randrange(len(waiting)))
        values = [draw.choice(["a", "b", "?"]) for _ in positions]
        message = job.judged(suite, values, judge=judge, stage=stage, positions=positions, attempt=attempt)
        for event in bench.events(message):
            if event.name == "suite.escalated":
                data = event.data
                waiting.append((suite, data["stage"], data["judge"], data["positions"], data["attempt"]))
        bench.take(message)
        assert bench.progress(job)["spent"] <= budget
    assert bench.state(job) in ("complete", "partial")
    assert bench.counts(job)[4] == 0


def test_the_share_of_the_budget_that_is_used_is_measured(bench: Bench) -> None:
    """The greatest of all open jobs, as long as one may still ask; a job without a budget has none."""
    bench.take(*job_of().news())
    assert used(bench) == 0
    job = job_of(count=2, budget=5)
    bench.take(*job.news())
    assert used(bench) == pytest.approx(2 / 5)
    bench.take(job.judged(0, "a"))
    assert used(bench) == pytest.approx(3 / 5)
    plain = Job(count=2, size=1, more={"stages": [{"judges": [{"judge": "one", "price": 1}]}], "budget": 2})
    bench.take(plain.opened(), plain.announced(0))
    assert used(bench) == pytest.approx(3 / 5)
    bench.take(plain.announced(1))
    assert used(bench) == 1
    bench.take(plain.sealed())
    assert used(bench) == pytest.approx(3 / 5)


def used(bench: Bench) -> float:
    """What the gauge says."""
    bench.upkeep.measure()
    return float(metrics.BUDGET_USED._value.get())
