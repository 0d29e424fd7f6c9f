"""In which order a worker stops: it takes no more, finishes or hands back, has it confirmed, acks, and closes."""

# ruff: noqa: D102  its methods are those of publisher, consumer and broker, whose protocols document them

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyhands.broker import Delivery, Outgoing, Verdict, connect
from manyhands.broker.protocol import Confirmed
from manyhands.codec import encode
from manyhands.errors import BrokerError
from manyhands.settings import load
from manyhands.topology import Names, topology
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings
from tests.services import RabbitMQ, wait_until
from tests.unit.worker.harness import PATIENCE, suite

HANDLERS = """
import pathlib, time
from manyhands import judge

@judge("slow")
def slow(folder):
    (pathlib.Path(folder) / "begun").touch()
    while not (pathlib.Path(folder) / "gate").exists():
        time.sleep(0.01)
    return "judged"
"""


class Noted:
    """Notes which of something's methods are called, and passes the calls on."""

    def __init__(self, whole: Any, notes: list[str]) -> None:
        self._whole, self.notes = whole, notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class NotedPublisher(Noted):
    """A publisher whose confirms are noted."""

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        def noted(error: BrokerError | None) -> None:
            self.notes.append("confirmed" if error is None else "not confirmed")
            confirmed(error)

        self.notes.append("publish")
        self._whole.publish(message, noted)

    def close(self) -> None:
        self.notes.append("close publisher")
        self._whole.close()


class NotedConsumer(Noted):
    """A consumer whose settling is noted."""

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        self.notes.extend(verdict.value for _ in deliveries)
        self._whole.settle(deliveries, verdict)

    def stop(self) -> None:
        self.notes.append("take no more")
        self._whole.stop()

    def close(self) -> None:
        self.notes.append("close consumer")
        self._whole.close()


class NotedBroker(Noted):
    """A broker all of whose connections are noted in one list."""

    def publisher(self, **how: Any) -> NotedPublisher:
        return NotedPublisher(self._whole.publisher(**how), self.notes)

    def consumer(self, *queues: Any, **how: Any) -> NotedConsumer:
        return NotedConsumer(self._whole.consumer(*queues, **how), self.notes)


def test_the_order_of_a_drain(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """One suite is in its child's hands, others wait for that: the one is kept and the others are back in the queue."""
    names = Names(namespace=namespace)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    broker, notes = connect(rabbitmq.url), list[str]()
    wanted = topology(names, ["slow"])
    broker.declare(wanted)
    try:
        publisher = broker.publisher()
        for number in range(5):
            exchange, key = names.to_judge("slow")
            encoded = encode(suite("slow", [str(tmp_path)], suite=number))
            publisher.publish(
                Outgoing(exchange=exchange, key=key, body=encoded.body, type=encoded.type), lambda _: None
            )
        assert publisher.flush(PATIENCE)
        settings = load(
            WorkerSettings, broker=rabbitmq.url, namespace=namespace, handlers=[str(tmp_path / "handlers.py")],
            children=1, prefetch=5,
        )  # fmt: skip
        worker = Worker(settings, NotedBroker(broker, notes))
        worker.start()
        wait_until((tmp_path / "begun").exists, PATIENCE, "the first suite to be begun")
        wait_until(lambda: worker._in_hand() == 5, PATIENCE, "all suites in hand")
        stopping = threading.Thread(target=worker.stop, args=[PATIENCE])
        stopping.start()
        wait_until(lambda: notes.count(Verdict.HAND_BACK.value) == 4, PATIENCE, "the others to be handed back")
        assert notes == ["take no more", *4 * ["hand back"]]
        (tmp_path / "gate").touch()
        stopping.join(PATIENCE)
        assert notes[5:] == ["publish", "confirmed", "ack", "close publisher", "close consumer"]
        wait_until(lambda: broker.depth(names.tasks_queue("slow")) == (4, 0), PATIENCE, "the others in the queue")
    finally:
        broker.delete(wanted)
        broker.close()
