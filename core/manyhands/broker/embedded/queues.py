"""The messages in the queues: put in, taken out, settled, and dead-lettered when they fail too often or too late."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

from manyhands import logs, metrics
from manyhands.broker.amqp import with_death
from manyhands.broker.embedded.declared import Declared
from manyhands.broker.embedded.link import Link
from manyhands.broker.protocol import Outgoing, Verdict
from manyhands.errors import BrokerError, Refused, Unroutable
from manyhands.topology import Queue, Topology

_log = logs.get(__name__)


class Taker(Protocol):
    """Who takes from queues, as the queues know it. Both are called with the lock held."""

    def wake(self) -> None:
        """Look again."""

    def forget(self, queue: str) -> list[Any]:
        """A queue is gone; returns what was held of it."""


class Queues:
    """The queues behind a link, and who takes from them."""

    def __init__(self, link: Link, declared: Declared) -> None:
        self._link, self._declared = link, declared
        self._takers: dict[str, list[Taker]] = {}
        #: Notified when something was put into a queue that expires.
        self.expiring = threading.Condition(link.lock)

    # -- who takes -----------------------------------------------------------------------------------------------------

    def register(self, taker: Taker, queues: Sequence[str]) -> None:
        """Somebody takes from these queues; from one with a single active consumer once all before it have gone."""
        with self._link.lock:
            for queue in queues:
                self._takers.setdefault(queue, []).append(taker)
        metrics.CONSUMERS.inc(len(queues))

    def unregister(self, taker: Taker) -> None:
        """A consumer takes no more; where it was the single active one, the next one is."""
        with self._link.lock:
            for queue, takers in self._takers.items():
                if taker in takers:
                    takers.remove(taker)
                    metrics.CONSUMERS.dec()
                    self.wake(queue)

    def wake(self, queue: str) -> None:
        """Let who takes from the queue look again; the lock is held."""
        for taker in self._takers.get(queue, ()):
            taker.wake()

    def remove(self, channel: Any, topology: Topology) -> None:
        """Remove what was declared, and what is held of its queues."""
        for queue in topology.queues:
            for taker in self._takers.get(queue.name, ()):
                for message in taker.forget(queue.name):
                    channel.basic_ack(message.delivery_tag)
        self._declared.remove(channel, topology)

    # -- what is known of a queue --------------------------------------------------------------------------------------

    def exists(self, queue: str) -> bool:
        """Whether this process knows the queue."""
        return queue in self._declared.queues

    def depth(self, channel: Any, queue: str) -> tuple[int, int]:
        """(messages, consumers) of a queue."""
        return channel._size(queue), len(self._takers.get(queue, ()))

    def due(self) -> list[str]:
        """The queues whose messages expire."""
        return [q.name for q in self._declared.queues.values() if q.ttl is not None and q.dead_letter is not None]

    def left(self, message: Any) -> float:
        """Seconds until a message of such a queue expires."""
        return float(message.properties.get("due", 0.0)) - self._link.now()

    # -- messages ------------------------------------------------------------------------------------------------------

    def send(self, message: Outgoing) -> BrokerError | None:
        """Route a message and put it into its queues; returns what is wrong."""
        properties = {"type": message.type, "key": message.key, "encoding": message.content_encoding}
        known = self._declared.queues
        try:
            with self._link.channel() as channel:
                queues = self._declared.route(channel, message.exchange, message.key)
                if not queues:
                    return Unroutable(f"exchange {message.exchange!r}, key {message.key!r}")
                for queue in queues:
                    if queue in known and channel._size(queue) >= known[queue].max_length:
                        return Refused(f"{queue} is full")
                for queue in queues:
                    self._put(channel, queue, message.body, {**properties, "headers": dict(message.headers)})
        except BrokerError as error:
            return error
        return None

    def take(self, taker: Taker, queue: str, most: int) -> list[Any]:
        """Up to ``most`` messages of a queue."""
        known = self._declared.queues.get(queue)
        if known is None or (known.single_active and self._takers[queue][0] is not taker):
            return []
        taken: list[Any] = []
        with self._link.channel() as channel:
            while len(taken) < most and (message := channel.basic_get(queue)) is not None:
                taken.append(message)
        return taken

    def settle(self, queue: str, message: Any, verdict: Verdict) -> None:
        """Acknowledge a message, or put it back; past the delivery limit it is dead-lettered."""
        with self._link.channel() as channel:
            known = self._declared.queues.get(queue)
            if verdict is not Verdict.ACK and known is not None:
                properties = message.properties
                count = properties.get("count", 0) + (verdict is Verdict.FAILED)
                if count <= known.delivery_limit or not self._bury(channel, known, message, "delivery_limit"):
                    self._put(channel, queue, message.body, {**properties, "count": count, "redelivered": True})
            channel.basic_ack(message.delivery_tag)  # last: what the message became is in its queue

    def expire(self, queue: str, message: Any) -> None:
        """Dead-letter a message whose time has come."""
        with self._link.channel() as channel:
            known = self._declared.queues.get(queue)
            if known is not None and not self._bury(channel, known, message, "expired"):
                self._put(channel, queue, message.body, dict(message.properties))
            channel.basic_ack(message.delivery_tag)

    def _put(self, channel: Any, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        known = self._declared.queues.get(queue)
        ttl = known.ttl if known is not None else None  # another process declared it: one without a ladder of its own
        if ttl is not None:
            properties["due"] = self._link.now() + ttl
        properties.update(delivery_info={}, priority=0)
        # headers are a property: kombu reads meaning into headers of its own
        message = {"body": body, "content-encoding": "binary", "content-type": "application/msgpack", "headers": {}}
        channel.basic_publish({**message, "properties": properties}, "", queue)
        if ttl is not None:
            self.expiring.notify_all()
        self.wake(queue)

    def _bury(self, channel: Any, queue: Queue, message: Any, reason: str) -> bool:
        """Dead-letter a message; False where nobody takes it, because nothing is ever dropped."""
        properties = dict(message.properties)
        exchange, key = queue.dead_letter or ("", None)
        properties["key"] = key = properties["key"] if key is None else key
        targets = self._declared.route(channel, exchange, key) if queue.dead_letter else []
        if not targets:
            _log.error("no queue takes this dead letter, it stays", queue=queue.name, reason=reason, key=key)
            return False
        for name in ("count", "redelivered", "due", "delivery_tag", "delivery_info"):
            properties.pop(name, None)
        properties["headers"] = with_death(properties["headers"], queue.name, reason)
        for target in targets:
            self._put(channel, target, message.body, dict(properties))
        return True
