"""The spans of a message: its publish until the confirm, its delivery until the verdict."""

from __future__ import annotations

from functools import lru_cache

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from manyhands.broker.protocol import Confirmed, Delivery
from manyhands.codec import MOST_UNPACKED, addressed
from manyhands.errors import BrokerError
from manyhands.spans import suite
from manyhands.spans.context import headers_of, ids_of, nanoseconds
from manyhands.topology import Names


class Processing:
    """A delivery that is traced; a ``manyhands.tracing.Trace``."""

    __slots__ = ("_tracer", "span")

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer, self.span = tracer, span

    @property
    def ids(self) -> dict[str, str]:
        """Trace and span in hexadecimal."""
        return ids_of(self.span)

    @property
    def headers(self) -> dict[str, str]:
        """Of what it causes."""
        return headers_of(self.span)

    def judged(self, judge: str, started: float, seconds: float, failed: int) -> None:
        """What a child did; it reports its times, and this process makes the span."""
        about: dict[str, str | int] = {"manyhands.judge": judge, "manyhands.failed": failed}
        begun = nanoseconds(started)
        span = self._tracer.start_span(
            f"judge {judge}", trace.set_span_in_context(self.span), attributes=about, start_time=begun
        )
        span.end(nanoseconds(started + seconds))

    def note(self, what: str, **about: str | int) -> None:
        """An event of the span."""
        self.span.add_event(what, {f"manyhands.{key}": value for key, value in about.items()})

    def settled(self, verdict: str) -> None:
        """The end of the span."""
        self.span.set_attribute("manyhands.verdict", verdict)
        if verdict == "failed":
            self.span.set_attribute("error.type", "failed")
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end()


class Sent:
    """Ends the span of a publish with its confirm."""

    __slots__ = ("_confirmed", "_span")

    def __init__(self, span: Span, confirmed: Confirmed) -> None:
        self._span, self._confirmed = span, confirmed

    def __call__(self, error: BrokerError | None) -> None:
        """It is confirmed, or never will be."""
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
        self._confirmed(error)


def subject(delivery: Delivery) -> dict[str, str | int]:
    """Which tasks a delivery is about; it is decoded for that, which only those pay for that are traced."""
    m = addressed(delivery.body, delivery.type, delivery.content_encoding, limit=MOST_UNPACKED)
    if m is None:
        return {}
    return {
        **suite.attributes(m.job, m.suite, len(m.positions)), "manyhands.stage": m.stage, "manyhands.judge": m.judge,
        "manyhands.slot": m.slot, "manyhands.attempt": m.attempt,
    }  # fmt: skip


@lru_cache(256)
def destination(names: Names, queue: str, key: str) -> str:
    """Where a delivery came from, as the conventions for RabbitMQ have it: exchange, routing key and queue."""
    kind = queue.removeprefix(names.queue("")).partition(".")[0]
    return ":".join(dict.fromkeys(part for part in (names.exchange(kind), key, queue) if part))
