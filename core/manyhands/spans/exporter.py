"""Where spans go: a collector, over OTLP/HTTP, with patience for one that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from manyhands import logs

_log = logs.get(__name__)

#: Seconds that one sending may take.
PATIENCE = 5.0
#: Seconds between two log lines about a collector that does not answer.
SILENCE = 60.0


def to_collector(endpoint: str) -> SpanExporter:
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
