"""What every broker adapter must do: `manyhands.broker.protocol` as tests, run on each through its `broker` fixture."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from manyhands.broker import Broker, Consumer, Delivery, Outgoing, Publisher, Puller, Verdict
from manyhands.errors import BrokerError, BrokerUnavailable, TopologyConflict, Unroutable
from manyhands.topology import Names, Queue, Topology, topology
from tests.services import wait_until

#: seconds in which anything that must happen happens; generous, because the machine may be busy
SOON = 20.0
#: seconds after which what has not come is taken not to come
NEVER = 0.4


class Confirms:
    """Collects what a publisher says of the messages given to it."""

    def __init__(self) -> None:
        self._said: queue.Queue[BrokerError | None] = queue.Queue()

    def __call__(self, error: BrokerError | None) -> None:
        """What a publisher calls."""
        self._said.put(error)

    def next(self) -> BrokerError | None:
        """Wait for the next settled publish."""
        return self._said.get(timeout=SOON)

    def all(self, count: int) -> list[BrokerError | None]:
        """Wait for `count` of them."""
        return [self.next() for _ in range(count)]


def part(names: Names, *queues: str, judges: tuple[str, ...] = ("a", "b")) -> Topology:
    """All exchanges of an installation but only some of its queues: a quorum queue is slow to make."""
    whole = topology(names, judges)
    wanted = {names.queue(name) for name in queues}
    return Topology(
        exchanges=whole.exchanges,
        queues=tuple(q for q in whole.queues if q.name in wanted),
        bindings=tuple(b for b in whole.bindings if b.queue in wanted),
    )


def limited(names: Names, limit: int) -> Topology:
    """The queue of judge a with another delivery limit, and the queue for what passes it."""
    whole = part(names, "tasks.a", "dead.tasks")
    queues = tuple(
        Queue(name=q.name, dead_letter=q.dead_letter, delivery_limit=limit) if q.dead_letter else q
        for q in whole.queues
    )
    return Topology(exchanges=whole.exchanges, queues=queues, bindings=whole.bindings)


def message(route: tuple[str, str], body: bytes = b"body", type_: str = "suite.v1") -> Outgoing:
    """A message for a route."""
    exchange, key = route
    return Outgoing(exchange=exchange, key=key, body=body, type=type_)


def publish(publisher: Publisher, *messages: Outgoing) -> None:
    """Publish and wait until all is confirmed."""
    confirms = Confirms()
    for each in messages:
        publisher.publish(each, confirms)
    assert confirms.all(len(messages)) == [None] * len(messages)


def numbered(route: tuple[str, str], count: int) -> list[Outgoing]:
    """Messages whose bodies are their numbers."""
    return [message(route, str(n).encode()) for n in range(count)]


def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Receive exactly `count` deliveries, no matter in how many goes."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + SOON
    while len(taken) < count:
        assert time.monotonic() < deadline, f"received {len(taken)} of {count}"
        taken += consumer.receive(count - len(taken), 0.25)
    return taken


def fill(consumer: Consumer) -> list[Delivery]:
    """Receive until nothing more comes."""
    taken: list[Delivery] = take(consumer, 1)
    while more := consumer.receive(1000, NEVER):
        taken += more
    return taken


def ready(consumer: Consumer) -> Consumer:
    """Wait until the consumer is registered on all its queues."""
    wait_until(lambda: consumer.ready, SOON, "the consumer to be registered", every=0.01)
    return consumer


def pulling(puller: Puller) -> Puller:
    """Wait until the puller can ask."""
    wait_until(lambda: puller.ready, SOON, "the puller to be ready", every=0.01)
    return puller


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    """What they carry."""
    return [d.body for d in deliveries]


def depth(broker: Broker, name: str, messages: int) -> None:
    """Wait until a queue holds this many ready messages."""
    wait_until(
        lambda: (broker.depth(name) or (-1, 0))[0] == messages,
        SOON,
        f"{name} to hold {messages}, not {broker.depth(name)}",
    )


class Conformance:
    """The tests; an adapter's test class inherits them and has a `broker` fixture."""

    @pytest.fixture
    def names(self, broker: Broker) -> Iterator[Names]:
        """Names that no other test uses; what is declared under them is removed afterwards."""
        names = Names(namespace=f"t{uuid.uuid4().hex[:8]}", partitions=1)
        yield names
        broker.delete(topology(names, ["a", "b"]))

    @pytest.fixture
    def publisher(self, broker: Broker) -> Iterator[Publisher]:
        """A publisher."""
        publisher = broker.publisher(window=100)
        yield publisher
        publisher.close()

    # -- publishing ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("body", [b"", b"few", b"\x00\xff" * 200_000], ids=["empty", "few", "400 kB"])
    def test_round_trip(self, broker: Broker, names: Names, publisher: Publisher, body: bytes) -> None:
        """Body, type, encoding, headers, key and queue arrive as they were sent; a first delivery says so."""
        broker.declare(part(names, "tasks.a"))
        exchange, key = names.to_judge("a")
        headers = {"traceparent": "00-4bf9-00f0-01", "n": 3, "mh-published": "1700000000.123"}
        sent = Outgoing(
            exchange=exchange, key=key, body=body, type="suite.v1", content_encoding="zstd", headers=headers
        )
        publish(publisher, sent)
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        (got,) = take(consumer, 1)
        assert (got.body, got.type, got.content_encoding, got.key) == (body, "suite.v1", "zstd", "a")
        assert got.queue == names.tasks_queue("a")
        assert headers.items() <= dict(got.headers).items()
        assert (got.delivery_count, got.redelivered) == (0, False)
        consumer.close()

    def test_without_encoding_and_headers(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A message without encoding and headers arrives without an encoding."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a")))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        (got,) = take(consumer, 1)
        assert got.content_encoding is None
        assert not got.headers
        consumer.close()

    def test_each_publish_is_confirmed_once(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """With several threads publishing, every callback is called exactly once and without an error."""
        broker.declare(part(names, "tasks.a"))
        said: Counter[tuple[int, int]] = Counter()
        errors: list[BrokerError] = []
        lock = threading.Lock()

        def send(thread: int) -> None:
            for n in range(150):

                def confirmed(error: BrokerError | None, n: int = n) -> None:
                    with lock:
                        said[thread, n] += 1
                        if error:
                            errors.append(error)

                publisher.publish(message(names.to_judge("a")), confirmed)

        threads = [threading.Thread(target=send, args=(t,)) for t in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert publisher.flush(SOON)
        assert errors == []
        assert set(said.values()) == {1}
        assert len(said) == 450
        depth(broker, names.tasks_queue("a"), 450)

    def test_unroutable(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A message that no queue takes fails with `Unroutable`, alone among those around it."""
        broker.declare(part(names, "judgments.0"))
        good, bad = names.to_aggregator("job", 1), (names.exchange("judgments"), "nowhere")
        said: queue.Queue[tuple[int, BrokerError | None]] = queue.Queue()
        for n, route in enumerate([good, bad, good, bad, bad, good]):
            publisher.publish(message(route), lambda error, n=n: said.put((n, error)))  # type: ignore[misc]
        outcome = dict(said.get(timeout=SOON) for _ in range(6))
        assert [n for n in range(6) if outcome[n] is None] == [0, 2, 5]
        assert all(isinstance(outcome[n], Unroutable) for n in (1, 3, 4))

    def test_missing_exchange(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A message for an exchange that does not exist fails with `Unroutable`; the publisher goes on."""
        broker.declare(part(names, "tasks.a"))
        confirms = Confirms()
        publisher.publish(message(("no.such.exchange", "a")), confirms)
        assert isinstance(confirms.next(), Unroutable)
        publish(publisher, message(names.to_judge("a")))

    def test_alternate_exchange(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A suite for a judge without a queue is confirmed and arrives in dead.unrouted with its key."""
        broker.declare(part(names, "tasks.a", "dead.unrouted"))
        publish(publisher, message(names.to_judge("nobody"), b"lost"))
        consumer = broker.consumer([names.queue("dead.unrouted")], prefetch=1)
        (got,) = take(consumer, 1)
        assert (got.body, got.key) == (b"lost", "nobody")
        consumer.close()

    def test_window(self, broker: Broker, names: Names) -> None:
        """`publish` lets no more than the window be unconfirmed, and goes on when confirms come."""
        broker.declare(part(names, "tasks.a"))
        publisher = broker.publisher(window=5)
        lock = threading.Lock()
        open_, most, confirmed = 0, 0, 0

        def settle(error: BrokerError | None) -> None:
            nonlocal open_, confirmed
            with lock:
                open_ -= 1
                confirmed += error is None

        for each in numbered(names.to_judge("a"), 200):
            publisher.publish(each, settle)
            with lock:
                open_ += 1
                most = max(most, open_)
        assert publisher.flush(SOON)
        assert confirmed == 200
        assert most <= 5
        publisher.close()

    def test_publish_after_close(self, broker: Broker) -> None:
        """A publisher that is closed fails a publish with `BrokerUnavailable` and raises nothing."""
        publisher = broker.publisher()
        publisher.close()
        confirms = Confirms()
        publisher.publish(message(("", "anywhere")), confirms)
        assert isinstance(confirms.next(), BrokerUnavailable)
        assert not publisher.ready

    def test_publisher_gets_ready(self, publisher: Publisher) -> None:
        """A publisher connects by itself."""
        wait_until(lambda: publisher.ready, SOON, "the publisher to be ready", every=0.01)
        assert publisher.flush(0)

    # -- consuming -----------------------------------------------------------------------------------------------------

    def test_order(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """One publisher's messages reach one consumer in order."""
        broker.declare(part(names, "tasks.a"))
        sent = numbered(names.to_judge("a"), 300)
        publish(publisher, *sent)
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=300)
        assert bodies(take(consumer, 300)) == [m.body for m in sent]
        consumer.close()

    def test_receive_waits_and_bounds(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """`receive` returns nothing after its timeout, and never more than it was asked for."""
        broker.declare(part(names, "tasks.a"))
        consumer = ready(broker.consumer([names.tasks_queue("a")], prefetch=10))
        started = time.monotonic()
        assert consumer.receive(5, 0.2) == []
        assert time.monotonic() - started >= 0.19
        publish(publisher, *numbered(names.to_judge("a"), 7))
        taken = take(consumer, 1)
        while len(taken) < 7:
            some = consumer.receive(2, SOON)
            assert 1 <= len(some) <= 2
            taken += some
        consumer.close()

    def test_ack_removes(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """What was acked does not come again, in whatever order it was acked; what was not does."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 6))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=6)
        taken = take(consumer, 6)
        consumer.settle([taken[4]], Verdict.ACK)
        consumer.settle([taken[1], taken[0]], Verdict.ACK)
        consumer.settle([taken[5]], Verdict.ACK)
        consumer.close()
        depth(broker, names.tasks_queue("a"), 2)
        again = broker.consumer([names.tasks_queue("a")], prefetch=6)
        left = take(again, 2)
        assert sorted(bodies(left)) == [b"2", b"3"]
        assert all(d.redelivered for d in left)
        again.settle(left, Verdict.ACK)
        again.close()
        depth(broker, names.tasks_queue("a"), 0)

    def test_hand_back(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """What is handed back comes again, marked as redelivered."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a"), b"again"))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        first = take(consumer, 1)
        consumer.settle(first, Verdict.HAND_BACK)
        (second,) = take(consumer, 1)
        assert (second.body, second.redelivered) == (b"again", True)
        consumer.close()

    def test_delivery_limit(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A failed delivery counts; past the limit the message is in dead.tasks under its dead-letter key."""
        broker.declare(limited(names, 2))
        publish(publisher, message(names.to_judge("a"), b"poison"))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        counts = []
        for _ in range(3):
            (delivery,) = take(consumer, 1)
            counts.append(delivery.delivery_count)
            consumer.settle([delivery], Verdict.FAILED)
        assert counts == [0, 1, 2]
        morgue = broker.consumer([names.queue("dead.tasks")], prefetch=1)
        (dead,) = take(morgue, 1)
        assert (dead.body, dead.key, dead.type) == (b"poison", "tasks.a", "suite.v1")
        assert consumer.receive(1, NEVER) == []
        depth(broker, names.tasks_queue("a"), 0)
        consumer.close()
        morgue.close()

    def test_retry_ladder(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A message put on the 1 s rung comes back to its judge's queue after a second, not sooner."""
        broker.declare(part(names, "tasks.a", "tasks.b", "retry.1s"))
        consumer = ready(broker.consumer([names.tasks_queue("a")], prefetch=1))
        published = time.monotonic()
        publish(publisher, message(names.to_retry("a", 1.0), b"later"))
        (got,) = take(consumer, 1)
        assert time.monotonic() - published >= 0.95
        assert (got.body, got.type, got.queue) == (b"later", "suite.v1", names.tasks_queue("a"))
        assert got.delivery_count == 0
        depth(broker, names.tasks_queue("b"), 0)
        consumer.close()

    def test_prefetch(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A consumer holds no more unsettled deliveries than its prefetch; settling some lets others come."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 8))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=3)
        held = take(consumer, 3)
        assert consumer.receive(10, NEVER) == []
        consumer.settle(held[:2], Verdict.ACK)
        take(consumer, 2)
        assert consumer.receive(10, NEVER) == []
        consumer.close()
        depth(broker, names.tasks_queue("a"), 6)

    def test_resize(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A larger prefetch lets more come while what is held stays held; a smaller one holds them up.

        What is held at that moment may come on top of the new prefetch until it is settled.
        """
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 40))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=2)
        held = fill(consumer)
        assert len(held) == 2
        consumer.resize(5)
        held += fill(consumer)
        assert 5 <= len(held) <= 7
        consumer.settle(held, Verdict.ACK)
        held = fill(consumer)
        assert len(held) == 5
        consumer.resize(1)
        for _ in range(2):
            consumer.settle(held, Verdict.ACK)
            held = fill(consumer)
        assert len(held) == 1
        assert consumer.ready
        consumer.close()

    def test_stop(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """`stop` gives back what was prefetched and not received; what was received can be settled after it."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 6))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=5)
        held = take(consumer, 2)
        consumer.stop()
        assert consumer.receive(10, 0) == []
        assert (consumer.registered, consumer.ready) == (0, False)
        depth(broker, names.tasks_queue("a"), 4)
        consumer.settle(held[:1], Verdict.ACK)
        consumer.settle(held[1:], Verdict.HAND_BACK)
        depth(broker, names.tasks_queue("a"), 5)
        consumer.close()
        depth(broker, names.tasks_queue("a"), 5)

    def test_close_gives_back(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """What is unsettled when a consumer closes comes to another; what was settled just before does not."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 4))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=4)
        held = take(consumer, 4)
        consumer.settle(held[:3], Verdict.ACK)
        consumer.close()
        other = broker.consumer([names.tasks_queue("a")], prefetch=4)
        assert bodies(take(other, 1)) == [b"3"]
        assert other.receive(4, NEVER) == []
        other.close()

    def test_settle_after_close(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Settling on a consumer that is closed does nothing: the delivery has gone back to its queue."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a")))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        held = take(consumer, 1)
        consumer.close()
        consumer.settle(held, Verdict.ACK)
        consumer.close()
        depth(broker, names.tasks_queue("a"), 1)

    def test_pull(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A puller holds what it was asked for and nothing else, of any of its queues; it looks without taking."""
        broker.declare(part(names, "tasks.a", "suspects.a", "suspects.b"))
        puller = pulling(broker.puller([names.suspects_queue("a"), names.suspects_queue("b")]))
        assert not puller.look()
        assert puller.take() is None
        publish(publisher, message(names.to_suspects("b"), b"0"), message(names.to_suspects("b"), b"1"))
        wait_until(puller.look, SOON, "a message to be seen")
        depth(broker, names.suspects_queue("b"), 2)
        first = puller.take()
        assert first is not None
        assert (first.body, first.type, first.queue, first.key) == (
            b"0", "suite.v1", names.suspects_queue("b"), names.to_suspects("b")[1]
        )  # fmt: skip
        assert (first.delivery_count, first.redelivered) == (0, False)
        depth(broker, names.suspects_queue("b"), 1)
        puller.settle([first], Verdict.FAILED)
        wait_until(puller.look, SOON, "a message to be seen")
        counts = []
        for _ in range(2):
            taken = wait_until(lambda: puller.take() if puller.look() else None, SOON, "a message")
            assert taken is not None
            counts.append((taken.body, taken.delivery_count))
            puller.settle([taken], Verdict.ACK)
        assert sorted(counts) == [(b"0", 1), (b"1", 0)]
        assert not puller.look()
        assert puller.ready
        puller.close()

    def test_pull_from_every_queue(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """None of its queues keeps the others waiting, however much there is in it."""
        broker.declare(part(names, "suspects.a", "suspects.b"))
        for judge in ("a", "b"):
            publish(publisher, *numbered(names.to_suspects(judge), 3))
        puller = pulling(broker.puller([names.suspects_queue("a"), names.suspects_queue("b")]))
        queues = []
        for _ in range(4):
            taken = wait_until(lambda: puller.take() if puller.look() else None, SOON, "a message")
            assert taken is not None
            queues.append(taken.queue)
            puller.settle([taken], Verdict.ACK)
        assert Counter(queues) == {names.suspects_queue("a"): 2, names.suspects_queue("b"): 2}
        wait_until(lambda: puller.take() if puller.look() else None, SOON, "a message to be held")
        puller.close()
        queues = [names.suspects_queue(judge) for judge in ("a", "b")]
        wait_until(
            lambda: sum((broker.depth(queue) or (0, 0))[0] for queue in queues) == 2, SOON, "it to be handed back"
        )

    def test_pull_from_a_queue_that_comes_later(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Until then it is not ready, and sees nothing."""
        puller = broker.puller([names.suspects_queue("a")])
        assert not puller.look()
        wait_until(lambda: puller.look() or not puller.ready, SOON, "the queue to be missed")
        broker.declare(part(names, "suspects.a"))
        publish(publisher, message(names.to_suspects("a")))
        wait_until(puller.look, SOON, "a message to be seen")
        assert puller.ready
        puller.close()

    def test_consumers_share(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Consumers of one queue share its messages: each comes once, and nobody goes without."""
        broker.declare(part(names, "tasks.a"))
        consumers = [ready(broker.consumer([names.tasks_queue("a")], prefetch=1)) for _ in range(2)]
        publish(publisher, *numbered(names.to_judge("a"), 20))
        got: list[list[bytes]] = [[], []]
        deadline = time.monotonic() + SOON
        while sum(map(len, got)) < 20:
            assert time.monotonic() < deadline
            for consumer, mine in zip(consumers, got, strict=True):
                taken = consumer.receive(1, 0.05)
                mine += bodies(taken)
                consumer.settle(taken, Verdict.ACK)
        assert sorted(got[0] + got[1], key=int) == [str(n).encode() for n in range(20)]
        assert all(got)
        for consumer in consumers:
            consumer.close()

    def test_single_active_consumer(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Judgments go to one consumer at a time; when it closes, the next one takes over with what was unsettled."""
        broker.declare(part(names, "judgments.0"))
        first = ready(broker.consumer([names.judgments_queue(0)], prefetch=10))
        second = ready(broker.consumer([names.judgments_queue(0)], prefetch=10))
        publish(publisher, *numbered(names.to_aggregator("job", 0), 4))
        held = take(first, 4)
        assert second.receive(10, NEVER) == []
        first.settle(held[:2], Verdict.ACK)
        first.close()
        assert sorted(bodies(take(second, 2))) == [b"2", b"3"]
        second.close()

    def test_several_queues(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """One consumer takes from several queues, says from which, and is registered on each; prefetch is per queue."""
        broker.declare(part(names, "tasks.a", "tasks.b"))
        consumer = ready(broker.consumer([names.tasks_queue("a"), names.tasks_queue("b")], prefetch=2))
        assert consumer.registered == 2
        publish(publisher, *numbered(names.to_judge("a"), 3), *numbered(names.to_judge("b"), 3))
        taken = take(consumer, 4)
        assert Counter(d.queue for d in taken) == {names.tasks_queue("a"): 2, names.tasks_queue("b"): 2}
        assert consumer.receive(10, NEVER) == []
        consumer.close()
        assert (consumer.registered, consumer.ready) == (0, False)

    def test_waits_for_its_queue(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A consumer of a queue that is not there yet is not ready; it is soon after the queue was declared."""
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        assert consumer.receive(1, NEVER) == []
        assert (consumer.registered, consumer.ready) == (0, False)
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a"), b"at last"))
        assert bodies(take(consumer, 1)) == [b"at last"]
        assert consumer.ready
        consumer.close()

    # -- the broker ----------------------------------------------------------------------------------------------------

    def test_declare_twice(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Declaring what exists changes nothing and loses nothing."""
        broker.declare(topology(names, ["a"]))
        publish(publisher, message(names.to_judge("a")))
        broker.declare(topology(names, ["a", "b"]))
        depth(broker, names.tasks_queue("a"), 1)
        assert broker.depth(names.tasks_queue("b")) == (0, 0)

    def test_declare_conflict(self, broker: Broker, names: Names) -> None:
        """A queue that exists with other arguments is a `TopologyConflict` that names it; the queue stays."""
        broker.declare(part(names, "tasks.a"))
        other = Topology(queues=(Queue(name=names.tasks_queue("a"), ttl=5.0),))
        with pytest.raises(TopologyConflict, match=names.tasks_queue("a")):
            broker.declare(other)
        assert broker.depth(names.tasks_queue("a")) == (0, 0)

    def test_depth(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """`depth` counts what is ready and who consumes; of a queue that does not exist it says None."""
        name = names.tasks_queue("a")
        assert broker.depth(name) is None
        broker.declare(part(names, "tasks.a"))
        assert broker.depth(name) == (0, 0)
        publish(publisher, *numbered(names.to_judge("a"), 3))
        depth(broker, name, 3)
        consumer = ready(broker.consumer([name], prefetch=1))
        take(consumer, 1)
        wait_until(lambda: broker.depth(name) == (2, 1), SOON, "two ready and one consumer")
        consumer.close()
        wait_until(lambda: broker.depth(name) == (3, 0), SOON, "all ready and no consumer")

    def test_has_exchange(self, broker: Broker, names: Names) -> None:
        """An exchange is there from its declaration to its deletion."""
        name, wanted = names.exchange("tasks"), part(names, "tasks.a")
        assert not broker.has_exchange(name)
        broker.declare(wanted)
        assert broker.has_exchange(name)
        broker.delete(wanted)
        assert not broker.has_exchange(name)

    def test_delete(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """`delete` removes queues with what is in them; doing it again is no error."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a")))
        broker.delete(part(names, "tasks.a"))
        assert broker.depth(names.tasks_queue("a")) is None
        broker.delete(part(names, "tasks.a"))
        broker.declare(part(names, "tasks.a"))
        assert broker.depth(names.tasks_queue("a")) == (0, 0)

    def test_version(self, broker: Broker, names: Names) -> None:
        """Once something was done with the broker it says what it is."""
        broker.depth(names.tasks_queue("a"))
        print(broker.version)
        assert broker.version
        assert isinstance(broker.durable, bool)

    def test_close_closes_all(self, broker: Broker, names: Names) -> None:
        """Closing the broker closes its publishers and consumers; closing it again is no error."""
        broker.declare(part(names, "tasks.a"))
        publisher = broker.publisher()
        consumer = ready(broker.consumer([names.tasks_queue("a")], prefetch=1))
        broker.close()
        assert (publisher.ready, consumer.ready, consumer.registered) == (False, False, 0)
        assert consumer.receive(1, 0) == []
        broker.close()
