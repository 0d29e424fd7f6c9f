"""Replicas that take in the same messages at the same time: the store's locks keep every account right."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

import pytest
import sqlalchemy as sa

from manyhands.messages import Failure, Message
from manyhands_service.store import Store
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, open_store

LARGE = Failure(code="too-large", message="m")


def at_once(*work: Callable[[], None]) -> None:
    """Run all of it in threads that start together; what one raises is raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(work))

    def run(one: Callable[[], None]) -> None:
        barrier.wait()
        try:
            one()
        except BaseException as error:  # noqa: BLE001  it is raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=[one]) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def replica(url: str, messages: Sequence[Message], seed: int) -> Callable[[], None]:
    """A replica with connections of its own that takes in the messages in its own order, with upkeep in between."""

    def work() -> None:
        chance = random.Random(seed)
        todo = list(messages)
        chance.shuffle(todo)
        store = open_store(url)
        bench = Bench(store)
        while todo:
            batch, todo = todo[:7], todo[7:]
            bench.take(*(delivery(m) for m in batch))
            if chance.random() < 0.2:
                bench.swept()
        bench.swept()
        store.close()

    return work


def _deadlocks(store: Store) -> int:
    if store.engine.dialect.name == "sqlite":
        return 0
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(store.read(lambda c: c.scalar(sa.text(query))) or 0)


def test_replicas_racing_on_the_same_suites(store: Store, store_url: str) -> None:
    """Each of three takes in everything: no judgment is lost, none counts twice, nobody waits in a circle."""
    jobs = [Job(count=20, size=2, judges=["one", "two"], refused={4: LARGE, 5: LARGE, 7: LARGE}) for _ in range(3)]
    messages: list[Message] = []
    for job in jobs:
        messages += [job.opened(), job.sealed(), job.announced(*range(5)), job.announced(*range(5, 10))]
        for suite in range(10):
            if job.sent(suite):
                messages += [job.judged(suite), job.judged(suite, "b", judge="two")]
        messages += [job.failed(0, positions=[1]), job.judged(1, "?"), job.judged(9, judge="stranger")]
    before = _deadlocks(store)
    at_once(*(replica(store_url, messages, seed) for seed in range(3)))
    bench = Bench(store)
    for job in jobs:
        assert bench.counts(job) == (20, 17, 3, 0, 0)
        assert bench.progress(job)["judgments"] in (34, 35)  # 35 where the failure came before the value that mends it
        assert bench.state(job) == "partial"
    assert _deadlocks(store) == before


@pytest.mark.parametrize("seed", range(4))
def test_a_cancellation_racing_with_judgments(store: Store, store_url: str, seed: int) -> None:
    """Whoever comes first, the account balances."""
    job = Job(count=40, size=1)
    bench = Bench(store)
    bench.take(*job.news())
    judged = [job.judged(s) for s in range(40)]
    at_once(
        replica(store_url, judged[:20], seed), replica(store_url, judged[20:], seed),
        replica(store_url, [job.cancelled()], seed),
    )  # fmt: skip
    tasks, answered, failed, cancelled, left = bench.counts(job)
    assert (tasks, failed, left) == (40, 0, 0)
    assert answered + cancelled == 40
    assert bench.state(job) == ("cancelled" if cancelled else "complete")


def test_a_deadline_racing_with_judgments(store: Store, store_url: str) -> None:
    """Two replicas end the job by its deadline while two take in judgments."""
    job = Job(count=40, size=2, judges=["one", "two"], more={"deadline": 10})
    bench = Bench(store)
    bench.take(*job.news())
    bench.take(*(job.judged(s) for s in range(10)))

    def overdue() -> None:
        own = open_store(store_url)
        late = Bench(own)
        late.fake_clock.turn(11)
        late.swept()
        own.close()

    seconds = [job.judged(s, "b", judge="two") for s in range(20)]
    at_once(overdue, replica(store_url, seconds, 1), overdue, replica(store_url, seconds, 2))
    tasks, answered, failed, _, left = bench.counts(job)
    assert (tasks, left) == (40, 0)
    assert answered + failed == 40
    bench.take(*(job.judged(s) for s in range(20)), *seconds)
    assert bench.counts(job) == (40, 40, 0, 0, 0)
    assert bench.state(job) == "complete"


def test_letters_filed_by_two_at_once(store: Store, store_url: str) -> None:
    """The same letters, in another order, are filed once each."""
    job = Job(count=40, size=2)
    letters = [delivery(job.suite(s), NAMES.queue("dead.unrouted")) for s in range(20)]

    def file(order: Sequence[int]) -> Callable[[], None]:
        def work() -> None:
            own = open_store(store_url)
            Bench(own).take(*(letters[i] for i in order))
            own.close()

        return work

    before = _deadlocks(store)
    at_once(file(range(20)), file(range(19, -1, -1)))
    assert store.read(lambda c: c.scalar(sa.text("SELECT count(*) FROM aggregator_dead"))) == 20
    assert store.read(lambda c: c.scalar(sa.text("SELECT min(times) FROM aggregator_dead"))) == 2
    assert _deadlocks(store) == before
