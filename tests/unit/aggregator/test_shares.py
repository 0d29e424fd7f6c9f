"""Nobody gives more than a share of a job's judgments by people: what is beyond it is asked of others, and unpaid."""

from __future__ import annotations

import dataclasses
import random
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from manyhands.messages import Judgments
from manyhands.spec import received
from manyhands_aggregator import jobs, rewards, shares, tables
from manyhands_aggregator.plan import Plan
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, letters
from tests.unit.aggregator.test_cascade import PLAIN, asked


def job_of(share: float, stages: list[Any] | None = None, count: int = 10, **more: Any) -> Job:
    """A job of two suites; every task is judged by one person, who is paid 1, unless said otherwise."""
    stages = stages or [{"judges": [{"people": 1}]}]
    rewards_ = {"judgment": 1, "share": share}
    return Job(count=count, size=count // 2, more={**PLAIN, "stages": stages, "rewards": rewards_, **more})


def by(job: Job, worker: str, suite: int, **more: Any) -> Judgments:
    """What a person says of a suite."""
    return job.judged(suite, judge="people", worker=worker, **more)


def given(bench: Bench, job: Job) -> dict[str, int]:
    """Judgments by person."""
    return {row["worker"]: row["judgments"] for row in rewards.of_job(bench.store, job.id)["people"]}


def test_what_is_beyond_the_share_is_asked_of_somebody_else(bench: Bench) -> None:
    """Three of ten are ann's; the rest is set aside, unpaid, and asked anew: the same again when it comes again."""
    job = job_of(0.3)
    bench.take(*job.news())
    first = by(job, "ann", 0)
    again = (0, "people", 0, [3, 4], "share")
    out = bench.take(first)
    (letter,) = letters(out)
    assert letter.headers["mh-code"] == "share"
    for _ in range(2):
        assert asked(bench.events(first)) == [again]
        assert given(bench, job) == {"ann": 3}
    (ann,) = rewards.of_job(bench.store, job.id)["people"]
    assert (ann["share"], ann["left"]) == (0.3, 0)
    assert asked(bench.events(by(job, "bob", 0, positions=[3, 4], attempt=2))) == []
    assert asked(bench.events(by(job, "ann", 1))) == [(0, "people", 0, [5, 6, 7, 8, 9], "share")]
    bench.take(by(job, "bob", 1, positions=[5], attempt=2), by(job, "cy", 1, positions=[6, 7, 8], attempt=2))
    bench.take(by(job, "dee", 1, positions=[9], attempt=2))
    assert given(bench, job) == {"ann": 3, "bob": 3, "cy": 3, "dee": 1}
    assert bench.state(job) == "complete"
    assert bench.audit(job)["rewards"] == {"earned": 10_000_000, "owed": 0}


def test_an_attempt_that_was_beyond_stays_so(bench: Bench) -> None:
    """When it comes again there may be room, but somebody else was asked, and is to be paid."""
    job = Job(
        count=6,
        size=2,
        more={**PLAIN, "stages": [{"judges": [{"people": 1}]}], "rewards": {"judgment": 1, "share": 0.5}},
    )
    bench.take(job.opened(), job.announced(0))
    first = by(job, "ann", 0)
    assert asked(bench.events(first)) == [(0, "people", 0, [1], "share")]
    bench.take(job.announced(1, 2), job.sealed())
    assert asked(bench.events(first)) == [(0, "people", 0, [1], "share")]
    assert given(bench, job) == {"ann": 1}
    bench.take(by(job, "bob", 0, positions=[1], attempt=2), by(job, "ann", 1), by(job, "bob", 2))
    assert (given(bench, job), bench.state(job)) == ({"ann": 3, "bob": 3}, "complete")


def test_the_last_attempt_that_was_beyond_stays_so(bench: Bench) -> None:
    """Nobody else is asked; but the task has failed, and a repeat does not change it, nor pays for it."""
    job = job_of(0.5, count=6, max_attempts=1)
    job.size = 2
    bench.take(job.opened(), job.announced(0))
    first = by(job, "ann", 0)
    bench.take(first)
    assert (bench.counts(job), bench.codes(job)) == ((2, 1, 1, 0, 0), {1: "share"})
    bench.take(job.announced(1, 2), first)
    assert (bench.counts(job), bench.codes(job)) == ((6, 1, 1, 0, 4), {1: "share"})
    assert given(bench, job) == {"ann": 1}


def test_what_was_beyond_where_the_slot_had_failed_stays_so(bench: Bench) -> None:
    """The failure stands, and nobody else is asked; a repeat is no value for it, nor paid."""
    job = job_of(0.5, count=6)
    job.size = 2
    bench.take(job.opened(), job.announced(0), job.failed(0, judge="people", positions=[1]))
    bench.take(by(job, "ann", 0, positions=[0]))
    first = by(job, "ann", 0, positions=[1])
    assert asked(bench.events(first)) == []
    before = bench.counts(job), bench.codes(job), given(bench, job)
    bench.take(job.announced(1, 2))
    bench.take(first)
    assert before == ((2, 1, 1, 0, 0), {1: "error"}, {"ann": 1, "w": 0})
    assert (bench.counts(job)[:3], bench.codes(job), given(bench, job)) == ((6, 1, 1), *before[1:])


def test_a_job_that_an_earlier_version_opened_has_no_share(bench: Bench) -> None:
    """Nobody counted what was asked then: what was given is not held against it, and all is paid."""
    stages = [{"judges": ["one"], "accept": {"agree": 2}}, {"judges": [{"people": 1}]}]
    job = job_of(0.5, stages)
    bench.take(*job.news(), job.judged(0))
    bench.take(by(job, "ann", 0, stage=1, positions=[0, 1]))
    bench.store.write(lambda c: c.execute(sa.update(tables.jobs).values(traffic=None)))
    bench.take(job.judged(1))
    assert asked(bench.events(by(job, "ann", 0, stage=1, positions=[2, 3, 4]), by(job, "bob", 1, stage=1))) == []
    assert given(bench, job) == {"ann": 5, "bob": 5}
    assert bench.state(job) == "complete"
    people = rewards.of_job(bench.store, job.id)["people"]
    assert [(one["share"], one["left"]) for one in people] == [(0.5, None), (0.5, None)]


def test_nobody_else_is_there(bench: Bench) -> None:
    """When all attempts are used up the tasks have failed, and say why; the job ends."""
    job = job_of(0.4)
    bench.take(*job.news())
    for suite in (0, 1):
        positions = job.sent(suite)
        for attempt in (1, 2, 3):
            bench.take(by(job, "ann", suite, positions=positions, attempt=attempt))
            positions = [4] if suite == 0 else positions
    assert bench.counts(job) == (10, 4, 6, 0, 0)
    assert bench.state(job) == "partial"
    assert bench.codes(job) == dict.fromkeys([4, *range(5, 10)], "share")


def test_of_a_later_stage_only_what_came_to_it_counts(bench: Bench) -> None:
    """A quarter of the four judgments that were asked of people so far is one; what is added makes room."""
    stages = [{"judges": ["one"], "accept": {"agree": 2}}, {"judges": [{"people": 2}]}]
    job = job_of(0.25, stages, budget=1000)
    bench.take(*job.news())
    assert len(asked(bench.events(job.judged(0, positions=[0, 1])))) == 2
    later = {"stage": 1, "positions": [0, 1]}
    assert asked(bench.events(by(job, "ann", 0, **later))) == [(1, "people", 0, [1], "share")]
    bench.take(job.judged(0, positions=[2, 3]))
    assert asked(bench.events(by(job, "ann", 0, **{**later, "positions": [2, 3]}))) == [(1, "people", 0, [3], "share")]
    assert bench.progress(job)["spent"] == 8  # what is unpaid is reckoned with once


@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_things_goes_beyond_the_share(store: Store, seed: int) -> None:
    """One who takes whatever there is, messages twice and in any order, replicas that come and go: the job ends."""
    draw = random.Random(seed)
    job = job_of(0.3, [{"judges": [{"people": 2}], "accept": {"agree": 2, "at_most": 4}}], 12, max_attempts=10)
    bench = Bench(store)
    bench.take(*job.news())
    waiting = [(s, 0, slot, job.sent(s), 1) for s in range(job.suites) for slot in (0, 1)]
    heard: list[Judgments] = []
    while waiting:
        suite, stage, slot, positions, attempt = waiting.pop(draw.randrange(len(waiting)))
        worker = draw.choice(["hog", "hog", "hog", "ann", "bob", "cy", "dee", "eve"])
        values = [draw.choice("ab") for _ in positions]
        message = job.judged(
            suite, values, judge="people", stage=stage, slot=slot, positions=positions, attempt=attempt, worker=worker
        )
        heard.append(message)
        new = {
            (e.data["suite"], e.data["slot"], e.data["attempt"], *e.data["positions"]): e.data
            for e in bench.events(message)
            if e.name == "suite.escalated"
        }
        waiting += [(d["suite"], d["stage"], d["slot"], d["positions"], d["attempt"]) for d in new.values()]
        before = given(bench, job)
        bench.take(draw.choice(heard))
        assert given(bench, job) == before
        bench = Bench(store) if draw.random() < 0.2 else bench
    plan = Plan.of(received(str(store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec))))))
    planned = shares.asked(store.read(lambda c: jobs.purse(c, job.id, plan)))
    assert 24 <= planned <= 48
    assert max(given(bench, job).values()) <= 0.3 * planned
    assert bench.state(job) in ("complete", "partial")
    assert bench.audit(job)["rewards"]["owed"] == 0


def test_replicas_see_what_others_gave(store: Store) -> None:
    """Suites of one person, taken in by several threads at once: the share holds."""
    job = dataclasses.replace(job_of(0.2, count=40), size=2)
    Bench(store).take(*job.news())
    threads = [
        threading.Thread(
            target=lambda suites=range(first, 20, 4): [Bench(store).take(by(job, "ann", suite)) for suite in suites]
        )
        for first in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert given(Bench(store), job) == {"ann": 8}
