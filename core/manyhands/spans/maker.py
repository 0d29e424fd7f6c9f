"""What makes the spans of a process, and sends them in the background."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from manyhands import __version__
from manyhands.broker.protocol import Confirmed, Delivery, Outgoing
from manyhands.measure import waited
from manyhands.settings import Settings
from manyhands.spans import suite as of_suite
from manyhands.spans.context import headers_of, ids_of, nanoseconds, sampled
from manyhands.spans.message import Processing, Sent, destination, subject

#: Spans that wait to be sent, at most: what comes on top is dropped.
WAITING = 4096
#: Seconds between two sendings.
EVERY = 1.0
#: Links of one span, at most.
LINKS = 100


class Spans:
    """Makes the spans of a process and sends them in the background; what cannot be sent in time is dropped."""

    def __init__(self, settings: Settings, service: str, exporter: SpanExporter) -> None:
        instance = getattr(settings, "worker_id", f"{socket.gethostname()}-{os.getpid()}")
        about = {
            "service.name": f"manyhands-{service}", "service.namespace": settings.namespace or "manyhands",
            "service.version": __version__, "service.instance.id": instance,
        }  # fmt: skip
        self._ids, self._roots = of_suite.Ids(), of_suite.Roots(settings.namespace, settings.trace_share)
        # the share is applied where a trace begins, by the root of a suite; all that follows goes by its parent
        self._provider = TracerProvider(
            ParentBased(ALWAYS_ON), Resource.create(about), shutdown_on_exit=False, id_generator=self._ids
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, WAITING, schedule_delay_millis=EVERY * 1000, max_export_batch_size=512)
        )
        self._tracer = self._provider.get_tracer("manyhands", __version__)
        self._names = settings.names
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
        root = self._roots.of(job, suite, opened)
        return {} if root is None else headers_of(trace.NonRecordingSpan(root))

    def publishing(self, job: str, suite: int, opened: float, tasks: int) -> Span | None:
        """The first span of a suite, to be ended by the caller; None when the suite is not sampled."""
        root = self._roots.of(job, suite, opened)
        if root is None:
            return None
        self._ids.derive(root)
        try:
            return self._tracer.start_span(
                "publish suite", Context(), attributes=of_suite.attributes(job, suite, tasks)
            )
        finally:
            self._ids.derive(None)

    def settled(self, job: str, suite: int, opened: float, seconds: float) -> dict[str, str] | None:
        """All tasks of a suite have an answer or a failure, so many seconds after it was published.

        Returns the labels of an exemplar; None when the suite is not sampled.
        """
        root = self._roots.of(job, suite, opened)
        if root is None:
            return None
        until = time.time()
        parent = trace.set_span_in_context(trace.NonRecordingSpan(root), Context())
        span = self._tracer.start_span(
            "settle suite", parent, attributes=of_suite.attributes(job, suite), start_time=nanoseconds(until - seconds)
        )
        span.end(nanoseconds(until))
        return ids_of(span)

    # -- on its way ----------------------------------------------------------------------------------------------------

    def take(self, delivery: Delivery) -> None:
        """Begin the span of a delivery, if its message is of a trace."""
        if not delivery.headers or "traceparent" not in delivery.headers:
            return
        parent = sampled(delivery.headers)
        if parent is None:
            return
        about: dict[str, str | int | float] = {
            **self._messaging, "messaging.operation.name": "process", "messaging.operation.type": "process",
        }  # fmt: skip
        where = destination(self._names, delivery.queue, delivery.key)
        about |= {"messaging.destination.name": where, "messaging.rabbitmq.destination.routing_key": delivery.key}
        about |= subject(delivery)
        if (seconds := waited(delivery.headers, time.time())) is not None:
            about["manyhands.queue_seconds"] = seconds
        span = self._tracer.start_span(f"process {where}", parent, SpanKind.CONSUMER, about)
        delivery.trace = Processing(self._tracer, span)

    def send(self, message: Outgoing, confirmed: Confirmed) -> tuple[Outgoing, Confirmed]:
        """The span of a publish, which ends with its confirm, if the message's headers say that it is of a trace.

        Returns the message that carries the new span, and whom to give the confirm.
        """
        if not message.headers or "traceparent" not in message.headers:
            return message, confirmed
        parent = sampled(message.headers)
        if parent is None:
            return message, confirmed
        where = f"{message.exchange}:{message.key}"
        about: dict[str, str | int] = {
            **self._messaging, "messaging.operation.name": "send", "messaging.operation.type": "send",
            "messaging.destination.name": where, "messaging.rabbitmq.destination.routing_key": message.key,
            "messaging.message.body.size": len(message.body),
        }  # fmt: skip
        span = self._tracer.start_span(f"send {where}", parent, SpanKind.PRODUCER, about)
        return replace(message, headers={**message.headers, **headers_of(span)}), Sent(span, confirmed)

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
        headers = headers_of(span)
        return [m if "traceparent" in m.headers else replace(m, headers={**m.headers, **headers}) for m in messages]

    @contextmanager
    def called(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[None]:
        """A request over HTTP: a span in the caller's trace, where the headers say that there is one."""
        parent = sampled(headers)
        if parent is None:
            yield
            return
        about = {"http.request.method": method, "http.route": route}
        span = self._tracer.start_span(f"{method} {route}", parent, SpanKind.SERVER, about)
        # of an error no more than its kind: its text may hold what the caller sent
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def pushed(self, job: str, opened: float, suites: Iterable[int]) -> None:
        """The request that is being served has made these suites: its span is linked with theirs."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        span.set_attribute("manyhands.job", job)
        for root in islice(filter(None, (self._roots.of(job, suite, opened) for suite in suites)), LINKS):
            span.add_link(root)
