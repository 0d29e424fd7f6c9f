"""Every exchange, queue and binding, and where each message goes. ``docs/topology.md`` is generated from here."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from manyhands.backoff import LADDER

#: A judge's name stands in routing keys and queue names, where a dot would part it.
JUDGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: Queue lengths (messages) at which the broker starts to refuse. The window of each job is what bounds the
#: queues; this is the last wall, should windows times jobs ever exceed it.
MAX_LENGTH = 1_000_000
#: Deliveries after which the broker itself sets a message aside. Workers give up much earlier; this is for
#: messages that kill every worker before it can say anything.
DELIVERY_LIMIT = 20
#: What stands behind the judge in a suspect's routing key, where else the delay of a suite to be tried again stands.
SUSPECT = "suspect"
#: Bytes of a routing key at most, in UTF-8: what AMQP's short strings have room for.
KEY_BYTES = 255
#: Stands for "no limit": RabbitMQ 4 has one of 20 by default, and -1 is not understood by 3.10.
NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An exchange; ``alternate`` takes what no binding takes."""

    name: str
    kind: Literal["direct", "topic", "fanout"]
    alternate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable quorum queue.

    ``ttl`` in seconds; ``dead_letter`` is (exchange, key or None for the message's own key); ``delivery_limit`` counts
    failed deliveries; at ``max_length`` messages it refuses more; ``single_active`` lets one consumer at a time in.
    Messages of a queue that is ``pulled`` are asked for one by one: nobody is registered as its consumer.
    """

    name: str
    ttl: float | None = None
    dead_letter: tuple[str, str | None] | None = None
    delivery_limit: int = NO_LIMIT
    max_length: int = MAX_LENGTH
    single_active: bool = False
    pulled: bool = False
    purpose: str = ""

    @property
    def arguments(self) -> dict[str, str | int | bool]:
        """The arguments of ``queue.declare``, the same on RabbitMQ 3.10 to 4.3."""
        args: dict[str, str | int | bool] = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",  # with drop-head, at-least-once dead-lettering falls back silently
            "x-max-length": self.max_length,
            "x-delivery-limit": self.delivery_limit,
        }
        if self.ttl is not None:
            args["x-message-ttl"] = int(self.ttl * 1000)
        if self.single_active:
            args["x-single-active-consumer"] = True
        if self.dead_letter is not None:
            exchange, key = self.dead_letter
            args["x-dead-letter-exchange"] = exchange
            args["x-dead-letter-strategy"] = "at-least-once"
            if key is not None:
                args["x-dead-letter-routing-key"] = key
        return args


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an exchange passes on to a queue."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What is to be declared, in this order: exchanges, queues, bindings."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one installation, and the routes its messages take: (exchange, routing key).

    ``namespace`` keeps several installations apart on one broker; ``partitions`` is fixed per installation, because a
    suite's partition follows from it.
    """

    namespace: str = ""
    partitions: int = 4
    _prefix: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prefix", f"{self.namespace}." if self.namespace else "")

    def exchange(self, name: str) -> str:
        """The full name of ``mh.<name>``."""
        return f"{self._prefix}mh.{name}"

    def queue(self, name: str) -> str:
        """The full name of a queue."""
        return f"{self._prefix}{name}"

    def tasks_queue(self, judge: str) -> str:
        """The queue that a judge's workers share."""
        return self.queue(f"tasks.{judge}")

    def suspects_queue(self, judge: str) -> str:
        """The queue of a judge's suites that may have killed a worker."""
        return self.queue(f"suspects.{judge}")

    def judgments_queue(self, partition: int) -> str:
        """The queue of one partition of the judgments."""
        return self.queue(f"judgments.{partition}")

    def events_queue(self, role: str) -> str:
        """The queue of the events for one role, shared by its replicas."""
        return self.queue(f"events.{role}")

    def to_judge(self, judge: str) -> tuple[str, str]:
        """The route of a suite."""
        return self.exchange("tasks"), judge

    def to_retry(self, judge: str, rung: float) -> tuple[str, str]:
        """The route of a suite that comes back to its judge after ``rung`` seconds."""
        return self.exchange("retry"), f"{judge}.{_seconds(rung)}"

    def to_suspects(self, judge: str) -> tuple[str, str]:
        """The route of a suite that may have killed a worker. By ``mh.retry``, since only producers hand out suites."""
        return self.exchange("retry"), f"{judge}.{SUSPECT}"

    def to_aggregator(self, job: str, suite: int) -> tuple[str, str]:
        """The route of judgments: all about a suite meets in one partition."""
        return self.exchange("judgments"), str(zlib.crc32(f"{job}/{suite}".encode()) % self.partitions)

    def to_roles(self, event: str) -> tuple[str, str]:
        """The route of an event."""
        return self.exchange("events"), event

    def to_dead(self, kind: str, name: str) -> tuple[str, str]:
        """The route of a dead letter; ``kind`` is tasks, judgments or events.

        The name may be what a stranger chose. Its key can be sent all the same, also by a user with few rights:
        what is too long for a key is cut off, and no line ends in it, since RabbitMQ's patterns look at one line.
        """
        key = f"{kind}.{name}".replace("\n", "?")
        return self.exchange("dead"), key.encode()[:KEY_BYTES].decode(errors="ignore")

    @property
    def dead_queues(self) -> tuple[str, ...]:
        """Where everything that is set aside arrives."""
        return tuple(self.queue(f"dead.{kind}") for kind in ("tasks", "judgments", "events", "unrouted"))


#: Which events each role is told.
EVENTS: dict[str, tuple[str, ...]] = {
    "producer": ("suites.settled", "suite.escalated", "worker.rated", "job.completed"),
    "aggregator": ("job.opened", "suites.opened", "job.sealed", "job.cancelled"),
}


def topology(names: Names, judges: Iterable[str] = ()) -> Topology:
    """The whole topology of an installation with the given judges."""
    tasks, dead, retry = names.exchange("tasks"), names.exchange("dead"), names.exchange("retry")
    judgments, events, unrouted = (
        names.exchange("judgments"),
        names.exchange("events"),
        names.exchange("unrouted"),
    )
    exchanges = (
        Exchange(name=unrouted, kind="fanout"),
        Exchange(name=tasks, kind="topic", alternate=unrouted),
        Exchange(name=judgments, kind="direct"),
        Exchange(name=events, kind="topic"),
        Exchange(name=retry, kind="topic"),
        Exchange(name=dead, kind="topic"),
    )
    queues: list[Queue] = []
    bindings: list[Binding] = []

    def bound(queue: Queue, exchange: str, *keys: str) -> None:
        queues.append(queue)
        bindings.extend(Binding(exchange=exchange, queue=queue.name, key=key) for key in keys)

    for kind in ("tasks", "judgments", "events"):
        purpose = f"{kind} set aside with their cause; the aggregator files them"
        bound(Queue(name=names.queue(f"dead.{kind}"), purpose=purpose), dead, f"{kind}.#")
    bound(Queue(name=names.queue("dead.unrouted"), purpose="suites for a judge without a queue"), unrouted, "#")
    for seconds in LADDER:
        bound(
            Queue(
                name=names.queue(f"retry.{_seconds(seconds)}"),
                ttl=seconds,
                dead_letter=(tasks, None),
                purpose=f"suites that come back after {_seconds(seconds)}",
            ),
            retry,
            f"*.{_seconds(seconds)}",
        )
    for partition in range(names.partitions):
        bound(
            Queue(
                name=names.judgments_queue(partition),
                single_active=True,
                delivery_limit=DELIVERY_LIMIT,
                dead_letter=(dead, f"judgments.{partition}"),
                purpose="judgments of one partition; one aggregator at a time",
            ),
            judgments,
            str(partition),
        )
    for role, told in EVENTS.items():
        bound(
            Queue(
                name=names.events_queue(role),
                delivery_limit=DELIVERY_LIMIT,
                dead_letter=(dead, f"events.{role}"),
                purpose=f"what the {role} must know",
            ),
            events,
            *told,
        )
    for judge in judges:
        bound(
            Queue(
                name=names.tasks_queue(judge),
                delivery_limit=DELIVERY_LIMIT,
                dead_letter=(dead, f"tasks.{judge}"),
                purpose="suites for one judge; every replica of its worker takes from it",
            ),
            tasks,
            judge,
            f"{judge}.*",  # what comes back from the retry ladder carries the rung behind the judge
        )
        bound(
            Queue(
                name=names.suspects_queue(judge),
                delivery_limit=DELIVERY_LIMIT,
                dead_letter=(dead, f"tasks.{judge}"),
                pulled=True,
                purpose="suites for one judge that may have killed a worker; judged alone",
            ),
            retry,
            names.to_suspects(judge)[1],
        )
    return Topology(exchanges=exchanges, queues=tuple(queues), bindings=tuple(bindings))


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"
