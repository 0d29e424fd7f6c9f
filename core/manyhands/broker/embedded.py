"""The embedded broker: kombu's in-memory transport, or through kombu Redis and SQS. The only module that imports kombu.

kombu's virtual transports carry queues of messages and little else. What else the protocol promises is done here:
routing with alternate exchanges, the retry ladder, delivery limits and dead letters, prefetch, single active consumers.

- ``memory://``: each :class:`EmbeddedBroker` is a broker of its own, shared by the threads that are given the object
  and by nobody else, whatever stands behind ``memory://``. Consumers wake as soon as something is published.
- ``redis://`` and ``sqs://``: queues and bindings are the server's; consumers poll. These servers keep no arguments of
  queues, so every process must declare the topology it uses, conflicts are noticed within one process only, and a
  single active consumer is single within its process: run one aggregator.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import kombu
from kombu.connection import Connection
from kombu.transport import memory, virtual

from manyhands import backoff, logs, metrics
from manyhands.broker.amqp import matches, with_death
from manyhands.broker.protocol import Confirmed, Delivery, Outgoing, Verdict
from manyhands.errors import BrokerError, BrokerUnavailable, Refused, SettingsError, TopologyConflict, Unroutable
from manyhands.measure import type_label
from manyhands.topology import Exchange, Queue, Topology

_log = logs.get(__name__)

#: Seconds between two looks at a queue of a server; in memory nobody polls.
POLL = 0.05
#: Seconds that closing waits for callbacks that are still running.
CLOSING = 5.0


class _Channel(memory.Channel):
    """kombu's in-memory channel with queues of its own, where kombu shares them throughout the process."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        self.queues: dict[str, Any] = {}

    def _next_delivery_tag(self) -> int:
        return next(self._delivery_tags)  # where nobody else counts, no uuid is needed: it costs as much as the rest

    def _delete(self, queue: str, exchange: str, *meta: Any, **kwargs: Any) -> None:
        super()._delete(queue, exchange, *meta, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        table = self.get_table(exchange)  # type: ignore[no-untyped-call]  # which kombu leaves as it was
        table[:] = [binding for binding in table if binding[2] != queue]


class _Transport(memory.Transport):
    """kombu's in-memory transport with exchanges and bindings of its own."""

    Channel = _Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        self.state = virtual.BrokerState()


class EmbeddedBroker:
    """A :class:`~manyhands.broker.protocol.Broker` on one of kombu's virtual transports.

    One lock guards the one channel, which is not made for threads, and everything that is known of the topology.
    """

    def __init__(self, url: str = "memory://") -> None:
        self._url = url
        self._memory = url.startswith("memory:")
        self.poll = None if self._memory else POLL
        # what is due is compared with what another process wrote only where there is another process
        self._now = time.monotonic if self._memory else time.time
        self.lock = threading.RLock()
        self._connection: Any = None
        self._channel: Any = None
        # nothing is out of reach in memory, and to "reconnect" would be to lose what is there
        self._errors: tuple[type[BaseException], ...] = () if self._memory else (OSError,)
        self._attempts, self._again_at = 0, 0.0
        self._version = ""
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, Queue] = {}
        self._bindings: dict[tuple[str, str, str], None] = {}
        self._routes: dict[tuple[str, str], list[str]] = {}
        self._consumers: dict[str, list[_Consumer]] = {}
        self._publishers: list[_Publisher] = []
        self._ladder = _Ladder(self)

    # -- the protocol --------------------------------------------------------------------------------------------------

    def declare(self, topology: Topology) -> None:
        """Create what is missing, here and now."""
        with self.channel() as channel:
            for exchange in topology.exchanges:
                if self._exchanges.get(exchange.name, exchange) != exchange:
                    raise TopologyConflict(exchange.name)
            for queue in topology.queues:
                if self._queues.get(queue.name, queue).arguments != queue.arguments:
                    raise TopologyConflict(queue.name)
            self._exchanges.update((e.name, e) for e in topology.exchanges)
            self._queues.update((q.name, q) for q in topology.queues)
            self._bindings.update(dict.fromkeys((b.queue, b.exchange, b.key) for b in topology.bindings))
            self._declare(channel)
            for queue in topology.queues:
                self.wake(queue.name)
        if any(q.ttl is not None for q in topology.queues):
            self._ladder.start()

    def publisher(self, *, window: int = 1000, user: str | None = None) -> _Publisher:  # noqa: ARG002  it has no users
        """A publisher; what it publishes is confirmed from a thread of its own."""
        publisher = _Publisher(self, window)
        with self.lock:
            self._publishers.append(publisher)
        return publisher

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> _Consumer:
        """A consumer; of a queue with a single active consumer the one that came first gets everything."""
        consumer = _Consumer(self, queues, prefetch)
        with self.lock:
            for queue in queues:
                self._consumers.setdefault(queue, []).append(consumer)
        metrics.CONSUMERS.inc(len(queues))
        return consumer

    def has_exchange(self, name: str) -> bool:
        """Whether this process has declared an exchange of this name."""
        with self.channel():
            return name in self._exchanges

    def depth(self, queue: str) -> tuple[int, int] | None:
        """What is ready and who consumes, of the queues declared by this process."""
        with self.channel() as channel:
            if queue not in self._queues:
                return None
            return channel._size(queue) + self._ladder.holds(queue), len(self._consumers.get(queue, ()))

    def delete(self, topology: Topology) -> None:
        """Remove queues with what is in them, and exchanges."""
        with self.channel() as channel:
            for queue in topology.queues:
                for consumer in self._consumers.get(queue.name, ()):
                    for message in consumer.forget(queue.name):
                        channel.basic_ack(message.delivery_tag)
                self._ladder.forget(queue.name)
                channel.queue_purge(queue.name)
                channel.queue_delete(queue.name)
                self._queues.pop(queue.name, None)
                self._bindings = {b: None for b in self._bindings if b[0] != queue.name}
            for exchange in topology.exchanges:
                if self._exchanges.pop(exchange.name, None) is not None:
                    channel.exchange_delete(exchange.name)
                    self._bindings = {b: None for b in self._bindings if b[1] != exchange.name}
            self._routes.clear()

    @property
    def durable(self) -> bool:
        """False in memory."""
        return not self._memory

    @property
    def counts_hand_backs(self) -> bool:
        """False: the count is this adapter's own."""
        return False

    @property
    def version(self) -> str:
        """Such as ``kombu 5.7.0 memory``."""
        return self._version

    def close(self) -> None:
        """Close publishers and consumers; in memory this ends everything that was in the queues."""
        with self.lock:
            publishers = list(self._publishers)
            consumers = {c for some in self._consumers.values() for c in some}
        for publisher in publishers:
            publisher.close()
        for consumer in consumers:
            consumer.close()
        self._ladder.close()
        with self.lock:
            self._disconnect()
            if self._memory:
                self._exchanges.clear()
                self._queues.clear()
                self._bindings.clear()

    # -- the connection ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """The channel, locked; its library's errors become ``BrokerUnavailable``."""
        with self.lock:
            try:
                yield self._connected()
            except self._errors as error:
                self._disconnect()
                self._attempts += 1
                self._again_at = time.monotonic() + backoff.reconnect_delay(self._attempts, random.random)
                raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    @property
    def connected(self) -> bool:
        """Whether there is a channel; tries to get one."""
        with contextlib.suppress(BrokerUnavailable), self.channel():
            return True
        return False

    def _connected(self) -> Any:
        if self._channel is None:
            if time.monotonic() < self._again_at:
                raise BrokerUnavailable("it was away a moment ago")
            options = {"body_encoding": None} if self._memory else {}  # bytes stay bytes where no JSON is made of them
            transport = _Transport if self._memory else None
            try:
                connection = Connection(
                    self._url, transport=transport, transport_options=options, connect_timeout=CLOSING
                )
                if not self._memory:
                    self._errors = (OSError, *connection.connection_errors, *connection.channel_errors)
                channel = connection.channel()
            except (ImportError, AttributeError) as error:  # kombu subclasses what it could not import
                extra = self._url.partition(":")[0].replace("rediss", "redis")
                raise SettingsError(f"{extra}:// needs another package; install kombu[{extra}]") from error
            self._connection, self._channel, self._attempts = connection, channel, 0
            self._version = f"kombu {kombu.__version__} {connection.transport.driver_type}"
            self._declare(channel)
        return self._channel

    def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._routes.clear()
        if connection is not None:
            with contextlib.suppress(*self._errors):
                connection.release()

    def _declare(self, channel: Any) -> None:
        self._routes.clear()
        for exchange in self._exchanges.values():
            # a fanout is kept as a topic: kombu's own fanout on Redis reaches only who listens at that moment
            kind = "direct" if exchange.kind == "direct" else "topic"
            channel.exchange_declare(exchange.name, kind, durable=True)
        for queue in self._queues.values():
            channel.queue_declare(queue.name, durable=True)
        for name, source, key in self._bindings:
            channel.queue_bind(name, source, key)

    # -- messages ------------------------------------------------------------------------------------------------------

    def send(self, message: Outgoing) -> BrokerError | None:
        """Route a message and put it into its queues; returns what is wrong."""
        properties = {"type": message.type, "key": message.key, "encoding": message.content_encoding}
        try:
            with self.channel() as channel:
                queues = self._route(channel, message.exchange, message.key)
                if not queues:
                    return Unroutable(f"exchange {message.exchange!r}, key {message.key!r}")
                for queue in queues:
                    if queue in self._queues and channel._size(queue) >= self._queues[queue].max_length:
                        return Refused(f"{queue} is full")
                for queue in queues:
                    self._put(channel, queue, message.body, {**properties, "headers": dict(message.headers)})
        except BrokerError as error:
            return error
        return None

    def take(self, consumer: _Consumer, queue: str, most: int) -> list[Any]:
        """Up to ``most`` messages of a queue for a consumer."""
        known = self._queues.get(queue)
        if known is None or (known.single_active and self._consumers[queue][0] is not consumer):
            return []
        taken: list[Any] = []
        with self.channel() as channel:
            while len(taken) < most and (message := channel.basic_get(queue)) is not None:
                taken.append(message)
        return taken

    def settle(self, queue: str, message: Any, verdict: Verdict) -> None:
        """Acknowledge a message, or put it back; past the delivery limit it is dead-lettered."""
        with self.channel() as channel:
            known = self._queues.get(queue)
            if verdict is not Verdict.ACK and known is not None:
                properties = message.properties
                count = properties.get("count", 0) + (verdict is Verdict.FAILED)
                if count <= known.delivery_limit or not self._bury(channel, known, message, "delivery_limit"):
                    self._put(channel, queue, message.body, {**properties, "count": count, "redelivered": True})
            channel.basic_ack(message.delivery_tag)  # last: what the message became is in its queue

    def expire(self, queue: str, message: Any) -> None:
        """Dead-letter a message whose time has come."""
        with self.channel() as channel:
            known = self._queues.get(queue)
            if known is not None and not self._bury(channel, known, message, "expired"):
                self._put(channel, queue, message.body, dict(message.properties))
            channel.basic_ack(message.delivery_tag)

    def unregister(self, consumer: _Consumer) -> None:
        """A consumer takes no more; where it was the single active one, the next one is."""
        with self.lock:
            for queue, consumers in self._consumers.items():
                if consumer in consumers:
                    consumers.remove(consumer)
                    metrics.CONSUMERS.dec()
                    self.wake(queue)

    def release(self, publisher: _Publisher) -> None:
        """A publisher is closed."""
        with self.lock, contextlib.suppress(ValueError):
            self._publishers.remove(publisher)

    def exists(self, queue: str) -> bool:
        """Whether this process knows the queue."""
        return queue in self._queues

    def due(self) -> list[str]:
        """The queues whose messages expire."""
        return [q.name for q in self._queues.values() if q.ttl is not None and q.dead_letter is not None]

    def left(self, message: Any) -> float:
        """Seconds until a message of such a queue expires."""
        return float(message.properties.get("due", 0.0)) - self._now()

    def wake(self, queue: str) -> None:
        """Let the queue's consumers look again; the lock is held."""
        for consumer in self._consumers.get(queue, ()):
            consumer.wake()

    def _put(self, channel: Any, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        known = self._queues.get(queue)
        ttl = known.ttl if known is not None else None  # another process declared it: one without a ladder of its own
        if ttl is not None:
            properties["due"] = self._now() + ttl
        properties.update(delivery_info={}, priority=0)
        # headers are a property: kombu reads meaning into headers of its own
        message = {"body": body, "content-encoding": "binary", "content-type": "application/msgpack", "headers": {}}
        channel.basic_publish({**message, "properties": properties}, "", queue)
        if ttl is not None:
            self._ladder.wake()
        self.wake(queue)

    def _bury(self, channel: Any, queue: Queue, message: Any, reason: str) -> bool:
        """Dead-letter a message; False where nobody takes it, because nothing is ever dropped."""
        properties = dict(message.properties)
        exchange, key = queue.dead_letter or ("", None)
        properties["key"] = key = properties["key"] if key is None else key
        targets = self._route(channel, exchange, key) if queue.dead_letter else []
        if not targets:
            _log.error("no queue takes this dead letter, it stays", queue=queue.name, reason=reason, key=key)
            return False
        for name in ("count", "redelivered", "due", "delivery_tag", "delivery_info"):
            properties.pop(name, None)
        properties["headers"] = with_death(properties["headers"], queue.name, reason)
        for target in targets:
            self._put(channel, target, message.body, dict(properties))
        return True

    def _route(self, channel: Any, exchange: str, key: str) -> list[str]:
        """The queues that take a message, through alternate exchanges where the bindings take none."""
        route = self._routes.get((exchange, key))
        if route is None:
            route = self._look_up(channel, exchange, key)
            if self._memory and len(self._routes) < 10_000:  # elsewhere bindings are made by others as well
                self._routes[exchange, key] = route
        return route

    def _look_up(self, channel: Any, exchange: str, key: str) -> list[str]:
        if not exchange:
            return [key] if key in self._queues else []
        seen: set[str] = set()
        name: str | None = exchange
        while name is not None and name not in seen and (known := self._exchanges.get(name)) is not None:
            seen.add(name)
            bindings = channel.get_table(name)
            if queues := {queue for pattern, _, queue in bindings if matches(known.kind, pattern, key)}:
                return sorted(queues)
            name = known.alternate
        return []


class _Publisher:
    """Publishes at once, and confirms from a thread of its own: a caller may hold a lock that its callback takes."""

    def __init__(self, broker: EmbeddedBroker, window: int) -> None:
        self._broker, self._window = broker, window
        self._room = threading.Condition()
        self._settled: deque[tuple[Confirmed, str, BrokerError | None]] = deque()
        self._unconfirmed = 0
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._confirm, name="confirms", daemon=True)
        self._thread.start()

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Put the message into its queues."""
        with self._room:
            self._room.wait_for(lambda: self._unconfirmed < self._window or self._closed)
            self._unconfirmed += 1
            metrics.UNCONFIRMED.inc()
            closed = self._closed
        error: BrokerError | None = None
        try:
            error = BrokerUnavailable("the publisher is closed") if closed else self._broker.send(message)
        finally:
            with self._room:
                late = self._ended
                if not late:
                    self._settled.append((confirmed, message.type, error))
                    self._room.notify_all()
        if late:
            self._call([(confirmed, message.type, error)])

    def flush(self, timeout: float) -> bool:
        """Wait for the callbacks."""
        with self._room:
            return self._room.wait_for(lambda: not self._unconfirmed, timeout)

    @property
    def ready(self) -> bool:
        """Whether there is a connection."""
        return not self._closed and self._broker.connected

    def close(self) -> None:
        """End; what was published is confirmed first, as it is in its queues."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSING)
        self._broker.release(self)

    def _confirm(self) -> None:
        while True:
            with self._room:
                self._room.wait_for(lambda: self._settled or (self._closed and not self._unconfirmed))
                if not self._settled:
                    self._ended = True
                    return
                settled = list(self._settled)
                self._settled.clear()
            self._call(settled)

    def _call(self, settled: list[tuple[Confirmed, str, BrokerError | None]]) -> None:
        for confirmed, _, error in settled:
            try:
                confirmed(error)
            except Exception:  # noqa: BLE001  one bad callback must not keep the others from being called
                _log.exception("a confirm callback failed")
        for kind, count in Counter(kind for _, kind, error in settled if error is None).items():
            metrics.PUBLISHED.labels(type_label(kind)).inc(count)
        for reason, count in Counter(type(error).__name__ for _, _, error in settled if error is not None).items():
            metrics.PUBLISH_FAILED.labels(reason).inc(count)
        metrics.UNCONFIRMED.dec(len(settled))
        with self._room:
            self._unconfirmed -= len(settled)
            self._room.notify_all()


class _Consumer:
    """Takes from its queues in turn; what it holds is kept by queue and kombu's delivery tag."""

    def __init__(self, broker: EmbeddedBroker, queues: Sequence[str], prefetch: int) -> None:
        self._broker, self._prefetch = broker, prefetch
        self._turn = deque(queues)
        self._held: dict[str, dict[str, Any]] = {queue: {} for queue in queues}
        self._arrived = threading.Condition(broker.lock)
        self._waiting = self._stopped = self._closed = False

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
                self._arrived.wait(left if self._broker.poll is None else min(left, self._broker.poll))
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
            self._broker.unregister(self)
            self._arrived.notify_all()

    @property
    def registered(self) -> int:
        """Its queues that exist."""
        return 0 if self._stopped else sum(self._broker.exists(queue) for queue in self._held)

    @property
    def ready(self) -> bool:
        """Whether all of them do."""
        return not self._stopped and self.registered == len(self._held) and self._broker.connected

    def close(self) -> None:
        """Stop, and give back what is held, as deliveries that failed."""
        with self._arrived:
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
            self._broker.settle(queue, message, verdict)
        except BrokerUnavailable as error:  # the server delivers it again when its time is over
            _log.warning("not settled, it will come again", queue=queue, error=str(error))

    def _take(self, most: int) -> list[Delivery]:
        taken: list[Delivery] = []
        self._turn.rotate(-1)
        for queue in self._turn:
            held = self._held[queue]
            try:
                messages = self._broker.take(self, queue, min(most - len(taken), self._prefetch - len(held)))
            except BrokerUnavailable:
                break
            for message in messages:
                held[message.delivery_tag] = message
                taken.append(_delivery(queue, message))
        return taken


class _Ladder:
    """Lets messages expire. Messages of a queue have the same time to live, so only its first needs to be watched."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._put = threading.Condition(broker.lock)
        self._first: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Watch from now on."""
        with self._put:
            if self._thread is None:
                self._closed = False
                self._thread = threading.Thread(target=self._run, name="retry-ladder", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Something was put into a queue that expires; the lock is held."""
        self._put.notify_all()

    def holds(self, queue: str) -> int:
        """How many messages of a queue are held here and not in it."""
        return int(queue in self._first)

    def forget(self, queue: str) -> None:
        """The queue is deleted."""
        self._first.pop(queue, None)

    def close(self) -> None:
        """Stop watching; what is held goes back to its queue."""
        with self._put:
            self._closed = True
            thread, self._thread = self._thread, None
            self._put.notify_all()
        if thread is not None:
            thread.join(CLOSING)

    def _run(self) -> None:
        with self._put:
            while not self._closed:
                self._put.wait(self._watch())
            with contextlib.suppress(BrokerUnavailable), self._broker.channel() as channel:
                while self._first:
                    channel.basic_reject(self._first.popitem()[1].delivery_tag, requeue=True)

    def _watch(self) -> float | None:
        """Move what has expired; returns the seconds until the next look, None for as long as nothing is put."""
        waits = [] if self._broker.poll is None else [self._broker.poll]
        try:
            with self._broker.channel() as channel:
                for queue in self._broker.due():
                    while (first := self._first.pop(queue, None) or channel.basic_get(queue)) is not None:
                        left = self._broker.left(first)
                        if left > 0:
                            self._first[queue] = first
                            waits.append(left)
                            break
                        self._broker.expire(queue, first)
                if not self._broker.durable:
                    return min(waits, default=None)
                channel.qos.restore_visible()  # what a process that died had taken from a server
        except BrokerUnavailable:
            self._first.clear()
        return min(waits, default=None)


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
