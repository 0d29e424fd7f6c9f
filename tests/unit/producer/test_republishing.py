"""What is published and not settled goes out once more: when asked to, and of a job that stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manyhands.broker import Delivery, Verdict, connect
from manyhands.errors import BrokerUnavailable, UnknownJob
from manyhands_producer.standstill import LOOK, Standstill
from tests.services import wait_until
from tests.unit.producer.support import Bench, HeldPublisher, job_spec
from tests.unit.producer.test_events import delivery, take
from tests.unit.producer.test_producer import aggregate, running

#: Seconds of patience in these tests.
AFTER = 600.0


def tasks(count: int) -> list[dict[str, Any]]:
    """Tasks to be pushed."""
    return [{"payload": i} for i in range(count)]


def test_only_what_is_unsettled_goes_out_again(tmp_path: Path) -> None:
    """The job's news and the suites that are in the spool, within the window; what is settled is not said again."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=3), tasks=tasks(12), seal=True)
    bench.publish()
    bench.settle(job, [0, 2])
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1, 2, 3, 4]
    bench.publisher.published.clear()
    assert bench.requests.republish(job)
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [1, 3, 4]
    assert (len(bench.told("job.opened", job)), bench.told("suites.opened", job)[0]["suites"]) == (1, [1, 3, 4])
    bench.settle(job, [1, 3, 4])
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [1, 3, 4, 5]
    assert len(bench.told("job.sealed", job)) == 1
    assert bench.requests.status(job)["published"] == 6


def test_a_confirm_of_before_counts_for_nothing(tmp_path: Path) -> None:
    """What was on its way to the broker when it was asked for is no reason not to publish it again."""
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(), tasks=tasks(2), seal=True)
    bench.publish()
    assert bench.requests.republish(job)
    publisher.confirm()
    bench.clock.turn(1)
    bench.pump.round()
    row = bench.store.job(job)
    assert (row.published, row.announced, row.closed) == (0, False, False)
    assert len(bench.suites(job)) == 2
    for _ in range(3):
        publisher.confirm()
        bench.publish()
    row = bench.store.job(job)
    assert (row.published, row.announced, row.closed) == (1, True, True)


def test_another_replica_is_asked(tmp_path: Path) -> None:
    """The one that publishes hears of it by the store."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(2))
    bench.publish()
    assert bench.store.republish(job)
    bench.publish()
    assert len(bench.suites(job)) == 1
    for row in bench.store.live():
        bench.board.moved(row)
    bench.publish()
    assert len(bench.suites(job)) == 2


def test_the_end_of_a_cancelled_job_is_said_again(tmp_path: Path) -> None:
    """Until the producer has heard that it ended; then there is nothing to say."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(4))
    bench.publish()
    bench.requests.cancel(job)
    bench.publish()
    assert bench.board.get(job) is None
    assert bench.requests.republish(job)
    bench.publish()
    assert [said["tasks"] for said in bench.told("job.cancelled", job)] == [4, 4]
    assert len(bench.suites(job)) == 2
    bench.store.settle({}, {job: {"state": "cancelled"}})
    assert not bench.requests.republish(job)
    with pytest.raises(UnknownJob):
        bench.requests.republish("nobody")


def test_a_job_stands_still(tmp_path: Path) -> None:
    """Nothing of it moved for long enough and its queues are empty: it is said once, and later with more patience."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=1), tasks=tasks(4))
    bench.publish()
    depth: dict[str, tuple[int, int]] = {}
    watch = Standstill(bench.settings.names, depth.get, bench.clock, AFTER)

    def looks(seconds: float) -> list[str]:
        bench.clock.turn(seconds)
        return watch.look(bench.board.jobs())

    assert looks(LOOK) == []
    assert looks(AFTER - 1) == []
    bench.settle(job, [0])
    bench.publish()
    assert looks(LOOK) == []  # it moved
    depth["retry.1s"] = (1, 0)
    assert looks(AFTER) == []  # what it waits for is on its way
    depth.clear()
    assert looks(LOOK) == [job]
    assert looks(1.5 * AFTER) == []
    assert looks(0.6 * AFTER) == [job]
    bench.settle(job, [1])
    assert looks(LOOK) == []
    assert looks(100 * AFTER) == []  # open, and nothing to do: it waits for its client


@pytest.mark.parametrize(
    ("first", "then", "bought"), [("j", "people", True), ("j", "k", False), ("people", "j", False)]
)
def test_people_take_their_time(tmp_path: Path, first: str, then: str, *, bought: bool) -> None:
    """What is with people is in no queue, and machines that have judged it are not asked again for that."""
    bench = Bench(tmp_path)
    stages = [{"judges": [first], "accept": {"confidence": 0.9}}, {"judges": [then]}]
    job = bench.requests.submit(job_spec(stages=stages), tasks=tasks(2), seal=True)
    bench.publish()
    watch = Standstill(bench.settings.names, lambda _: (0, 1), bench.clock, AFTER)
    published: list[str] = []
    for _ in range(100):
        bench.clock.turn(AFTER / 4)
        published += watch.look(bench.board.jobs())
    assert set(published) == (set() if bought else {job})


def test_what_is_asked_is_a_sign_of_life(tmp_path: Path) -> None:
    """A job of which no suite is settled for long, while its tasks go from stage to stage."""
    bench = Bench(tmp_path)
    stages = [{"judges": ["j"], "accept": {"confidence": 0.9}}, {"judges": ["k"]}]
    job = bench.requests.submit(job_spec(stages=stages), tasks=tasks(2), seal=True)
    bench.publish()
    watch = Standstill(bench.settings.names, lambda _: None, bench.clock, AFTER)
    data = {"suite": 0, "stage": 1, "judge": "k", "slot": 0, "positions": [0], "attempt": 1, "reason": "unsure"}
    for _ in range(8):
        assert watch.look(bench.board.jobs()) == []
        bench.clock.turn(AFTER / 2)
        take(bench, delivery("suite.escalated", job, **data))
    assert watch.look(bench.board.jobs()) == []
    bench.clock.turn(AFTER)
    assert watch.look(bench.board.jobs()) == [job]


def test_a_broker_that_is_away_is_no_standstill(tmp_path: Path) -> None:
    """What the queues hold is not known then; nor is anything looked at when that is switched off."""
    bench = Bench(tmp_path)
    bench.requests.submit(job_spec(), tasks=tasks(2), seal=True)
    bench.publish()

    def away(queue: str) -> None:
        raise BrokerUnavailable(queue)

    watch = Standstill(bench.settings.names, away, bench.clock, AFTER)
    off = Standstill(bench.settings.names, lambda _: None, bench.clock, 0)
    for _ in range(3):
        bench.clock.turn(AFTER)
        assert watch.look(bench.board.jobs()) == off.look(bench.board.jobs()) == []


def test_what_the_broker_lost_is_published_by_itself(tmp_path: Path) -> None:
    """The whole producer: suites are gone from their queue; after a while they are there again, and the job ends."""
    broker = connect("memory://")
    try:
        with running(tmp_path, broker, republish_after=0.3) as producer:
            job = producer.submit(job_spec(), tasks=tasks(6), seal=True)
            gone: list[Delivery] = []
            loses = broker.consumer(["tasks.j", "events.aggregator"], prefetch=10)

            def lost() -> bool:
                gone.extend(some := loses.receive(10, 0.1))
                loses.settle(some, Verdict.ACK)
                return len(gone) == 3 + 3

            wait_until(lost, 10, "three suites and the news of them", every=0)
            loses.close()
            aggregate(broker, job, 3)
            wait_until(lambda: producer.status(job)["state"] == "ended", 10, "the end", every=0.01)
    finally:
        broker.close()
