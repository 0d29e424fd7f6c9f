"""What Manyhands asks of a broker. These docstrings are the specification; ``tests/broker`` holds every adapter to it.

The promises, in short:

- A publish is *confirmed* only when every queue that takes the message holds it durably. A message that no queue takes
  is not confirmed: it fails with ``Unroutable``.
- A delivery stays the consumer's until it is settled. It goes back to its queue when the consumer or its connection
  ends, however it ends; settling it afterwards does nothing.
- Connections are lost and found again inside the adapter. The caller sees unconfirmed publishes fail with
  ``BrokerUnavailable`` and unsettled deliveries come again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from manyhands.errors import BrokerError
from manyhands.topology import Topology
from manyhands.tracing import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message on its way out: where to, what type, and its encoded body."""

    exchange: str
    key: str
    body: bytes
    type: str
    content_encoding: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Delivery:
    """A message in hand.

    ``delivery_count`` says how often it was delivered before and came back by fault (a crash, a reject); 0 at first.
    Where the broker ``counts_hand_backs``, it counts these too.
    ``redelivered`` is true when it may have been seen before. ``user`` is who published it, if the broker vouches for
    that. ``token`` is the adapter's own. ``trace`` is there when the message is of a suite that is traced.
    """

    queue: str
    key: str
    body: bytes
    type: str | None
    content_encoding: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    delivery_count: int = 0
    redelivered: bool = False
    user: str | None = None
    token: Any = None
    trace: Trace | None = None


class Verdict(enum.Enum):
    """How a delivery is settled."""

    #: Done with: what it caused is durable.
    ACK = "ack"
    #: Back to the queue, not its fault; does not count as a failed delivery where the broker tells the two apart.
    HAND_BACK = "hand back"
    #: Back to the queue, this delivery failed; counts towards the delivery limit, past which it is dead-lettered.
    FAILED = "failed"


#: Called once when a publish is settled: with None when confirmed, else with the error.
Confirmed = Callable[[BrokerError | None], None]


class Publisher(Protocol):
    """Publishes with confirms, many in flight. Every method may be called from any thread."""

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Send a message; ``confirmed`` is called exactly once, from a thread of the adapter, and must be quick.

        Blocks while the window of unconfirmed messages is full or the broker has blocked the connection: this is how a
        slow broker slows its producers. Errors given to ``confirmed``: ``Unroutable``, ``Refused`` (the queue is full
        or refuses), ``BrokerUnavailable`` (unknown whether it arrived: publish again, receivers deduplicate).
        Never raises for the state of the connection. ``TooLarge`` is the codec's to raise, before.
        """

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is unconfirmed; False when that took longer than ``timeout`` seconds."""

    @property
    def ready(self) -> bool:
        """Whether the connection is up and not blocked."""

    def close(self) -> None:
        """End the connection; what is unconfirmed fails with ``BrokerUnavailable``."""


class Consumer(Protocol):
    """Takes deliveries from some queues. ``receive`` belongs to one thread, the rest may be called from any."""

    def receive(self, most: int, timeout: float) -> list[Delivery]:
        """Up to ``most`` deliveries; waits up to ``timeout`` seconds for the first and not at all for the others."""

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle deliveries. One that died with its channel is passed over: it comes again by itself."""

    def resize(self, prefetch: int) -> None:
        """Change how many unsettled deliveries the consumer may hold.

        What it holds at that moment may come on top of it, until that is settled.
        """

    def stop(self) -> None:
        """Take no more. What was prefetched and not received goes back; what was received can still be settled.

        When it returns, no further delivery can be received.
        """

    @property
    def registered(self) -> int:
        """How many queues this consumer is registered on at this moment (a cancelled one is not, until it is back)."""

    @property
    def ready(self) -> bool:
        """Whether it is registered on every one of its queues."""

    def close(self) -> None:
        """End the connection after sending what was settled; whatever is unsettled goes back to its queues."""


class Puller(Protocol):
    """Takes one message at a time, settled before the next, and only when asked: whatever it holds is in hand.

    Nothing is prefetched, so a message whose holder dies has surely been in its hands. ``look`` and ``take`` belong to
    one thread, the rest may be called from any.
    """

    def look(self) -> bool:
        """Whether a message is ready in one of the queues; False as well when the broker does not answer."""

    def take(self) -> Delivery | None:
        """The message that ``look`` saw; None where it is gone, or the broker does not answer."""

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle deliveries, as a consumer does."""

    @property
    def ready(self) -> bool:
        """Whether it can ask, and every one of its queues was there when it last did."""

    def close(self) -> None:
        """End the connection after sending what was settled; what is unsettled goes back to its queue."""


class Broker(Protocol):
    """A broker by its URL: makes publishers and consumers, declares and inspects. Connects only when asked to."""

    def declare(self, topology: Topology) -> None:
        """Create whatever is missing; also done again by every connection that is made later.

        Raises:
            TopologyConflict: something of that name exists with other arguments.
            BrokerUnavailable: no connection within the adapter's connection timeout.
        """

    def publisher(self, *, window: int = 1000, user: str | None = None) -> Publisher:
        """A publisher with at most ``window`` unconfirmed messages; connects in the background.

        Each message says that it is from ``user``. A broker with users of its own refuses it from any other.
        """

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        """A consumer of the queues, holding at most ``prefetch`` unsettled deliveries a queue."""

    def puller(self, queues: Sequence[str]) -> Puller:
        """A puller of the queues; connects in the background."""

    def has_exchange(self, name: str) -> bool:
        """Whether there is an exchange of this name. (Bindings cannot be seen over AMQP.)

        Raises:
            BrokerUnavailable: no connection within the adapter's connection timeout.
        """

    def depth(self, queue: str) -> tuple[int, int] | None:
        """(messages ready, consumers) of a queue, or None when there is no such queue.

        Raises:
            BrokerUnavailable: no connection within the adapter's connection timeout.
        """

    def delete(self, topology: Topology) -> None:
        """Remove its queues and exchanges with whatever is in them."""

    @property
    def durable(self) -> bool:
        """Whether confirmed messages outlive this process."""

    @property
    def counts_hand_backs(self) -> bool:
        """Whether ``delivery_count`` may include deliveries that were handed back; True as long as it is not known."""

    @property
    def version(self) -> str:
        """Name and version of what was connected to last, such as ``RabbitMQ 4.3.1``; empty before."""

    def close(self) -> None:
        """Close every publisher and consumer that is still open."""
