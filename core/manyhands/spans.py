"""Spans with OpenTelemetry, by its conventions for messaging; imported by ``manyhands.tracing`` where they are wanted.

A suite has one trace, and its ids follow from the job and the suite's number: nothing is stored of them, and a suite
that is published again after a crash goes on in the same trace. Whether it is sampled follows from the id, too. Who
receives a message never begins a trace: no ``traceparent``, no span.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from manyhands import __version__, logs
from manyhands.broker.protocol import Confirmed, Delivery, Outgoing
from manyhands.codec import MOST_UNPACKED, addressed
from manyhands.errors import BrokerError
from manyhands.measure import waited
from manyhands.settings import Settings
from manyhands.topology import Names
from manyhands.tracing import carried

_log = logs.get(__name__)

#: Spans that wait to be sent, at most: what comes on top is dropped.
WAITING = 4096
#: Seconds between two sendings, and seconds that one may take.
EVERY, PATIENCE = 1.0, 5.0
#: Seconds between two log lines about a collector that does not answer.
SILENCE = 60.0
#: Links of one span, at most.
LINKS = 100

_propagator = TraceContextTextMapPropagator()


def exporter(endpoint: str) -> SpanExporter:
    """Sends spans over OTLP/HTTP; ``endpoint`` is the collector's URL, with or without the path ``/v1/traces``."""
    url = endpoint.rstrip("/")
    return _Patient(OTLPSpanExporter(url if url.endswith("/v1/traces") else f"{url}/v1/traces", timeout=PATIENCE))


class _Patient(SpanExporter):
    """Says now and then that nobody takes the spans, where the exporter says it for each batch with a traceback."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._lost = 0
        self._said = -SILENCE
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001  whatever it is, only spans are lost by it
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            return result
        self._lost += len(spans)
        if time.monotonic() - self._said >= SILENCE:
            _log.warning("spans lost: the collector does not take them", spans=self._lost)
            self._said, self._lost = time.monotonic(), 0
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Ids(RandomIdGenerator):
    """Random ids, but for the first span of a suite."""

    def __init__(self) -> None:
        self._next = threading.local()

    def derive(self, root: SpanContext | None) -> None:
        """The next span of this thread has these ids."""
        self._next.root = root

    def generate_trace_id(self) -> int:
        root: SpanContext | None = getattr(self._next, "root", None)
        return super().generate_trace_id() if root is None else root.trace_id

    def generate_span_id(self) -> int:
        root: SpanContext | None = getattr(self._next, "root", None)
        return super().generate_span_id() if root is None else root.span_id


class Processing:
    """A delivery that is traced; a ``manyhands.tracing.Trace``."""

    __slots__ = ("_tracer", "span")

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer, self.span = tracer, span

    @property
    def ids(self) -> dict[str, str]:
        """Trace and span in hexadecimal."""
        return _ids(self.span)

    @property
    def headers(self) -> dict[str, str]:
        """Of what it causes."""
        return _headers(self.span)

    def judged(self, judge: str, started: float, seconds: float, failed: int) -> None:
        """What a child did; it reports its times, and this process makes the span."""
        about: dict[str, str | int] = {"manyhands.judge": judge, "manyhands.failed": failed}
        begun = _nanoseconds(started)
        span = self._tracer.start_span(
            f"judge {judge}", trace.set_span_in_context(self.span), attributes=about, start_time=begun
        )
        span.end(_nanoseconds(started + seconds))

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


class Spans:
    """Makes the spans of a process and sends them in the background; what cannot be sent in time is dropped."""

    def __init__(self, settings: Settings, service: str, exporter: SpanExporter) -> None:
        instance = getattr(settings, "worker_id", f"{socket.gethostname()}-{os.getpid()}")
        about = {
            "service.name": f"manyhands-{service}", "service.namespace": settings.namespace or "manyhands",
            "service.version": __version__, "service.instance.id": instance,
        }  # fmt: skip
        self._ids = _Ids()
        # the share is applied where a trace begins, in `root`; all that follows goes by its parent
        self._provider = TracerProvider(
            ParentBased(ALWAYS_ON), Resource.create(about), shutdown_on_exit=False, id_generator=self._ids
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, WAITING, schedule_delay_millis=EVERY * 1000, max_export_batch_size=512)
        )
        self._tracer = self._provider.get_tracer("manyhands", __version__)
        self._names, self._namespace = settings.names, settings.namespace
        self._below = round(settings.trace_share * (1 << 64))
        broker = urlsplit(settings.broker.get_secret_value())
        self._messaging = {"messaging.system": "rabbitmq", "server.address": broker.hostname or "localhost"}

    def close(self, timeout: float) -> None:
        """Send what is left, within ``timeout`` seconds."""
        # a thread, for the exporter has a patience of its own
        ending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(timeout)

    # -- where a trace begins ------------------------------------------------------------------------------------------

    def headers(self, job: str, suite: int, opened: float) -> dict[str, str]:
        """The headers of a suite's messages; none when the suite is not sampled.

        ``opened`` tells jobs of the same name apart.
        """
        root = self._root(job, suite, opened)
        return {} if root is None else _headers(trace.NonRecordingSpan(root))

    def _root(self, job: str, suite: int, opened: float) -> SpanContext | None:
        said = f"{self._namespace}/{job}/{suite}/{opened!r}"
        digest = hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=24).digest()
        if int.from_bytes(digest[8:16], "big") >= self._below:
            return None
        return SpanContext(
            int.from_bytes(digest[:16], "big"),
            int.from_bytes(digest[16:], "big"),
            False,
            TraceFlags(TraceFlags.SAMPLED),
        )

    def publishing(self, job: str, suite: int, opened: float, tasks: int) -> Span | None:
        """The first span of a suite, to be ended by the caller; None when the suite is not sampled."""
        root = self._root(job, suite, opened)
        if root is None:
            return None
        self._ids.derive(root)
        try:
            return self._tracer.start_span("publish suite", Context(), attributes=_suite(job, suite, tasks))
        finally:
            self._ids.derive(None)

    def settled(self, job: str, suite: int, opened: float, seconds: float) -> dict[str, str] | None:
        """All tasks of a suite have an answer or a failure, so many seconds after it was published.

        Returns the labels of an exemplar; None when the suite is not sampled.
        """
        root = self._root(job, suite, opened)
        if root is None:
            return None
        until = time.time()
        parent = trace.set_span_in_context(trace.NonRecordingSpan(root), Context())
        span = self._tracer.start_span(
            "settle suite", parent, attributes=_suite(job, suite), start_time=_nanoseconds(until - seconds)
        )
        span.end(_nanoseconds(until))
        return _ids(span)

    # -- on its way ----------------------------------------------------------------------------------------------------

    def take(self, delivery: Delivery) -> None:
        """Begin the span of a delivery, if its message is of a trace."""
        if not delivery.headers or "traceparent" not in delivery.headers:
            return
        parent = _propagator.extract(carried(delivery.headers), Context())
        if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
            return
        about: dict[str, str | int | float] = {
            **self._messaging, "messaging.operation.name": "process", "messaging.operation.type": "process",
        }  # fmt: skip
        destination = self._destination(delivery.queue, delivery.key)
        about |= {"messaging.destination.name": destination, "messaging.rabbitmq.destination.routing_key": delivery.key}
        about |= _about(delivery)
        if (seconds := waited(delivery.headers, time.time())) is not None:
            about["manyhands.queue_seconds"] = seconds
        span = self._tracer.start_span(f"process {destination}", parent, SpanKind.CONSUMER, about)
        delivery.trace = Processing(self._tracer, span)

    def send(self, message: Outgoing, confirmed: Confirmed) -> tuple[Outgoing, Confirmed]:
        """The span of a publish, which ends with its confirm, if the message's headers say that it is of a trace.

        Returns the message that carries the new span, and whom to give the confirm.
        """
        if not message.headers or "traceparent" not in message.headers:
            return message, confirmed
        parent = _propagator.extract(carried(message.headers), Context())
        if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
            return message, confirmed
        destination = f"{message.exchange}:{message.key}"
        about: dict[str, str | int] = {
            **self._messaging, "messaging.operation.name": "send", "messaging.operation.type": "send",
            "messaging.destination.name": destination, "messaging.rabbitmq.destination.routing_key": message.key,
            "messaging.message.body.size": len(message.body),
        }  # fmt: skip
        span = self._tracer.start_span(f"send {destination}", parent, SpanKind.PRODUCER, about)
        return replace(message, headers={**message.headers, **_headers(span)}), _Sent(span, confirmed)

    def batch(self, deliveries: Iterable[Delivery]) -> Span | None:
        """A transaction over deliveries, to be ended by the caller; None when none of them is traced.

        It is a trace of its own, linked with each of theirs, for a span has but one parent.
        """
        traced = [d.trace.span for d in deliveries if isinstance(d.trace, Processing)][:LINKS]
        if not traced:
            return None
        links = [Link(span.get_span_context()) for span in traced]
        span = self._tracer.start_span("commit", Context(), links=links)
        for one in traced:
            one.add_link(span.get_span_context())
        return span

    def caused(self, span: Span, messages: Iterable[Outgoing]) -> list[Outgoing]:
        """Messages that bear the trace of ``span``, unless they bear one already."""
        headers = _headers(span)
        return [m if "traceparent" in m.headers else replace(m, headers={**m.headers, **headers}) for m in messages]

    @contextmanager
    def called(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[None]:
        """A request over HTTP: a span in the caller's trace, where the headers say that there is one."""
        parent = _propagator.extract(carried(headers), Context())
        if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
            yield
            return
        about = {"http.request.method": method, "http.route": route}
        span = self._tracer.start_span(f"{method} {route}", parent, SpanKind.SERVER, about)
        with trace.use_span(span, end_on_exit=True):
            yield

    def pushed(self, job: str, opened: float, suites: Iterable[int]) -> None:
        """The request that is being served has made these suites: its span is linked with theirs."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        span.set_attribute("manyhands.job", job)
        for root in islice(filter(None, (self._root(job, suite, opened) for suite in suites)), LINKS):
            span.add_link(root)

    def _destination(self, queue: str, key: str) -> str:
        return destination(self._names, queue, key)


class _Sent:
    """Ends the span of a publish with its confirm."""

    __slots__ = ("_confirmed", "_span")

    def __init__(self, span: Span, confirmed: Confirmed) -> None:
        self._span, self._confirmed = span, confirmed

    def __call__(self, error: BrokerError | None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()
        self._confirmed(error)


@lru_cache(256)
def destination(names: Names, queue: str, key: str) -> str:
    """Where a delivery came from, as the conventions for RabbitMQ have it: exchange, routing key and queue."""
    kind = queue.removeprefix(names.queue("")).partition(".")[0]
    return ":".join(dict.fromkeys(part for part in (names.exchange(kind), key, queue) if part))


def _headers(span: Span) -> dict[str, str]:
    headers: dict[str, str] = {}
    _propagator.inject(headers, trace.set_span_in_context(span, Context()))
    return headers


def _ids(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def _suite(job: str, suite: int, tasks: int | None = None) -> dict[str, str | int]:
    about: dict[str, str | int] = {"manyhands.job": job, "manyhands.suite": suite}
    return about if tasks is None else {**about, "manyhands.tasks": tasks}


def _about(delivery: Delivery) -> dict[str, str | int]:
    """Which tasks a delivery is about; it is decoded for that, which only those pay for that are traced."""
    m = addressed(delivery.body, delivery.type, delivery.content_encoding, limit=MOST_UNPACKED)
    if m is None:
        return {}
    return {
        **_suite(m.job, m.suite, len(m.positions)), "manyhands.stage": m.stage, "manyhands.judge": m.judge,
        "manyhands.slot": m.slot, "manyhands.attempt": m.attempt,
    }  # fmt: skip


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
