"""What people earn, in the store: written with the judgments, whatever comes twice, late, or is lost on the way."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from manyhands import metrics
from manyhands.clock import Clock
from manyhands.errors import StoreUnavailable, UnknownJob
from manyhands.messages import Judgments
from manyhands.spec import parse
from manyhands.testing import FakeClock
from manyhands_aggregator import ledger, rewards, tables
from manyhands_aggregator.plan import Plan
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, open_store, plain_spec

REWARDS = {"judgment": 0.05, "gold": 0.02, "agreement": 0.01, "penalty": 0.04, "floor": 12}


def job_of(people: int = 2, **rewards_: Any) -> Job:
    """Six tasks in suites of two, judged by people; the first task is gold, and its truth is a."""
    more = {"rewards": {**REWARDS, **rewards_}, "gold": {"path": "gold.csv"}}
    return Job(judges=[{"people": people}], more=more, truths=["a", *[None] * 5])


def by(worker: str, message: Judgments, seconds: float = 1.0) -> Judgments:
    """The message of a person who took so long."""
    return dataclasses.replace(message, worker=worker, finished=message.started + seconds)


def entries(store: Store, job: Job) -> list[tuple[Any, ...]]:
    """The ledger: suite, slot, person, kind, number, amount."""
    columns = [tables.ledger.c[name] for name in ("suite", "slot", "worker", "kind", "number", "amount")]
    query = sa.select(*columns).where(tables.ledger.c.job == job.id).order_by(*columns)
    return [tuple(row) for row in store.read(lambda c: c.execute(query).all())]


def earned(store: Store, job: Job) -> dict[str, str]:
    """What each person has earned."""
    return {row["worker"]: row["earned"] for row in rewards.of_job(store, job.id)["people"]}


def test_paid_with_the_judgments_and_the_rest_with_the_answers(store: Store) -> None:
    """Judgments and gold at once; the bonus for agreement when there is an answer to agree with."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news(), by("ann", job.judged(0, ["a", "b"], judge="people")))
    assert entries(store, job) == [
        (0, 0, "ann", "gold", 0, 20_000),
        (0, 0, "ann", "judgment", 0, 100_000),
    ]
    bench.take(by("bob", job.judged(0, ["c", "b"], judge="people", slot=1)))
    assert entries(store, job) == [
        (0, 0, "ann", "agreement", 0, 10_000),
        (0, 0, "ann", "gold", 0, 20_000),
        (0, 0, "ann", "judgment", 0, 100_000),
        (0, 1, "bob", "agreement", 0, 10_000),
        (0, 1, "bob", "judgment", 0, 100_000),
        (0, 1, "bob", "penalty", 0, -40_000),
    ]
    assert earned(store, job) == {"ann": "0.13", "bob": "0.07"}
    assert bench.audit(job)["rewards"] == {"earned": 200_000, "owed": 0}


def test_wages_and_shares_are_told(store: Store) -> None:
    """By the hour and below the floor; who has worked for a few seconds is not judged by it."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people"), 1800.0))
    bench.take(by("bob", job.judged(1, "b", judge="people", slot=1)), by("bob", job.judged(2, "b", judge="people")))
    said = rewards.of_job(store, job.id)
    ann, bob = said["people"]
    assert (ann["earned"], ann["hourly"], ann["below_floor"], ann["share"]) == ("0.12", "0.24", True, 0.333333)
    assert (bob["judgments"], bob["seconds"], bob["below_floor"]) == (4, 2.0, False)
    assert said["earned"] == "0.34"


@pytest.mark.parametrize(("seconds", "told"), [(1e300, 30 * 86_400), (-5.0, 0)])
def test_a_clock_may_say_anything(store: Store, seconds: float, told: float) -> None:
    """Who judged is paid all the same, and their judgments count."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people"), seconds))
    (ann,) = rewards.of_job(store, job.id)["people"]
    assert (ann["earned"], ann["seconds"]) == ("0.1", told)


def test_wages_below_the_floor_are_measured(store: Store) -> None:
    """As long as the job is open, by whoever works long enough to tell; and the same after a correction."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people"), 599.0))
    assert store.read(rewards.below_floor) == 0
    bench.take(by("ann", job.judged(2, "b", judge="people"), 1.0))
    bench.take(by("bob", job.judged(1, "b", judge="people", slot=1)))
    assert store.read(rewards.below_floor) == 1
    bench.upkeep.measure()
    assert metrics.BELOW_FLOOR._value.get() == 1
    bench.take(by("bob", job.judged(2, "b", judge="people", slot=1)))
    for slot in (0, 1):
        bench.take(by("cy" * (slot + 1), job.judged(0, "b", judge="people", slot=slot)))
    assert bench.state(job) == "complete"
    assert store.read(rewards.below_floor) == 0


def test_who_judges_twice_is_paid_once(store: Store) -> None:
    """A person counts once a task, whatever slot it takes; and is told so by the ledger, not by an error."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news())
    bench.take(by("ann", job.judged(1, "b", judge="people", slot=1)))
    bench.take(by("ann", job.judged(1, "b", judge="people", slot=0)))
    assert earned(store, job) == {"ann": "0.12"}
    assert bench.audit(job)["conserved"]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_twice_late_or_is_lost(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of any size, messages repeated, aggregators that die before they commit, a deadline in between.

    At the end the ledger has what a single pass over all of it comes to, and the audit finds nothing owed.
    """
    lot = random.Random(seed)
    job = job_of(people=3, per_person=0.3)
    messages = [
        by(worker, job.judged(suite, [lot.choice("abc") for _ in range(2)], judge="people", slot=slot))
        for suite in range(3)
        for slot, worker in enumerate(lot.sample(["ann", "bob", "cy", "dee"], 3))
    ]
    job.more = {**job.more, "deadline": 100.0} if seed % 3 == 0 else job.more
    once = Bench(open_store(f"sqlite:///{tmp_path}/once.db"))
    once.take(*job.news(), *messages)
    store = open_store(f"sqlite:///{tmp_path}/often.db")
    clock: Clock = FakeClock()
    bench = Bench(store, clock)
    bench.take(*job.news())
    arriving: list[Judgments] = messages * 2
    lot.shuffle(arriving)
    written: list[tuple[Any, ...]] = []
    while arriving:
        batch, arriving = arriving[: (size := lot.randint(1, 5))], arriving[size:]
        if lot.random() < 0.3:
            _lost(bench, batch, monkeypatch)
            assert entries(store, job) == written
        if lot.random() < 0.2:
            bench = Bench(store, clock)  # another replica goes on
        bench.take(*batch)
        now = entries(store, job)
        assert set(written) <= set(now)  # added to, and never changed
        written = now
        assert bench.audit(job)["rewards"]["owed"] == 0
    assert earned(store, job) == earned(once.store, job)
    assert max(float(amount) for amount in earned(store, job).values()) <= 0.3
    assert bench.audit(job)["conserved"]


def _lost(bench: Bench, batch: Sequence[Judgments], monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is taken in, and the process dies before the commit."""
    write = bench.store.write

    def dying(work: Callable[[sa.Connection], Any]) -> None:
        def then(connection: sa.Connection) -> None:
            work(connection)
            raise StoreUnavailable("gone")

        write(then)

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "write", dying)
        with pytest.raises(StoreUnavailable):
            bench.take(*batch)


def test_the_deadline_brings_the_answers_that_bonuses_are_for(store: Store) -> None:
    """What is decided on what there is pays as any other answer."""
    bench, job = Bench(store), job_of(people=2)
    job.more = {**job.more, "deadline": 5.0}
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people")))
    assert earned(store, job) == {"ann": "0.1"}
    bench.fake_clock.turn(1000)
    bench.swept()
    assert bench.state(job) == "partial"
    assert earned(store, job) == {"ann": "0.12"}
    assert bench.audit(job)["rewards"]["owed"] == 0


def test_two_replicas_at_once(store: Store) -> None:
    """Suites of one person, taken in by several threads: the cap holds, and no entry is written twice."""
    job = dataclasses.replace(job_of(people=1, per_person=0.5), count=40)
    Bench(store).take(*dataclasses.replace(job, truths=None).news())
    threads = [
        threading.Thread(
            target=lambda suites=range(first, 20, 4): [
                Bench(store).take(by("ann", job.judged(suite, "b", judge="people"))) for suite in suites
            ]
        )
        for first in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert earned(store, job) == {"ann": "0.5"}
    assert Bench(store).audit(job)["rewards"] == {"earned": 500_000, "owed": 0}


def test_the_audit_finds_what_is_owed(store: Store) -> None:
    """An entry that is missing, and one too many."""
    bench, job = Bench(store), job_of()
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people")))
    store.write(lambda c: c.execute(sa.delete(tables.ledger)))
    account = ledger.audit(store, job.id)
    assert account["rewards"] == {"earned": 0, "owed": 100_000}
    assert not account["conserved"]


def test_without_rewards_nothing_is_written(store: Store) -> None:
    """Nor told; nobody knows an unknown job."""
    bench, job = Bench(store), Job(judges=[{"people": 1}])
    bench.take(*job.news(), by("ann", job.judged(1, "b", judge="people")))
    assert entries(store, job) == []
    assert rewards.of_job(store, job.id) == {"job": job.id, "earned": "0", "people": []}
    assert "rewards" not in bench.audit(job)
    with pytest.raises(UnknownJob):
        rewards.of_job(store, "nobody")


def test_a_budget_reckons_with_the_most_that_a_person_may_earn() -> None:
    """What is asked of people costs the reward and the greater bonus, and the cap of the job bounds its budget."""
    spec = plain_spec(["one", {"people": 2}], rewards={"judgment": 0.05, "agreement": 0.01, "per_job": 30}, budget=40)
    plan = Plan.of(parse(spec))
    assert plan.steps[0].prices == {"one": 0, "people": 60_000}
    assert plan.budget == 30_000_000
    assert plan.spec.affordable == 30_000_000 // 120_000  # the producer sends no more than can be paid for
