"""RabbitMQ, driven by pika: the only package that imports it, and the place where its errors end.

Publishing and consuming have connections of their own, each on its own I/O thread, so that neither a blocked publisher
nor a busy handler keeps acks or heartbeats from the wire.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from manyhands.broker.rabbit import properties, wire
from manyhands.broker.rabbit.consumer import RabbitConsumer
from manyhands.broker.rabbit.publisher import RabbitPublisher
from manyhands.broker.rabbit.puller import RabbitPuller
from manyhands.errors import BrokerError, BrokerUnavailable, SettingsError, TopologyConflict
from manyhands.tls import Files
from manyhands.topology import Binding, Exchange, Queue, Topology

__all__ = ["RabbitBroker"]

#: AMQP reply codes, as the specification numbers them.
_NOT_FOUND, _PRECONDITION_FAILED = 404, 406

properties.install()


class RabbitBroker:
    """A RabbitMQ by its URL: ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS.

    ``tls`` names the authorities that are trusted instead of the system's, and our own certificate where the broker
    asks for one; the files are read anew for every connection. ``?ca=FILE`` in the URL also names authorities; other
    parameters of the query are those of ``pika.URLParameters``. ``timeout`` is the connection timeout in seconds.

    Raises:
        SettingsError: the URL is not right.
    """

    def __init__(self, url: str, *, name: str = "manyhands", timeout: float = 10.0, tls: Files | None = None) -> None:
        self._url, self._name, self._timeout, self._tls = url, name, timeout, tls or Files()
        self._first = self._parameters("")
        self._lock = threading.Lock()
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, Queue] = {}
        self._bindings: dict[Binding, None] = {}
        self._open: list[RabbitPublisher | RabbitConsumer | RabbitPuller] = []
        self._version = ""

    def declare(self, topology: Topology) -> None:
        """Create whatever is missing; every connection made later does it again."""
        with self._channel("declare") as channel:
            for method, arguments in wire.steps(topology):
                getattr(channel, method)(**arguments)
        with self._lock:
            self._exchanges.update((e.name, e) for e in topology.exchanges)
            self._queues.update((q.name, q) for q in topology.queues)
            self._bindings.update((b, None) for b in topology.bindings)

    def publisher(self, *, window: int = 1000, user: str | None = None) -> RabbitPublisher:
        """A publisher on a connection of its own."""
        publisher = RabbitPublisher(self._settings("publisher"), window, user)
        self._keep(publisher)
        return publisher

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> RabbitConsumer:
        """A consumer on a connection of its own, with a channel for each queue."""
        consumer = RabbitConsumer(self._settings("consumer"), queues, prefetch)
        self._keep(consumer)
        return consumer

    def puller(self, queues: Sequence[str]) -> RabbitPuller:
        """A puller on a connection of its own."""
        puller = RabbitPuller(self._settings("puller"), queues)
        self._keep(puller)
        return puller

    def has_exchange(self, name: str) -> bool:
        """Whether there is an exchange of this name."""
        with self._channel("check") as channel:
            try:
                channel.exchange_declare(name, passive=True)
            except ChannelClosedByBroker as closed:
                if closed.reply_code == _NOT_FOUND:
                    return False
                raise
            return True

    def depth(self, queue: str) -> tuple[int, int] | None:
        """(messages ready, consumers) of a queue, or None."""
        with self._channel("depth") as channel:
            try:
                found = channel.queue_declare(queue, passive=True).method
            except ChannelClosedByBroker as closed:
                if closed.reply_code == _NOT_FOUND:
                    return None
                raise
            return found.message_count, found.consumer_count

    def delete(self, topology: Topology) -> None:
        """Remove its queues and exchanges with whatever is in them."""
        queues, exchanges = {q.name for q in topology.queues}, {e.name for e in topology.exchanges}
        with self._lock:
            # forgotten first: a connection made in this moment must not bring them back
            self._queues = {name: q for name, q in self._queues.items() if name not in queues}
            self._exchanges = {name: e for name, e in self._exchanges.items() if name not in exchanges}
            self._bindings = {b: None for b in self._bindings if b.queue not in queues and b.exchange not in exchanges}
        with self._channel("delete") as channel:
            for name in queues:
                channel.queue_delete(name)
            for name in exchanges:
                channel.exchange_delete(name)

    @property
    def durable(self) -> bool:
        """Confirmed messages are on disk."""
        return True

    @property
    def counts_hand_backs(self) -> bool:
        """True before RabbitMQ 4.3, and for whatever else speaks AMQP."""
        return wire.counts_hand_backs(self._version)

    @property
    def version(self) -> str:
        """``RabbitMQ`` and its version."""
        return self._version

    def close(self) -> None:
        """Close every publisher and consumer."""
        with self._lock:
            links, self._open = self._open, []
        for link in links:
            link.close()

    def _keep(self, link: RabbitPublisher | RabbitConsumer | RabbitPuller) -> None:
        with self._lock:
            self._open = [each for each in self._open if not each.closed] + [link]
        link.start()

    def _settings(self, role: str) -> wire.Settings:
        return wire.Settings(
            first=self._first,
            parameters=lambda: self._parameters(role),
            role=role,
            topology=self._declared,
            greeted=self._greeted,
        )

    def _parameters(self, purpose: str) -> pika.connection.Parameters:
        return wire.parameters(self._url, f"{self._name} {purpose}", self._timeout, self._tls)

    def _declared(self) -> Topology:
        with self._lock:
            return Topology(
                exchanges=tuple(self._exchanges.values()),
                queues=tuple(self._queues.values()),
                bindings=tuple(self._bindings),
            )

    def _greeted(self, properties: Mapping[str, Any]) -> None:
        self._version = f"{properties.get('product', 'AMQP broker')} {properties.get('version', '')}".strip()

    @contextlib.contextmanager
    def _channel(self, purpose: str) -> Iterator[Any]:
        """A channel for a few questions, on a connection that ends with them."""
        try:
            parameters = self._parameters(purpose)
            connection = pika.BlockingConnection(parameters)
        except SettingsError as error:
            # the files were right at the start: they are being renewed, and half of them is written
            raise BrokerUnavailable(error.detail) from error
        except (AMQPError, OSError) as error:
            raise wire.unavailable(error, parameters) from error
        # the blocking connection does not hand out what the server said of itself
        self._greeted(connection._impl.server_properties)
        try:
            yield connection.channel()
        except ChannelClosedByBroker as closed:
            if closed.reply_code == _PRECONDITION_FAILED:
                raise TopologyConflict(closed.reply_text) from closed
            raise BrokerError(closed.reply_text) from closed
        except (AMQPError, OSError) as error:
            raise wire.unavailable(error, parameters) from error
        finally:
            with contextlib.suppress(AMQPError, OSError):
                connection.close()
