"""A collector of OpenTelemetry spans inside the test: OTLP over HTTP, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span as it came in; ids in hexadecimal, times in nanoseconds since 1970."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    kind: int
    start: int
    end: int
    about: dict[str, Any]
    links: tuple[str, ...]


class Collector:
    """What was sent to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[str, Seen] = {}
        self.requests = 0
        self.url = ""

    @property
    def spans(self) -> list[Seen]:
        """All spans so far, in the order in which they began."""
        with self._lock:
            return sorted(self._spans.values(), key=lambda s: s.start)

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def take(self, body: bytes) -> None:
        """A request's body."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.requests += 1
            for resource in request.resource_spans:
                about = _plain(resource.resource.attributes)
                for scope in resource.scope_spans:
                    for s in scope.spans:
                        self._spans[s.span_id.hex()] = Seen(
                            service=about["service.name"], name=s.name, trace=s.trace_id.hex(), span=s.span_id.hex(),
                            parent=s.parent_span_id.hex(), kind=s.kind, start=s.start_time_unix_nano,
                            end=s.end_time_unix_nano, about=_plain(s.attributes),
                            links=tuple(link.trace_id.hex() for link in s.links),
                        )  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while the test runs."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name the standard library calls
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                collector.take(body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """What comes in is looked at by the test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
