"""Trace context in the headers of messages and requests (W3C), and what a span says of itself in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from manyhands.tracing import carried

_propagator = TraceContextTextMapPropagator()


def sampled(headers: Mapping[str, Any]) -> Context | None:
    """The context that the headers carry; None where there is none, or its trace is not taken."""
    parent = _propagator.extract(carried(headers), Context())
    return parent if trace.get_current_span(parent).get_span_context().trace_flags.sampled else None


def headers_of(span: Span) -> dict[str, str]:
    """The headers of what a span causes."""
    headers: dict[str, str] = {}
    _propagator.inject(headers, trace.set_span_in_context(span, Context()))
    return headers


def ids_of(span: Span) -> dict[str, str]:
    """``trace_id`` and ``span_id`` in hexadecimal."""
    context = span.get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def nanoseconds(seconds: float) -> int:
    """A time as OpenTelemetry has it."""
    return int(seconds * 1e9)
