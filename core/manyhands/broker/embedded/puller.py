"""Pulling: nothing is ever prefetched here, so a puller is a consumer that holds one message a queue."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.broker.embedded.consumer import EmbeddedConsumer
from manyhands.broker.embedded.link import Link
from manyhands.broker.embedded.queues import Queues
from manyhands.broker.protocol import Delivery
from manyhands.errors import BrokerUnavailable


class EmbeddedPuller(EmbeddedConsumer):
    """A puller of some queues."""

    def __init__(self, link: Link, queues: Queues, names: Sequence[str]) -> None:
        super().__init__(link, queues, names, 1)
        self._names = list(names)

    def look(self) -> bool:
        """Whether there is something to take."""
        try:
            with self._link.channel() as channel:
                return any(self._queues.depth(channel, name)[0] for name in self._names if self._queues.exists(name))
        except BrokerUnavailable:
            return False

    def take(self) -> Delivery | None:
        """The next message."""
        return next(iter(self.receive(1, 0)), None)
