"""Whether traces are taken, and what of them the rest of the code needs: docs/tracing.md tells what is traced.

OpenTelemetry is an extra, imported when ``MANYHANDS_OTLP`` is set and never else. What is on a hot path asks whether
``spans`` is None, and that is all that tracing costs while it is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from manyhands.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.broker.protocol import Delivery, Outgoing
    from manyhands.settings import Settings
    from manyhands.spans import Spans

#: What makes spans; None while tracing is off.
spans: Spans | None = None

#: The headers that carry a trace from message to message (W3C Trace Context).
HEADERS = ("traceparent", "tracestate")
#: Characters of such a header that are passed on; the standard asks for as many of the longer of the two.
LONGEST = 512


class Trace(Protocol):
    """The trace of one delivery: the span in which it is processed."""

    @property
    def ids(self) -> dict[str, str]:
        """``trace_id`` and ``span_id`` in hexadecimal: the labels of an exemplar."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a message that the delivery causes."""

    def judged(self, judge: str, started: float, seconds: float, failed: int) -> None:
        """The suite was judged by a child, from ``started`` (since 1970) on; so many of its tasks have no value."""

    def note(self, what: str, **about: str | int) -> None:
        """Something happened to it."""

    def settled(self, verdict: str) -> None:
        """It is done with."""


def start(settings: Settings, service: str) -> None:
    """Take traces from now on, if the settings say where to send them.

    Raises:
        SettingsError: the extra is not installed.
    """
    global spans
    if not settings.otlp:
        return
    try:
        from manyhands.spans import Spans, to_collector
    except ImportError as error:
        raise SettingsError(
            f"MANYHANDS_OTLP is set, but {error.name} is not installed; pip install 'manyhands[tracing]'"
        ) from error
    spans = Spans(settings, service, to_collector(settings.otlp))


def stop(timeout: float) -> None:
    """Send what is left of the spans, within ``timeout`` seconds, and take no more."""
    global spans
    ending, spans = spans, None
    if ending is not None:
        ending.close(timeout)


def carried(headers: Mapping[str, Any]) -> dict[str, str]:
    """The trace that a message came with, for what it causes; nothing of it where that is no text: it may be forged."""
    if not headers:
        return {}
    return {key: said for key in HEADERS if isinstance(said := headers.get(key), str) and len(said) <= LONGEST}


def caused_by(delivery: Delivery) -> dict[str, str]:
    """The trace headers of what a delivery causes: those of its span, or else those that it came with."""
    return carried(delivery.headers) if delivery.trace is None else delivery.trace.headers


def traced(delivery: Delivery, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
    """Messages that a delivery causes, in its trace."""
    if delivery.trace is None:
        return messages
    headers = delivery.trace.headers
    return [replace(message, headers={**message.headers, **headers}) for message in messages]


def called(method: str, route: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
    """Within it a request over HTTP is served, in the caller's trace if there is one."""
    return nullcontext() if spans is None else spans.called(method, route, headers)


def exemplar(delivery: Delivery) -> dict[str, str] | None:
    """The labels of an exemplar, where the delivery is traced."""
    return None if delivery.trace is None else delivery.trace.ids


def bound(delivery: Delivery) -> dict[str, str]:
    """What a log line about a delivery says of its trace."""
    return {} if delivery.trace is None else {"trace_id": delivery.trace.ids["trace_id"]}
