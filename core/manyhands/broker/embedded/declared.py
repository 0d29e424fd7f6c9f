"""What this process has declared, and the way of a message through it, which kombu's transports know in part only."""

from __future__ import annotations

from typing import Any

from manyhands.broker.amqp import matches
from manyhands.errors import TopologyConflict
from manyhands.topology import Exchange, Queue, Topology

#: Routes that are kept; there are not as many exchanges and keys.
ROUTES = 10_000


class Declared:
    """Exchanges, queues and bindings; the link's lock is held by who calls it.

    ``sole``: nobody else makes bindings, so that routes may be kept.
    """

    def __init__(self, *, sole: bool) -> None:
        self._sole = sole
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self._bindings: dict[tuple[str, str, str], None] = {}
        self._routes: dict[tuple[str, str], list[str]] = {}

    def add(self, topology: Topology) -> None:
        """Know of more.

        Raises:
            TopologyConflict: something of that name is known with other arguments; nothing was added.
        """
        for exchange in topology.exchanges:
            if self.exchanges.get(exchange.name, exchange) != exchange:
                raise TopologyConflict(exchange.name)
        for queue in topology.queues:
            if self.queues.get(queue.name, queue).arguments != queue.arguments:
                raise TopologyConflict(queue.name)
        self.exchanges.update((e.name, e) for e in topology.exchanges)
        self.queues.update((q.name, q) for q in topology.queues)
        self._bindings.update(dict.fromkeys((b.queue, b.exchange, b.key) for b in topology.bindings))

    def declare(self, channel: Any) -> None:
        """Declare all of it on a channel."""
        self._routes.clear()
        for exchange in self.exchanges.values():
            # a fanout is kept as a topic: kombu's own fanout on Redis reaches only who listens at that moment
            kind = "direct" if exchange.kind == "direct" else "topic"
            channel.exchange_declare(exchange.name, kind, durable=True)
        for queue in self.queues.values():
            channel.queue_declare(queue.name, durable=True)
        for name, source, key in self._bindings:
            channel.queue_bind(name, source, key)

    def remove(self, channel: Any, topology: Topology) -> None:
        """Remove queues with what is in them, and exchanges."""
        for queue in topology.queues:
            channel.queue_purge(queue.name)
            channel.queue_delete(queue.name)
            self.queues.pop(queue.name, None)
            self._bindings = {b: None for b in self._bindings if b[0] != queue.name}
        for exchange in topology.exchanges:
            if self.exchanges.pop(exchange.name, None) is not None:
                channel.exchange_delete(exchange.name)
                self._bindings = {b: None for b in self._bindings if b[1] != exchange.name}
        self._routes.clear()

    def clear(self) -> None:
        """Know of nothing."""
        self.exchanges.clear()
        self.queues.clear()
        self._bindings.clear()
        self._routes.clear()

    def route(self, channel: Any, exchange: str, key: str) -> list[str]:
        """The queues that take a message, through alternate exchanges where the bindings take none."""
        route = self._routes.get((exchange, key))
        if route is None:
            route = self._look_up(channel, exchange, key)
            if self._sole and len(self._routes) < ROUTES:
                self._routes[exchange, key] = route
        return route

    def _look_up(self, channel: Any, exchange: str, key: str) -> list[str]:
        if not exchange:
            return [key] if key in self.queues else []
        seen: set[str] = set()
        name: str | None = exchange
        while name is not None and name not in seen and (known := self.exchanges.get(name)) is not None:
            seen.add(name)
            bindings = channel.get_table(name)
            if queues := {queue for pattern, _, queue in bindings if matches(known.kind, pattern, key)}:
                return sorted(queues)
            name = known.alternate
        return []
