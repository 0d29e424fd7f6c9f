"""Consuming: in turn from each queue, nothing taken before it is received."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from manyhands import logs
from manyhands.broker.embedded.link import Link
from manyhands.broker.embedded.queues import Queues
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.errors import BrokerUnavailable

_log = logs.get(__name__)


class EmbeddedConsumer:
    """A consumer of some queues; what it holds is kept by queue and kombu's delivery tag."""

    def __init__(self, link: Link, queues: Queues, names: Sequence[str], prefetch: int) -> None:
        self._link, self._queues, self._prefetch = link, queues, prefetch
        self._turn = deque(names)
        self._held: dict[str, dict[str, Any]] = {name: {} for name in names}
        self._arrived = threading.Condition(link.lock)
        self._waiting = self._stopped = self._closed = False
        queues.register(self, names)

    def receive(self, most: int, timeout: float) -> list[Delivery]:
        """What there is, or what comes first."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while not self._stopped:
                if taken := self._take(most):
                    return taken
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._waiting = True
                self._arrived.wait(left if self._link.poll is None else min(left, self._link.poll))
                self._waiting = False
        return []

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle what is still held."""
        with self._arrived:
            for delivery in deliveries:
                message = self._held.get(delivery.queue, {}).pop(delivery.token, None)
                if message is not None:
                    self._settle(delivery.queue, message, verdict)
            self.wake()

    def resize(self, prefetch: int) -> None:
        """Holds from the next delivery on."""
        with self._arrived:
            self._prefetch = prefetch
            self.wake()

    def stop(self) -> None:
        """Take no more; nothing is ever prefetched here and not received."""
        with self._arrived:
            self._stopped = True
            self._queues.unregister(self)
            self._arrived.notify_all()

    @property
    def registered(self) -> int:
        """Its queues that exist."""
        return 0 if self._stopped else sum(self._queues.exists(queue) for queue in self._held)

    @property
    def ready(self) -> bool:
        """Whether all of them do."""
        return not self._stopped and self.registered == len(self._held) and self._link.connected

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """Stop, and give back what is held, as deliveries that failed."""
        with self._arrived:
            self._closed = True
            self.stop()
            for queue, held in self._held.items():
                while held:
                    self._settle(queue, held.popitem()[1], Verdict.FAILED)

    def wake(self) -> None:
        """Look again; the lock is held."""
        if self._waiting:
            self._arrived.notify_all()

    def forget(self, queue: str) -> list[Any]:
        """The queue is gone, and with it what was held of it."""
        held, self._held[queue] = self._held[queue], {}
        return list(held.values())

    def _settle(self, queue: str, message: Any, verdict: Verdict) -> None:
        try:
            self._queues.settle(queue, message, verdict)
        except BrokerUnavailable as error:  # the server delivers it again when its time is over
            _log.warning("not settled, it will come again", queue=queue, error=str(error))

    def _take(self, most: int) -> list[Delivery]:
        taken: list[Delivery] = []
        self._turn.rotate(-1)
        for queue in self._turn:
            held = self._held[queue]
            try:
                messages = self._queues.take(self, queue, min(most - len(taken), self._prefetch - len(held)))
            except BrokerUnavailable:
                break
            for message in messages:
                held[message.delivery_tag] = message
                taken.append(_delivery(queue, message))
        return taken


def _delivery(queue: str, message: Any) -> Delivery:
    properties = message.properties
    return Delivery(
        queue=queue,
        key=properties["key"],
        body=message.body,
        type=properties["type"],
        content_encoding=properties["encoding"],
        headers=properties["headers"],
        delivery_count=properties.get("count", 0),
        redelivered=properties.get("redelivered", False) or "redelivered" in message.headers,
        token=message.delivery_tag,
    )
