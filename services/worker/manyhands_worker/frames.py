"""What a worker and its children say to each other over a pipe: MessagePack lists, the first element says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack

from manyhands import replays, tracing
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.deadletters import HISTORY_LIMIT
from manyhands.headers import number
from manyhands.messages import PUBLISHED_AT
from manyhands.outcome import MESSAGE_LIMIT

#: The worker's last word: a child that reads it ends by itself.
STOP = b""

READY, FAILED, NOTE, JUDGED, PART, REFUSED = range(6)
#: Notes of a child, beside its replies: it makes a handler; it has made it; a process group of its judges has started;
#: it has ended.
LOADING, LOADED, STARTED, ENDED = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message to a child: all that it must know."""

    references: Sequence[str]
    commands: Mapping[str, Mapping[str, Any]]
    http: Mapping[str, Mapping[str, Any]]
    llm: Mapping[str, Mapping[str, Any]]
    judges: Sequence[str]
    path: Sequence[str]
    namespace: str
    partitions: int
    worker: str
    host: str
    body_limit: int
    hard_limit: float
    #: How many children the worker has, this one among them: they share its rate limits.
    children: int


#: The judges that a child offers, by name: the version of each, and whether it takes batches.
Offers = Mapping[str, tuple[str, bool]]


class Unit(NamedTuple):
    """A suite as it came. Of a ``part`` the findings are wanted and not the messages: others make up the suite."""

    body: bytes
    type: str | None
    content_encoding: str | None
    headers: Mapping[str, Any]
    part: bool = False


class Judged(NamedTuple):
    """What became of a suite: counts for the metrics, and what is to be published.

    It was judged for ``seconds`` from ``started`` on (since 1970).
    """

    judge: str
    judged: int
    failed: int
    started: float
    seconds: float
    retries: Mapping[str, int]
    outgoing: Sequence[Sequence[Any]]
    #: What a judge that is paid for has used: requests, input and output tokens, cost.
    used: Mapping[str, float] = MappingProxyType({})
    #: Why the judge can judge nothing at present; empty when it can.
    trouble: str = ""


class Part(NamedTuple):
    """What was found of a part of a suite; problems are the fields of :class:`Problem` by index."""

    values: list[Any]
    confidences: list[float | None] | None
    problems: dict[int, list[Any]]
    seconds: float
    costs: list[float | None] | None = None
    workers: list[str | None] | None = None


def pack(frame: Any) -> bytes:
    """A frame as bytes."""
    packed: bytes = msgpack.packb(frame)
    return packed


def unpack(raw: bytes) -> Any:
    """The frame of some bytes."""
    return msgpack.unpackb(raw, strict_map_key=False)


#: Headers that a suite keeps on its way: deliveries that ended with a worker, in all and on trial alone, when it was
#: published, for which versions of the handler it was replayed, the trace.
KEPT = ("mh-deliveries", "mh-alone", PUBLISHED_AT, *replays.HEADERS, *tracing.HEADERS)


def unit(delivery: Delivery) -> Unit:
    """A delivery as a child gets it."""
    return Unit(delivery.body, delivery.type, delivery.content_encoding, kept(delivery.headers))


def kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the headers that matter, where they are what they should be: anybody may have written them."""
    if not headers:
        return {}
    found: dict[str, Any] = {key: fit for key in KEPT if (fit := _fitting(headers.get(key))) is not None}
    history = headers.get("mh-history")
    if isinstance(history, list):
        found["mh-history"] = [str(line)[:MESSAGE_LIMIT] for line in history[-HISTORY_LIMIT:]]
    return found


def _fitting(value: object) -> str | int | None:
    """A header that may be passed on; None for a longer text, or a larger number, that no frame would hold."""
    if isinstance(value, str):
        return value if len(value) <= MESSAGE_LIMIT else None
    return number(value)


def flat(message: Outgoing) -> tuple[Any, ...]:
    """A message to be published, as a list; :func:`outgoing` is the inverse."""
    return message.exchange, message.key, message.body, message.type, message.content_encoding, dict(message.headers)


def outgoing(row: Sequence[Any]) -> Outgoing:
    """The message of a list."""
    exchange, key, body, kind, content_encoding, headers = row
    return Outgoing(
        exchange=exchange, key=key, body=body, type=kind, content_encoding=content_encoding, headers=headers
    )
