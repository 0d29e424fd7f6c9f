"""RabbitMQ, held to what every broker does, and to what only a server can show: its versions, and its absence."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
import pytest

from manyhands import metrics
from manyhands.broker import Broker, Outgoing, Publisher, Verdict
from manyhands.broker.rabbit import RabbitBroker
from manyhands.broker.rabbit.link import CLOSE_TIMEOUT
from manyhands.broker.rabbit.puller import RabbitPuller
from manyhands.errors import BrokerError, BrokerUnavailable, Refused, SettingsError
from manyhands.topology import Names, Queue, Topology
from tests.broker.conformance import (
    NEVER,
    SOON,
    Confirms,
    Conformance,
    depth,
    limited,
    message,
    numbered,
    part,
    publish,
    ready,
    take,
)
from tests.services import RabbitMQ, wait_until

#: seconds in which a killed server and its clients have found each other again
BACK = 60.0


def version(broker: Broker) -> tuple[int, int]:
    """Major and minor version, once the broker was connected to."""
    major, minor, *_ = broker.version.removeprefix("RabbitMQ ").split(".")
    return int(major), int(minor)


class TestRabbit(Conformance):
    """The conformance suite on RabbitMQ, and what is RabbitMQ's own."""

    @pytest.fixture
    def broker(self, rabbitmq: RabbitMQ) -> Iterator[Broker]:
        """The shared server."""
        broker = RabbitBroker(rabbitmq.url, name="conformance")
        yield broker
        broker.close()

    def test_says_its_version(self, broker: Broker, rabbitmq: RabbitMQ, names: Names) -> None:
        """The broker says name and version of the server, and that what it confirms is on disk."""
        assert broker.version == ""
        broker.depth(names.tasks_queue("a"))
        assert broker.version == f"RabbitMQ {rabbitmq.version}"
        assert broker.durable

    def test_full_queue_refuses(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A queue at its length limit refuses with `Refused`; exactly what was confirmed is in it."""
        whole = part(names, "tasks.a")
        full = tuple(Queue(name=q.name, max_length=5) for q in whole.queues)
        broker.declare(Topology(exchanges=whole.exchanges, queues=full, bindings=whole.bindings))
        said: list[BrokerError | None] = []
        for each in numbered(names.to_judge("a"), 60):
            confirms = Confirms()
            publisher.publish(each, confirms)
            said.append(confirms.next())
        counts: Counter[type] = Counter(type(error) for error in said)
        assert set(counts) == {type(None), Refused}
        depth(broker, names.tasks_queue("a"), counts[type(None)])

    def test_what_cannot_be_sent_is_refused(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A message that AMQP cannot carry fails with `Refused`, alone among those around it."""
        broker.declare(part(names, "tasks.a"))
        exchange, key = names.to_judge("a")
        confirms = Confirms()
        for headers in ({}, {"no such type": object()}, {}):
            publisher.publish(Outgoing(exchange=exchange, key=key, body=b"", type="t", headers=headers), confirms)
        kinds = Counter(type(error) for error in confirms.all(3))
        assert kinds == {type(None): 2, Refused: 1}
        depth(broker, names.tasks_queue("a"), 2)

    def test_publish_from_a_callback(self, broker: Broker, names: Names) -> None:
        """A confirm callback may publish, even with a full window: it is the thread that would make room."""
        broker.declare(part(names, "tasks.a"))
        publisher = broker.publisher(window=1)
        each, confirms = message(names.to_judge("a")), Confirms()

        def again(error: BrokerError | None) -> None:
            confirms(error)
            publisher.publish(each, confirms)
            publisher.publish(each, confirms)

        publisher.publish(each, again)
        assert confirms.all(3) == [None] * 3
        publisher.close()

    def test_callback_that_raises(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A confirm callback that raises costs nobody else their confirm."""
        broker.declare(part(names, "tasks.a"))

        def broken(_error: BrokerError | None) -> None:
            raise ValueError("broken callback")

        publisher.publish(message(names.to_judge("a")), broken)
        publish(publisher, message(names.to_judge("a")))
        assert publisher.flush(SOON)

    def test_hand_back_counts_before_4_3(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """From RabbitMQ 4.3 handing back (nack) does not count towards the delivery limit; before, it does."""
        broker.declare(limited(names, 2))
        publish(publisher, message(names.to_judge("a")))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        counts: list[int] = []
        while len(counts) < 8 and (taken := consumer.receive(1, SOON if len(counts) < 3 else 1.0)):
            counts.append(taken[0].delivery_count)
            consumer.settle(taken, Verdict.HAND_BACK)
        print(broker.version, counts)
        assert broker.counts_hand_backs is (version(broker) < (4, 3))
        assert counts == ([0] * 8 if version(broker) >= (4, 3) else [0, 1, 2])
        consumer.close()
        depth(broker, names.queue("dead.tasks"), 0 if version(broker) >= (4, 3) else 1)

    def test_close_is_no_failure_from_4_3(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """From RabbitMQ 4.3 what is held when a consumer closes does not come back as a failed delivery."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 4))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=4)
        take(consumer, 2)
        consumer.close()
        depth(broker, names.tasks_queue("a"), 4)
        other = broker.consumer([names.tasks_queue("a")], prefetch=4)
        assert {d.delivery_count for d in take(other, 4)} == {0 if version(broker) >= (4, 3) else 1}
        other.close()

    def test_torn_connection_is_a_failure(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A delivery whose channel was lost counts as failed: this is how a killed process is noticed."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, message(names.to_judge("a")))
        with pika.BlockingConnection(pika.URLParameters(_url(broker))) as connection:
            channel = connection.channel()
            wait_until(lambda: channel.basic_get(names.tasks_queue("a"))[0], SOON, "the message")
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        (again,) = take(consumer, 1)
        assert (again.delivery_count, again.redelivered) == (1, True)
        consumer.close()

    def test_pulled_on_a_torn_connection(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """What a puller held comes again as failed, and to settle it late does nothing; it connects again and asks."""
        broker.declare(part(names, "suspects.a"))
        publish(publisher, message(names.to_suspects("a")))
        puller = broker.puller([names.suspects_queue("a")])
        held = wait_until(lambda: puller.take() if puller.look() else None, SOON, "the message")
        assert held is not None
        assert isinstance(puller, RabbitPuller)
        loop, connection = puller._loop, puller._connection
        assert connection is not None
        loop.add_callback_threadsafe(lambda: connection._transport.abort())
        again = wait_until(lambda: puller.take() if puller.look() else None, SOON, "the message again")
        assert again is not None
        assert again.delivery_count == 1
        puller.settle([held], Verdict.ACK)
        assert not puller.look()
        puller.settle([again], Verdict.HAND_BACK)
        depth(broker, names.suspects_queue("a"), 1)
        puller.close()

    def test_pulled_from_a_queue_that_is_deleted(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """It declares it again, as a consumer does, and goes on."""
        broker.declare(part(names, "suspects.a"))
        puller = broker.puller([names.suspects_queue("a")])
        wait_until(lambda: puller.ready, SOON, "the puller to be ready")
        with pika.BlockingConnection(pika.URLParameters(_url(broker))) as connection:
            connection.channel().queue_delete(names.suspects_queue("a"))
        wait_until(lambda: puller.look() or not puller.ready, SOON, "the queue to be missed", every=0.01)
        wait_until(lambda: not puller.look() and puller.ready, SOON, "the queue to be there again")
        publish(publisher, message(names.to_suspects("a"), b"new"))
        found = wait_until(lambda: puller.take() if puller.look() else None, SOON, "the message")
        assert found is not None
        assert found.body == b"new"
        puller.close()

    def test_queue_deleted_under_its_consumer(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """A consumer whose queue is deleted declares it again and consumes again; a late ack does no harm."""
        broker.declare(part(names, "tasks.a", "tasks.b"))
        consumer = ready(broker.consumer([names.tasks_queue("a"), names.tasks_queue("b")], prefetch=5))
        publish(publisher, message(names.to_judge("a")), message(names.to_judge("b")))
        held = take(consumer, 2)
        with pika.BlockingConnection(pika.URLParameters(_url(broker))) as connection:
            connection.channel().queue_delete(names.tasks_queue("a"))
        wait_until(lambda: not consumer.ready, SOON, "the cancel to be noticed", every=0.001)
        ready(consumer)
        consumer.settle(held, Verdict.ACK)
        publish(publisher, message(names.to_judge("a"), b"new"), message(names.to_judge("b"), b"new"))
        assert [d.body for d in take(consumer, 2)] == [b"new", b"new"]
        consumer.close()

    def test_overdue_consumer(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """From RabbitMQ 4.3 an overdue consumer is cancelled: it consumes again, and settling too late does nothing."""
        broker.depth(names.tasks_queue("a"))
        if version(broker) < (4, 3):
            pytest.skip(
                f"{broker.version} closes the channel after 30 minutes at the least; from 4.3 a queue says when"
            )
        name = names.tasks_queue("a")
        with pika.BlockingConnection(pika.URLParameters(_url(broker))) as connection:
            slow = {"x-queue-type": "quorum", "x-consumer-timeout": 1000}
            connection.channel().queue_declare(name, durable=True, arguments=slow)
        publish(publisher, message(("", name)))
        consumer = broker.consumer([name], prefetch=1)
        first = take(consumer, 1)
        (again,) = take(consumer, 1)
        consumer.settle(first, Verdict.ACK)
        assert (again.redelivered, again.delivery_count) == (True, 0)
        consumer.settle([again], Verdict.ACK)
        depth(broker, name, 0)
        assert consumer.receive(1, NEVER) == []
        consumer.close()

    def test_settled_twice(self, broker: Broker, names: Names, publisher: Publisher) -> None:
        """Settling a delivery a second time does nothing: the first verdict stands and the channel lives."""
        broker.declare(part(names, "tasks.a"))
        publish(publisher, *numbered(names.to_judge("a"), 2))
        consumer = broker.consumer([names.tasks_queue("a")], prefetch=1)
        held = take(consumer, 1)
        for verdict in (Verdict.ACK, Verdict.ACK, Verdict.FAILED):
            consumer.settle(held, verdict)
        assert [d.body for d in take(consumer, 1)] == [b"1"]
        assert consumer.ready
        consumer.close()

    def test_wrong_password(self, rabbitmq: RabbitMQ) -> None:
        """Refused credentials are `BrokerUnavailable`, in words that name the user and never the password."""
        parts = urlsplit(rabbitmq.url)
        url = parts._replace(netloc=f"{parts.username}:wrong-secret@{parts.hostname}:{parts.port}").geturl()
        with pytest.raises(BrokerUnavailable, match=f"refused the user '{parts.username}'") as refused:
            RabbitBroker(url).depth("any")
        assert "wrong-secret" not in str(refused.value)

    def test_nobody_there(self) -> None:
        """Without a server the broker says so at once; its publishers and consumers wait and close quietly."""
        broker = RabbitBroker("amqp://user:secret@127.0.0.1:1/")
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1") as nobody:
            broker.depth("any")
        assert "secret" not in str(nobody.value)
        publisher, consumer, confirms = broker.publisher(), broker.consumer(["any"], prefetch=1), Confirms()
        publisher.publish(message(("", "any")), confirms)
        assert consumer.receive(1, NEVER) == []
        assert (publisher.ready, consumer.ready, publisher.flush(0)) == (False, False, False)
        broker.close()
        assert isinstance(confirms.next(), BrokerUnavailable)

    @pytest.mark.parametrize(
        "url", ["amqp://user:secret@host:port/", "amqp://user@host/", "amqps://u:secret@host/?ca=/no/such/file"]
    )
    def test_url_that_is_not_right(self, url: str) -> None:
        """A URL that cannot be used is a `SettingsError` when the broker is made, and keeps the password to itself."""
        with pytest.raises(SettingsError, match=r"amqp://user:password@host|cannot read /no/such/file") as wrong:
            RabbitBroker(url)
        assert "secret" not in str(wrong.value)


def _url(broker: Broker) -> str:
    assert isinstance(broker, RabbitBroker)
    return broker._url


class TestFaults:
    """What happens to publishers and consumers when their server fails; on a private node."""

    @pytest.fixture
    def broker(self, own_rabbitmq: RabbitMQ) -> Iterator[Broker]:
        """A broker on it."""
        broker = RabbitBroker(own_rabbitmq.url, name="faults")
        yield broker
        broker.close()

    @pytest.fixture
    def names(self, broker: Broker, request: pytest.FixtureRequest) -> Names:
        """Names for one test, with the queue of judge a declared."""
        names = Names(namespace=request.node.name.replace("test_", ""), partitions=1)
        broker.declare(part(names, "tasks.a"))
        return names

    def test_connections_closed_by_the_broker(self, own_rabbitmq: RabbitMQ, broker: Broker, names: Names) -> None:
        """After its connections were closed a publisher publishes and a consumer consumes again.

        What was in hand comes again; settling it by the old delivery does nothing.
        """
        publisher = broker.publisher()
        publish(publisher, message(names.to_judge("a"), b"held"))
        consumer = ready(broker.consumer([names.tasks_queue("a")], prefetch=5))
        held = take(consumer, 1)
        before = metrics.RECONNECTS.labels("consumer")._value.get()

        own_rabbitmq.ctl("close_all_connections", "drill")
        (again,) = take(consumer, 1)
        assert (again.body, again.redelivered) == (b"held", True)
        consumer.settle(held, Verdict.ACK)
        consumer.settle([again], Verdict.ACK)
        wait_until(lambda: publisher.ready, SOON, "the publisher to be back")
        publish(publisher, message(names.to_judge("a"), b"new"))
        (new,) = take(consumer, 1)
        assert new.body == b"new"
        assert metrics.RECONNECTS.labels("consumer")._value.get() == before + 1

    def test_broker_killed(self, own_rabbitmq: RabbitMQ, broker: Broker, names: Names) -> None:
        """Killed in the middle of publishing: each publish is confirmed or fails with `BrokerUnavailable`.

        Publishing the failed ones again brings every message to the consumer, which comes back by itself; what was
        published while the server was away is sent when it is back.
        """
        publisher = broker.publisher(window=200)
        consumer = ready(broker.consumer([names.tasks_queue("a")], prefetch=50))
        sent: set[bytes] = set()
        seen: set[bytes] = set()
        failures: Counter[type] = Counter()
        enough, finished = threading.Event(), threading.Event()

        def send(each: Outgoing) -> None:
            def confirmed(error: BrokerError | None) -> None:
                if error is not None:
                    failures[type(error)] += 1
                    if not finished.is_set():
                        send(each)

            publisher.publish(each, confirmed)

        def produce() -> None:
            while not enough.wait(0.0005):
                body = str(len(sent)).encode()
                sent.add(body)
                send(message(names.to_judge("a"), body))

        def consume() -> None:
            while not finished.is_set():
                deliveries = consumer.receive(50, 0.1)
                seen.update(d.body for d in deliveries)
                consumer.settle(deliveries, Verdict.ACK)

        producing, consuming = threading.Thread(target=produce), threading.Thread(target=consume)
        producing.start()
        consuming.start()
        try:
            # not sooner: RabbitMQ 3.10 killed within half a second of a queue's birth forgets its log
            wait_until(lambda: len(seen) > 3000, SOON, "work to be going on")
            own_rabbitmq.kill()
            wait_until(lambda: not (publisher.ready or consumer.ready), SOON, "the loss to be noticed")
            own_rabbitmq.start()
            wait_until(lambda: publisher.ready and consumer.ready, BACK, "both to be back")
            so_far = len(seen)
            wait_until(lambda: len(seen) > so_far + 500, BACK, "work to be going on again")
            enough.set()
            producing.join()
            assert publisher.flush(SOON)
            wait_until(lambda: len(seen) == len(sent), SOON, "every message")
        finally:
            enough.set()
            finished.set()
            broker.close()
            producing.join()
            consuming.join()
        assert seen == sent
        # a dying node may manage to say no
        assert {BrokerUnavailable} <= set(failures) <= {BrokerUnavailable, Refused}

    def test_memory_alarm(self, own_rabbitmq: RabbitMQ, broker: Broker, names: Names) -> None:
        """While the broker blocks the connection `publish` blocks, and goes on when the alarm is over.

        Who is closed meanwhile does not wait for the broker's answer, which does not come.
        """
        publisher, other = broker.publisher(), broker.publisher()
        publish(publisher, message(names.to_judge("a")))
        publish(other, message(names.to_judge("a")))
        confirms, unsure, returned = Confirms(), Confirms(), threading.Event()

        def produce() -> None:
            publisher.publish(message(names.to_judge("a")), confirms)
            returned.set()

        own_rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1")
        try:
            # a broker under an alarm says so to whoever publishes, not before
            publisher.publish(message(names.to_judge("a")), confirms)
            wait_until(lambda: not publisher.ready, SOON, "the connection to be blocked", every=0.01)
            assert metrics.BLOCKED._value.get() == 1
            thread = threading.Thread(target=produce)
            thread.start()
            assert not returned.wait(NEVER)
            assert not publisher.flush(0)
            other.publish(message(names.to_judge("a")), unsure)
            wait_until(lambda: not other.ready, SOON, "the other connection to be blocked", every=0.01)
            started = time.monotonic()
            other.close()
            assert time.monotonic() - started < CLOSE_TIMEOUT / 2
            assert [type(error) for error in unsure.all(1)] == [BrokerUnavailable]
        finally:
            own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")
        thread.join(SOON)
        assert confirms.all(2) == [None, None]
        assert publisher.ready
        assert metrics.BLOCKED._value.get() == 0
