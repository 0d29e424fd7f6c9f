"""What is particular to the embedded broker; what every broker must do is in `tests/broker`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from manyhands.broker import Delivery, Outgoing, Publisher, Verdict, connect
from manyhands.broker.embedded import EmbeddedBroker
from manyhands.deadletters import read_cause
from manyhands.errors import BrokerError, BrokerUnavailable, Refused, SettingsError
from manyhands.topology import Binding, Exchange, Names, Queue, Topology, topology

NAMES = Names(partitions=1)
TASKS = NAMES.tasks_queue("a")
#: seconds; a wait that long is a failure
SOON = 20.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker with a whole topology."""
    broker = EmbeddedBroker("memory://")
    broker.declare(topology(NAMES, ["a"]))
    yield broker
    broker.close()


def publish(publisher: Publisher, route: tuple[str, str], body: bytes = b"body", **headers: object) -> None:
    """Publish and wait for the confirm; raises what it says."""
    said: Future[BrokerError | None] = Future()
    exchange, key = route
    publisher.publish(
        Outgoing(exchange=exchange, key=key, body=body, type="suite.v1", headers=headers), said.set_result
    )
    if error := said.result(SOON):
        raise error


def one(broker: EmbeddedBroker, queue: str) -> Delivery:
    """The next message of a queue; acked."""
    consumer = broker.consumer([queue], prefetch=1)
    (delivery,) = consumer.receive(1, SOON)
    consumer.settle([delivery], Verdict.ACK)
    consumer.close()
    return delivery


def test_connect() -> None:
    """`memory://` is this broker; its version is known once something was asked of it."""
    broker = connect("memory://")
    assert isinstance(broker, EmbeddedBroker)
    assert broker.version == ""
    assert broker.depth("nowhere") is None
    assert broker.version.startswith("kombu 5.")
    assert broker.version.endswith("memory")
    broker.close()


def test_each_is_a_broker_of_its_own(broker: EmbeddedBroker) -> None:
    """Two brokers in one process share nothing, even with the same URL."""
    other = EmbeddedBroker("memory://")
    other.declare(topology(NAMES, ["a"]))
    publish(broker.publisher(), NAMES.to_judge("a"))
    assert broker.depth(TASKS) == (1, 0)
    assert other.depth(TASKS) == (0, 0)
    other.close()


def test_a_publish_wakes_a_consumer(broker: EmbeddedBroker) -> None:
    """A consumer that waits is woken by a publish, a stop and a larger prefetch; nobody polls."""
    consumer = broker.consumer([TASKS], prefetch=1)
    publisher = broker.publisher()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(consumer.receive, 1, 3600.0)
        publish(publisher, NAMES.to_judge("a"), b"1")
        assert [d.body for d in first.result(SOON)] == [b"1"]
        publish(publisher, NAMES.to_judge("a"), b"2")
        second = pool.submit(consumer.receive, 1, 3600.0)
        consumer.resize(2)
        assert [d.body for d in second.result(SOON)] == [b"2"]
        third = pool.submit(consumer.receive, 1, 3600.0)
        consumer.stop()
        assert third.result(SOON) == []


def test_settling_makes_room(broker: EmbeddedBroker) -> None:
    """A consumer that waits with its prefetch in hand is woken when another thread settles."""
    consumer = broker.consumer([TASKS], prefetch=1)
    publisher = broker.publisher()
    for body in (b"1", b"2"):
        publish(publisher, NAMES.to_judge("a"), body)
    held = consumer.receive(1, SOON)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(consumer.receive, 1, 3600.0)
        consumer.settle(held, Verdict.ACK)
        assert [d.body for d in waits.result(SOON)] == [b"2"]


def test_a_queue_that_is_declared_wakes_its_consumer() -> None:
    """A consumer that came before its queue gets the queue's first message."""
    broker = EmbeddedBroker()
    consumer = broker.consumer([TASKS], prefetch=1)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(consumer.receive, 1, 3600.0)
        broker.declare(topology(NAMES, ["a"]))
        publish(broker.publisher(), NAMES.to_judge("a"))
        assert len(waits.result(SOON)) == 1
    broker.close()


def test_the_next_single_active_consumer_is_woken(broker: EmbeddedBroker) -> None:
    """When the active consumer closes, the one that waits takes over at once."""
    queue = NAMES.judgments_queue(0)
    first, second = broker.consumer([queue], prefetch=1), broker.consumer([queue], prefetch=1)
    publish(broker.publisher(), NAMES.to_aggregator("j", 0))
    assert len(first.receive(1, SOON)) == 1
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(second.receive, 1, 3600.0)
        first.close()
        (again,) = waits.result(SOON)
    assert (again.redelivered, again.delivery_count) == (True, 1)


def test_confirms_come_from_another_thread(broker: EmbeddedBroker) -> None:
    """A caller may hold a lock that its callback takes."""
    lock, done = threading.Lock(), threading.Event()

    def confirmed(_error: BrokerError | None) -> None:
        with lock:
            done.set()

    exchange, key = NAMES.to_judge("a")
    with lock:
        broker.publisher().publish(Outgoing(exchange=exchange, key=key, body=b"", type="suite.v1"), confirmed)
    assert done.wait(SOON)


def test_a_callback_that_raises(broker: EmbeddedBroker) -> None:
    """A callback that raises does not keep the next from being called."""
    publisher = broker.publisher()
    exchange, key = NAMES.to_judge("a")
    publisher.publish(Outgoing(exchange=exchange, key=key, body=b"", type="suite.v1"), lambda _: 1 / 0)  # type: ignore[arg-type]
    publish(publisher, NAMES.to_judge("a"))
    assert publisher.flush(SOON)


def test_closing_frees_who_waits_for_the_window(broker: EmbeddedBroker) -> None:
    """A publish that waits for room when its publisher closes fails with `BrokerUnavailable`."""
    publisher = broker.publisher(window=1)
    exchange, key = NAMES.to_judge("a")
    message = Outgoing(exchange=exchange, key=key, body=b"", type="suite.v1")
    inside, go_on = threading.Event(), threading.Event()
    said: Future[BrokerError | None] = Future()

    def first(_error: BrokerError | None) -> None:
        inside.set()
        go_on.wait(SOON)

    publisher.publish(message, first)
    assert inside.wait(SOON)
    assert not publisher.flush(0)
    with ThreadPoolExecutor(2) as pool:
        waits = pool.submit(publisher.publish, message, said.set_result)
        closes = pool.submit(publisher.close)
        waits.result(SOON)
        go_on.set()
        closes.result(SOON)
    assert isinstance(said.result(SOON), BrokerUnavailable)


def test_a_full_queue_refuses(broker: EmbeddedBroker) -> None:
    """A queue at its length refuses; the messages in it are untouched."""
    queue = Queue(name="short", max_length=2)
    broker.declare(Topology(queues=(queue,)))
    publisher = broker.publisher()
    publish(publisher, ("", "short"))
    publish(publisher, ("", "short"))
    with pytest.raises(Refused, match="short is full"):
        publish(publisher, ("", "short"))
    assert broker.depth("short") == (2, 0)


def test_headers_are_the_caller_s(broker: EmbeddedBroker) -> None:
    """Headers that kombu would act upon travel as they are."""
    publish(broker.publisher(), NAMES.to_judge("a"), b"not gzip", compression="gzip", redelivered=True)
    got = one(broker, TASKS)
    assert (got.body, dict(got.headers)) == (b"not gzip", {"compression": "gzip", "redelivered": True})
    assert not got.redelivered


def small(*, limit: int = 1, ttl: float | None = None, target: str = "dead") -> Topology:
    """One queue with a delivery limit or a time to live, whose dead letters go to an exchange with one binding."""
    return Topology(
        exchanges=(Exchange(name="in", kind="direct"), Exchange(name="dead", kind="topic")),
        queues=(Queue(name="work", dead_letter=(target, None), delivery_limit=limit, ttl=ttl), Queue(name="morgue")),
        bindings=(Binding(exchange="in", queue="work", key="k"), Binding(exchange="dead", queue="morgue", key="#")),
    )


def test_the_cause_of_a_death_can_be_read(broker: EmbeddedBroker) -> None:
    """A message past its delivery limit says so in words that `read_cause` knows; its counts start anew."""
    broker.declare(small())
    publish(broker.publisher(), ("in", "k"), mine=1)
    for _ in range(2):
        consumer = broker.consumer(["work"], prefetch=1)
        assert len(consumer.receive(1, SOON)) == 1
        consumer.close()
    dead = one(broker, "morgue")
    cause = read_cause(dead, 0.0)
    assert cause.code == "delivery-limit"
    assert "work" in cause.error
    assert (dead.delivery_count, dead.redelivered, dead.headers["mine"]) == (0, False, 1)


def test_hand_backs_do_not_count(broker: EmbeddedBroker) -> None:
    """What is handed back, however often, is never dead-lettered."""
    broker.declare(small())
    publish(broker.publisher(), ("in", "k"))
    consumer = broker.consumer(["work"], prefetch=1)
    for _ in range(10):
        held = consumer.receive(1, SOON)
        assert held[0].delivery_count == 0
        consumer.settle(held, Verdict.HAND_BACK)
    assert broker.counts_hand_backs is False
    assert broker.depth("morgue") == (0, 0)


def test_a_dead_letter_that_nobody_takes_stays(broker: EmbeddedBroker) -> None:
    """Where no queue takes a dead letter it stays in its own: nothing is dropped."""
    broker.declare(small(target="nowhere"))
    publish(broker.publisher(), ("in", "k"))
    consumer = broker.consumer(["work"], prefetch=1)
    for count in range(5):
        held = consumer.receive(1, SOON)
        assert held[0].delivery_count == count
        consumer.settle(held, Verdict.FAILED)
    assert broker.depth("work") == (1, 1)


def test_expiry(broker: EmbeddedBroker) -> None:
    """Messages of a queue with a time to live wait in it, and come out in their order."""
    broker.declare(small(ttl=0.2))
    publisher = broker.publisher()
    for body in (b"1", b"2", b"3"):
        publish(publisher, ("in", "k"), body)
    assert broker.depth("work") == (3, 0)
    got = [one(broker, "morgue") for _ in range(3)]
    assert [d.body for d in got] == [b"1", b"2", b"3"]
    assert all(d.key == "k" and d.headers["x-death"][0]["reason"] == "expired" for d in got)
    assert broker.depth("work") == (0, 0)


def test_what_is_held_of_a_deleted_queue(broker: EmbeddedBroker) -> None:
    """What is held of a queue that is deleted is gone with it, and settling it does nothing."""
    publish(broker.publisher(), NAMES.to_judge("a"))
    consumer = broker.consumer([TASKS], prefetch=1)
    held = consumer.receive(1, SOON)
    broker.delete(topology(NAMES, ["a"]))
    assert (consumer.registered, consumer.ready) == (0, False)
    broker.declare(topology(NAMES, ["a"]))
    assert consumer.ready
    consumer.settle(held, Verdict.HAND_BACK)
    assert broker.depth(TASKS) == (0, 1)


def test_a_transport_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis without its client is one sentence that says what is missing, and no password."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "kombu.transport.redis", raising=False)
    broker = connect("redis://:secret@localhost:1/0")
    assert broker.durable
    with pytest.raises(SettingsError, match=r"install kombu\[redis\]") as caught:
        broker.declare(topology(NAMES, ["a"]))
    assert "secret" not in str(caught.value)
    broker.close()
