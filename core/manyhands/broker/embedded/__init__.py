"""The embedded broker: kombu in memory, or through kombu Redis and SQS. The only package that imports kombu.

kombu's virtual transports carry queues of messages and little else. What else the protocol promises is done here:
routing with alternate exchanges, the retry ladder, delivery limits and dead letters, prefetch, single active consumers.

- ``memory://``: each :class:`EmbeddedBroker` is a broker of its own, shared by the threads that are given the object
  and by nobody else, whatever stands behind ``memory://``. Consumers wake as soon as something is published.
- ``redis://`` and ``sqs://``: queues and bindings are the server's; consumers poll. These servers keep no arguments of
  queues, so every process must declare the topology it uses, conflicts are noticed within one process only, and a
  single active consumer is single within its process: run one aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.broker.embedded.consumer import EmbeddedConsumer
from manyhands.broker.embedded.declared import Declared
from manyhands.broker.embedded.ladder import Ladder
from manyhands.broker.embedded.link import Link
from manyhands.broker.embedded.publisher import EmbeddedPublisher
from manyhands.broker.embedded.puller import EmbeddedPuller
from manyhands.broker.embedded.queues import Queues
from manyhands.topology import Topology

__all__ = ["EmbeddedBroker"]


class EmbeddedBroker:
    """A :class:`~manyhands.broker.protocol.Broker` on one of kombu's virtual transports."""

    def __init__(self, url: str = "memory://") -> None:
        memory = url.startswith("memory:")
        self._declared = Declared(sole=memory)
        self._link = Link(url, self._declared.declare, memory=memory)
        self._queues = Queues(self._link, self._declared)
        self._ladder = Ladder(self._link, self._queues)
        self._publishers: list[EmbeddedPublisher] = []
        self._consumers: list[EmbeddedConsumer] = []

    def declare(self, topology: Topology) -> None:
        """Create what is missing, here and now."""
        with self._link.channel() as channel:
            self._declared.add(topology)
            self._declared.declare(channel)
            for queue in topology.queues:
                self._queues.wake(queue.name)
        if any(q.ttl is not None for q in topology.queues):
            self._ladder.start()

    def publisher(self, *, window: int = 1000, user: str | None = None) -> EmbeddedPublisher:  # noqa: ARG002  no users
        """A publisher; what it publishes is confirmed from a thread of its own."""
        publisher = EmbeddedPublisher(self._link, self._queues, window)
        with self._link.lock:
            self._publishers = [each for each in self._publishers if not each.closed] + [publisher]
        return publisher

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> EmbeddedConsumer:
        """A consumer; of a queue with a single active consumer the one that came first gets everything."""
        consumer = EmbeddedConsumer(self._link, self._queues, queues, prefetch)
        self._keep(consumer)
        return consumer

    def puller(self, queues: Sequence[str]) -> EmbeddedPuller:
        """A puller."""
        puller = EmbeddedPuller(self._link, self._queues, queues)
        self._keep(puller)
        return puller

    def has_exchange(self, name: str) -> bool:
        """Whether this process has declared an exchange of this name."""
        with self._link.channel():
            return name in self._declared.exchanges

    def depth(self, queue: str) -> tuple[int, int] | None:
        """What is ready and who consumes, of the queues declared by this process."""
        with self._link.channel() as channel:
            if not self._queues.exists(queue):
                return None
            ready, consumers = self._queues.depth(channel, queue)
            return ready + self._ladder.holds(queue), consumers

    def delete(self, topology: Topology) -> None:
        """Remove queues with what is in them, and exchanges."""
        with self._link.channel() as channel:
            for queue in topology.queues:
                self._ladder.forget(queue.name)
            self._queues.remove(channel, topology)

    @property
    def durable(self) -> bool:
        """False in memory."""
        return not self._link.memory

    @property
    def counts_hand_backs(self) -> bool:
        """False: the count is this adapter's own."""
        return False

    @property
    def version(self) -> str:
        """Such as ``kombu 5.7.0 memory``."""
        return self._link.version

    def close(self) -> None:
        """Close publishers and consumers; in memory this ends everything that was in the queues."""
        with self._link.lock:
            publishers, consumers = self._publishers, self._consumers
        for publisher in publishers:
            publisher.close()
        for consumer in consumers:
            consumer.close()
        self._ladder.close()
        with self._link.lock:
            self._link.disconnect()
            if self._link.memory:
                self._declared.clear()

    def _keep(self, consumer: EmbeddedConsumer) -> None:
        with self._link.lock:
            self._consumers = [each for each in self._consumers if not each.closed] + [consumer]
