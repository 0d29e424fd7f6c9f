"""The web application of a service: health, metrics and errors alike everywhere, and a server on a thread."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from manyhands import __version__
from manyhands.errors import (
    BrokerUnavailable,
    ManyhandsError,
    SettingsError,
    SourceError,
    SpecError,
    StoreUnavailable,
    UnknownJob,
)
from manyhands.ops import Ops
from manyhands.settings import ApiSettings
from manyhands.tls import Files, Serving
from manyhands_service.access import guard
from manyhands_service.limits import Limits

#: What an error of the contract is in HTTP; anything else of ours is the caller's mistake.
STATUS: Mapping[type[ManyhandsError], int] = {
    UnknownJob: 404, SpecError: 422, SourceError: 422, StoreUnavailable: 503, BrokerUnavailable: 503,
}  # fmt: skip


def application(
    title: str, ops: Ops, settings: ApiSettings, *, status: Mapping[type[ManyhandsError], int] | None = None
) -> FastAPI:
    """A FastAPI application with health, readiness and metrics.

    ``/api`` asks for the bearer token if one is set, and has limits. Errors are JSON: ``{"error": "one sentence"}``;
    ``status`` says what the service's own errors are in HTTP.
    """
    codes = {**STATUS, **(status or {})}
    app = FastAPI(title=title, version=__version__, dependencies=[Depends(guard(settings.api_token))])
    app.add_middleware(Limits, rate=settings.api_rate, body=settings.api_body)

    @app.exception_handler(ManyhandsError)
    def _said(_request: Request, error: ManyhandsError) -> JSONResponse:
        code = codes.get(type(error), 400)
        return JSONResponse(
            {"error": str(error)}, status_code=code, headers={"Retry-After": "1"} if code == 429 else None
        )

    @app.exception_handler(AnyHTTPException)
    def _http(_request: Request, error: AnyHTTPException) -> JSONResponse:
        said = "there is nothing here; /docs tells what there is" if error.detail == "Not Found" else error.detail
        return JSONResponse({"error": said}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        return JSONResponse({"error": said}, status_code=422)

    def _ops(request: Request) -> Response:
        reply = ops.reply(request.url.path, request.headers.get("accept", ""))
        if reply is None:
            raise HTTPException(404)
        return Response(reply.body, reply.status, media_type=reply.content_type)

    for path in ("/healthz", "/readyz", "/metrics"):
        app.add_api_route(path, _ops, methods=["GET"], include_in_schema=False)
    return app


class WebServer:
    """Serves an application on a thread of its own; over HTTPS if there are files for it.

    Raises:
        SettingsError: the address cannot be listened on, or a file is not right.
    """

    def __init__(self, app: FastAPI, host: str, port: int, tls: Files | None = None) -> None:
        serving = None if tls is None else Serving(tls)
        try:
            self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another MANYHANDS_PORT"
            ) from error
        # asyncio sets this only where the protocol is named; without it the end of a reply waits 40 ms for an ACK
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=5,
            # whose X-Forwarded-For is believed must be said: uvicorn believes everybody on this machine
            proxy_headers=bool(os.environ.get("FORWARDED_ALLOW_IPS")),
            ssl_context_factory=None if serving is None else lambda _config, _default: serving.context,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="web", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    @property
    def address(self) -> str:
        """``host:port`` where it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"{host}:{port}"

    def close(self) -> None:
        """Finish the requests under way and stop listening."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
