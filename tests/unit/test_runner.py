"""The runner: an ack comes last, and what cannot be finished is handed back."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.broker.protocol import Confirmed, Delivery, Outgoing, Verdict
from manyhands.errors import BrokerUnavailable, Refused, StoreUnavailable
from manyhands.runner import PAUSE, Finish, Outcome, Runner
from manyhands.testing import FakeClock, FakeConsumer, FakePublisher


def deliveries(count: int) -> list[Delivery]:
    """Deliveries with numbers as bodies."""
    return [Delivery(queue="q", key="k", body=str(n).encode(), type="suite.v1") for n in range(count)]


def message(body: bytes) -> Outgoing:
    """A message that a delivery causes."""
    return Outgoing(exchange="e", key="k", body=body, type="judgments.v1")


class Held(FakePublisher):
    """A publisher whose confirms come when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Confirmed] = []

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Keep the message and its callback."""
        self.published.append(message)
        self.open.append(confirmed)


class Service:
    """A handler made of a function; stops the runner when nothing is left to receive."""

    def __init__(self, consumer: FakeConsumer, handle: Callable[[list[Delivery], Finish], None]) -> None:
        self._consumer, self._handle = consumer, handle
        self.runner: Runner | None = None
        self.batches: list[int] = []

    def handle(self, given: list[Delivery], finish: Finish) -> None:
        """Call the function."""
        self.batches.append(len(given))
        if not self._consumer.waiting and self.runner is not None:
            self.runner.stop()
        self._handle(given, finish)


def ran(
    consumer: FakeConsumer,
    publisher: FakePublisher,
    handle: Callable[[list[Delivery], Finish], None],
    batch: int = 1,
    clock: FakeClock | None = None,
) -> tuple[Runner, Service]:
    """A runner that has handled all that there was."""
    service = Service(consumer, handle)
    runner = Runner(consumer, publisher, service, batch=batch, random=lambda: 0.0, clock=clock)
    service.runner = runner
    runner.run()
    return runner, service


def verdicts(consumer: FakeConsumer) -> list[tuple[bytes, Verdict]]:
    """How each delivery was settled."""
    return [(d.body, v) for d, v in consumer.settled]


def test_without_messages() -> None:
    """What caused nothing is settled at once, with the verdict it was given."""
    consumer = FakeConsumer(deliveries(3))

    def handle(given: list[Delivery], finish: Finish) -> None:
        finish(Outcome(deliveries=given, verdict=Verdict.FAILED if given[0].body == b"1" else Verdict.ACK))

    runner, _ = ran(consumer, FakePublisher(), handle)
    assert verdicts(consumer) == [(b"0", Verdict.ACK), (b"1", Verdict.FAILED), (b"2", Verdict.ACK)]
    assert runner.drain(0)
    assert consumer.stopped


def test_acks_only_after_the_last_confirm() -> None:
    """A delivery is acked after every message it caused is confirmed, not before."""
    consumer, publisher = FakeConsumer(deliveries(1)), Held()
    runner, _ = ran(
        consumer, publisher, lambda d, finish: finish(Outcome(deliveries=d, publish=[message(b"a"), message(b"b")]))
    )
    assert [m.body for m in publisher.published] == [b"a", b"b"]
    assert consumer.settled == []
    publisher.open[1](None)
    assert consumer.settled == []
    publisher.open[0](None)
    assert verdicts(consumer) == [(b"0", Verdict.ACK)]
    assert runner.drain(0)


def test_a_failed_publish_keeps_the_delivery() -> None:
    """One message that is not confirmed keeps the delivery in hand; a drain that ends before hands it back."""
    consumer, publisher = FakeConsumer(deliveries(1)), Held()
    runner, _ = ran(
        consumer, publisher, lambda d, finish: finish(Outcome(deliveries=d, publish=[message(b"a"), message(b"b")]))
    )
    publisher.open[0](Refused("full"))
    assert consumer.settled == []
    publisher.open[1](None)
    assert consumer.settled == []
    assert not runner.drain(0)
    assert verdicts(consumer) == [(b"0", Verdict.HAND_BACK)]


def test_a_failed_publish_is_tried_again_after_a_pause() -> None:
    """What was not confirmed is published again, and the delivery is acked when it then is."""
    consumer, clock = FakeConsumer(deliveries(2)), FakeClock()
    publisher = FakePublisher([BrokerUnavailable(), None])

    def handle(given: list[Delivery], finish: Finish) -> None:
        if given[0].body == b"1":
            clock.turn(PAUSE)
        finish(Outcome(deliveries=given, publish=[message(given[0].body)]))

    ran(consumer, publisher, handle, clock=clock)
    assert verdicts(consumer) == [(b"1", Verdict.ACK), (b"0", Verdict.ACK)]
    assert [m.body for m in publisher.published] == [b"1", b"0"]


def test_a_failed_publish_hands_back_alone() -> None:
    """The deliveries around it are acked."""
    consumer = FakeConsumer(deliveries(3))
    publisher = FakePublisher([None, BrokerUnavailable(), None])
    runner, _ = ran(consumer, publisher, lambda d, finish: finish(Outcome(deliveries=d, publish=[message(d[0].body)])))
    runner.drain(0)
    assert verdicts(consumer) == [(b"0", Verdict.ACK), (b"2", Verdict.ACK), (b"1", Verdict.HAND_BACK)]


def test_a_store_that_is_away_is_waited_for() -> None:
    """While the store is away the deliveries are kept and tried again; then the runner goes on with the next."""
    consumer, tries = FakeConsumer(deliveries(2)), []

    def handle(given: list[Delivery], finish: Finish) -> None:
        tries.append(given[0].body)
        if len(tries) < 3:
            raise StoreUnavailable("away")
        finish(Outcome(deliveries=given))

    ran(consumer, FakePublisher(), handle)
    assert tries == [b"0", b"0", b"0", b"1"]
    assert verdicts(consumer) == [(b"0", Verdict.ACK), (b"1", Verdict.ACK)]


def test_a_store_away_in_the_middle() -> None:
    """What was finished before stays settled; when the runner is stopped meanwhile, the rest is handed back."""
    consumer = FakeConsumer(deliveries(3))

    def handle(given: list[Delivery], finish: Finish) -> None:
        if len(given) == 3:
            finish(Outcome(deliveries=given[:1]))
        raise StoreUnavailable("away")

    ran(consumer, FakePublisher(), handle, batch=3)
    assert verdicts(consumer) == [(b"0", Verdict.ACK), (b"1", Verdict.HAND_BACK), (b"2", Verdict.HAND_BACK)]


def test_a_fault_costs_only_its_own_delivery() -> None:
    """What makes a handler raise is found by giving it its deliveries one by one; it fails, the others go on."""
    consumer = FakeConsumer(deliveries(3))

    def handle(given: list[Delivery], finish: Finish) -> None:
        if any(d.body == b"1" for d in given):
            raise ValueError("a bug")
        finish(Outcome(deliveries=given))

    ran(consumer, FakePublisher(), handle, batch=3)
    assert verdicts(consumer) == [(b"0", Verdict.ACK), (b"1", Verdict.FAILED), (b"2", Verdict.ACK)]


def test_batches() -> None:
    """A handler gets up to `batch` deliveries at a time, and one outcome may be for all of them."""
    consumer = FakeConsumer(deliveries(5))
    _, service = ran(
        consumer,
        FakePublisher(),
        lambda d, finish: finish(Outcome(deliveries=d, publish=[message(b"all")])),
        batch=2,
    )
    assert service.batches == [2, 2, 1]
    assert [v for _, v in consumer.settled] == [Verdict.ACK] * 5


def test_drain_hands_back_what_is_late() -> None:
    """What is not finished within the drain is handed back; a finish after it settles nothing again."""
    consumer = FakeConsumer(deliveries(2))
    late: list[Callable[[], None]] = []

    def handle(given: list[Delivery], finish: Finish) -> None:
        late.append(lambda: finish(Outcome(deliveries=given)))

    runner, _ = ran(consumer, FakePublisher(), handle, batch=2)
    assert consumer.settled == []
    assert not runner.drain(0)
    assert sorted(verdicts(consumer)) == [(b"0", Verdict.HAND_BACK), (b"1", Verdict.HAND_BACK)]
    late[0]()
    assert len(consumer.settled) == 2


def test_a_confirm_after_the_drain() -> None:
    """A confirm that comes after the drain has handed back does not ack."""
    consumer, publisher = FakeConsumer(deliveries(1)), Held()
    runner, _ = ran(consumer, publisher, lambda d, finish: finish(Outcome(deliveries=d, publish=[message(b"a")])))
    assert not runner.drain(0)
    publisher.open[0](None)
    assert verdicts(consumer) == [(b"0", Verdict.HAND_BACK)]


def test_drain_twice() -> None:
    """A second drain finds nothing to do."""
    runner, _ = ran(FakeConsumer(deliveries(1)), FakePublisher(), lambda *_: None)
    assert not runner.drain(0)
    assert runner.drain(0)


def test_finish_twice() -> None:
    """A delivery that is finished twice is settled once."""
    consumer = FakeConsumer(deliveries(1))

    def handle(given: list[Delivery], finish: Finish) -> None:
        finish(Outcome(deliveries=given))
        finish(Outcome(deliveries=given, verdict=Verdict.FAILED))

    ran(consumer, FakePublisher(), handle)
    assert verdicts(consumer) == [(b"0", Verdict.ACK)]


def test_stop_before_run() -> None:
    """A runner that was stopped before it ran takes nothing."""
    consumer = FakeConsumer(deliveries(1))
    runner = Runner(consumer, FakePublisher(), Service(consumer, lambda *_: None))
    runner.stop()
    runner.run()
    assert consumer.stopped
    assert consumer.settled == []


def test_what_was_received_is_settled_or_in_hand() -> None:
    """Whatever becomes of deliveries, each is in one account; one that comes twice is in none."""
    consumer = FakeConsumer(deliveries(5))
    held: list[Delivery] = []

    def handle(given: list[Delivery], finish: Finish) -> None:
        held.extend(given)
        if len(held) == 5:
            finish(Outcome(deliveries=held[:2]))
            finish(Outcome(deliveries=held[:1], verdict=Verdict.HAND_BACK))  # which was settled before

    runner, _ = ran(consumer, FakePublisher(), handle, batch=5)
    assert (runner.in_hand, runner.difference) == (3, 0)
    runner.drain(0)
    assert (runner.in_hand, runner.difference) == (0, 0)

    (twice,) = deliveries(1)
    runner, _ = ran(FakeConsumer([twice, twice]), FakePublisher(), lambda *_: None, batch=2)
    assert runner.difference == 1
