"""Spans with OpenTelemetry, by its conventions for messaging; imported by ``manyhands.tracing`` where they are wanted.

A suite has one trace, and its ids follow from the job and the suite's number: nothing is stored of them, and a suite
that is published again after a crash goes on in the same trace. Whether it is sampled follows from the id, too. Who
receives a message never begins a trace: no ``traceparent``, no span.
"""

from __future__ import annotations

from manyhands.spans.exporter import SILENCE, to_collector
from manyhands.spans.maker import Spans

__all__ = ["SILENCE", "Spans", "to_collector"]
