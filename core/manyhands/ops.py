"""Health, readiness and metrics of a process, and the small server for processes without an API of their own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from manyhands.errors import SettingsError
from manyhands.tls import Files, Serving

#: Seconds that a client may be silent, in its handshake or its request.
PATIENCE = 10.0

#: A check of readiness: its name, and a function that says what is missing, or None when all is well.
Checks = Mapping[str, Callable[[], str | None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Ops:
    """What a process tells about itself.

    ``healthz`` says that it runs; ``readyz`` whether it can work now, with what is missing; ``metrics`` are for
    Prometheus.
    """

    checks: Checks

    def reply(self, path: str, accept: str = "") -> Reply | None:
        """The answer for ``/healthz``, ``/readyz`` or ``/metrics``; None for any other path."""
        match path:
            case "/healthz":
                return Reply(200, "application/json", b'{"status": "alive"}')
            case "/readyz":
                missing = {name: said for name, check in self.checks.items() if (said := check()) is not None}
                body = {"status": "waiting" if missing else "ready", "missing": missing}
                return Reply(503 if missing else 200, "application/json", json.dumps(body).encode())
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                return Reply(200, content_type, encode(REGISTRY))
        return None


class OpsServer:
    """Serves :class:`Ops` on a thread of its own, from the standard library; over HTTPS if there are files for it."""

    def __init__(self, ops: Ops, host: str, port: int, tls: Files | None = None) -> None:
        serving = None if tls is None else Serving(tls)
        try:
            self._server = _Server((host, port), _handler(ops), serving)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another MANYHANDS_PORT"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """``host:port`` where it listens."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], tls: Serving | None) -> None:
        self._tls = tls
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # here, on the thread of the request: whoever is slow to shake hands keeps nobody else waiting
        request.settimeout(PATIENCE)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """A client that went away, or speaks no TLS, is not worth a traceback."""


def _handler(ops: Ops) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name the standard library calls
            reply = ops.reply(self.path.partition("?")[0], self.headers.get("Accept", "")) or Reply(
                404, "text/plain", b"there is /healthz, /readyz and /metrics\n"
            )
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Scrapes are not worth a log line."""

    return Handler
