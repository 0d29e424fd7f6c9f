"""What is set aside: the body as it was, and headers that say why. One place writes them and reads them."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands import tracing
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.codec import BODY_LIMIT, encode
from manyhands.headers import number
from manyhands.messages import Suite
from manyhands.outcome import MESSAGE_LIMIT, TRACEBACK_LIMIT
from manyhands.topology import Names

#: Lines of history that are kept, the newest.
HISTORY_LIMIT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something was set aside; ``at`` is in seconds since 1970, ``history`` has a line for each earlier attempt,
    ``traceparent`` is the trace that the letter came in.

    Of a task that killed the process that judged it: ``exit`` is the signal or the status that it ended with, such as
    ``SIGSEGV`` or ``status 3``, and ``memory_mib`` the most memory that it ever held.

    ``told``: another message says what becomes of the tasks. Of a letter that is not told its tasks have failed.
    """

    code: str
    error: str
    at: float
    traceback: str = ""
    version: str = ""
    worker: str = ""
    host: str = ""
    attempts: int = 1
    history: Sequence[str] = ()
    traceparent: str = ""
    told: bool = False
    exit: str = ""
    memory_mib: int | None = None


def suite_letter(names: Names, suite: Suite, cause: Cause, *, limit: int = BODY_LIMIT) -> Outgoing:
    """A dead letter for the tasks of ``suite``, which holds only those that are concerned, ready to be replayed."""
    exchange, key = names.to_dead("tasks", suite.judge)
    encoded = encode(suite, limit=limit)
    return Outgoing(
        exchange=exchange,
        key=key,
        body=encoded.body,
        type=encoded.type,
        content_encoding=encoded.content_encoding,
        headers=_headers(cause),
    )


def raw_letter(names: Names, kind: str, delivery: Delivery, cause: Cause) -> Outgoing:
    """A dead letter with a delivery's own bytes; ``kind`` is tasks, judgments or events."""
    exchange, key = names.to_dead(kind, delivery.key or "none")
    return Outgoing(
        exchange=exchange,
        key=key,
        body=delivery.body,
        type=delivery.type or "",
        content_encoding=delivery.content_encoding,
        headers={**tracing.caused_by(delivery), **_headers(cause)},
    )


def is_ours(delivery: Delivery) -> bool:
    """Whether one of our processes set it aside; if not, the broker did."""
    return "mh-code" in delivery.headers


def read_cause(delivery: Delivery, at: float) -> Cause:
    """The cause a dead letter bears; for one that the broker itself set aside, what the broker says of it.

    ``at`` is the time it was received, taken where the letter does not say when it was set aside.
    """
    headers = delivery.headers
    traceparent = tracing.carried(headers).get("traceparent", "")
    if is_ours(delivery):
        history = headers.get("mh-history", ())
        return Cause(
            code=str(headers["mh-code"]),
            error=str(headers.get("mh-error", "")),
            at=_float(headers.get("mh-at"), at),
            traceback=str(headers.get("mh-traceback", "")),
            version=str(headers.get("mh-version", "")),
            worker=str(headers.get("mh-worker", "")),
            host=str(headers.get("mh-host", "")),
            attempts=int(_float(headers.get("mh-attempts"), 1)),
            history=[str(line) for line in history] if isinstance(history, (list, tuple)) else (),
            told=headers.get("mh-told") is True,
            traceparent=traceparent,
            exit=str(headers.get("mh-exit", "")),
            memory_mib=number(headers.get("mh-memory-mib")),
        )
    death = headers.get("x-death") or headers.get("x-opt-deaths")
    first = death[0] if isinstance(death, list) and death and isinstance(death[0], dict) else {}
    reason = str(first.get("reason", "")) or str(headers.get("x-first-death-reason", ""))
    queue = str(first.get("queue", "")) or str(headers.get("x-first-death-queue", ""))
    if not reason or delivery.queue.endswith("unrouted"):  # one from the retry ladder has expired before, as it should
        return Cause(
            code="unroutable", error=f"no queue takes the key {delivery.key!r}", at=at, traceparent=traceparent
        )
    error = f"set aside by the broker from {queue or 'its queue'}"
    return Cause(code=reason.replace("_", "-"), error=error, at=at, traceparent=traceparent)


def _headers(cause: Cause) -> dict[str, Any]:
    headers: dict[str, Any] = {
        "mh-code": cause.code,
        "mh-error": cause.error[:MESSAGE_LIMIT],
        "mh-at": repr(cause.at),  # as text: AMQP tables have no double that every client agrees on
        "mh-traceback": cause.traceback[-TRACEBACK_LIMIT:],
        "mh-version": cause.version,
        "mh-worker": cause.worker,
        "mh-host": cause.host or socket.gethostname(),
        "mh-attempts": cause.attempts,
        "mh-history": [line[:MESSAGE_LIMIT] for line in list(cause.history)[-HISTORY_LIMIT:]],
    }
    if cause.told:
        headers["mh-told"] = True
    if cause.exit:
        headers["mh-exit"] = cause.exit[:MESSAGE_LIMIT]
    if cause.memory_mib:
        headers["mh-memory-mib"] = cause.memory_mib
    return headers


def _float(value: object, default: float) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # anything may stand in a header; no number is the default
    except (TypeError, ValueError, OverflowError):
        return default
    return number if math.isfinite(number) else default
