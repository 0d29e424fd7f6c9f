"""A server that speaks the chat protocol of OpenAI, on this machine: models for tests, and all their faults."""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from manyhands.tls import Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the server does with a request; ``cut`` ends the connection in the middle of the body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False


#: A model: given the body of a request, what becomes of it.
Model = Callable[[dict[str, Any]], Response]
#: A token, its probability, and its alternatives with theirs.
Token = tuple[str, float, Mapping[str, float]]


@dataclass(slots=True)
class Server:
    """A running server: its URL, and what it has seen."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def completion(
    content: str | None, *, tokens: Sequence[Token] | None = None, usage: tuple[int, int] | None = (100, 10),
    finish: str = "stop", refusal: str | None = None,
) -> Response:  # fmt: skip
    """The response of a model that said so."""
    choice: dict[str, Any] = {
        "index": 0, "finish_reason": finish,
        "message": {"role": "assistant", "content": content, "refusal": refusal},
    }  # fmt: skip
    if tokens is not None:
        choice["logprobs"] = {"content": [_token(*token) for token in tokens]}
    body: dict[str, Any] = {"id": "c-1", "object": "chat.completion", "choices": [choice]}
    if usage is not None:
        sent, came = usage
        body["usage"] = {"prompt_tokens": sent, "completion_tokens": came, "total_tokens": sent + came}
    return Response(body=json.dumps(body).encode())


def _token(text: str, chance: float, others: Mapping[str, float]) -> dict[str, Any]:
    ranked = [{"token": text, "logprob": math.log(chance)}]
    ranked += [{"token": other, "logprob": math.log(less)} for other, less in others.items()]
    return {"token": text, "logprob": math.log(chance), "bytes": list(text.encode()), "top_logprobs": ranked}


def answered(value: Any, **more: Any) -> Response:
    """The response of a model that answers as it is asked."""
    return completion(json.dumps({"answer": value}, ensure_ascii=False), **more)


def failed(status: int, message: str = "", *, code: str = "", **headers: str) -> Response:
    """An error of the protocol; ``Retry_After`` is the header Retry-After."""
    body = {"error": {"message": message, "code": code}}
    return Response(
        status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=json.dumps(body).encode()
    )


def payload(asked: Mapping[str, Any]) -> str:
    """What the user's message says."""
    content: str = asked["messages"][-1]["content"]
    return content


@contextmanager
def serving(model: Model, tls: Files | None = None) -> Iterator[Server]:
    """A server with this model; with TLS if it is given a certificate."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one go, or each request waits for a delayed acknowledgement

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.asked.append(asked)
                seen.headers.append({name.lower(): value for name, value in self.headers.items()})
                seen.paths.append(self.path)
            response = model(asked)
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body) + (100 if response.cut else 0)))
            self.end_headers()
            self.wfile.write(response.body)
            if response.cut:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Nothing."""

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has gone is what some tests are about."""

    made = Threads(("127.0.0.1", 0), Handler)
    if tls is not None and tls.cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.cert, tls.key)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    seen = Server(f"http{'' if tls is None else 's'}://127.0.0.1:{made.server_address[1]}/v1")
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield seen
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
