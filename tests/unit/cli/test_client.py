"""The client of the APIs, against a small server that answers whatever it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from manyhands_cli.client import Client
from manyhands_cli.errors import NotThere, RequestRefused, ServiceAway

#: path -> (status, body)
REPLIES = {
    "/fine": (200, b'{"tasks": 3}'),
    "/page": (200, b"<html>something else</html>"),
    "/unknown": (404, b'{"error": "There is no such job: nope"}'),
    "/other-404": (404, b"<html>not found</html>"),
    "/no-token": (401, b'{"error": "send the token"}'),
    "/away": (503, b'{"error": "the store is being opened"}'),
    "/refused": (422, b'{"error": "suite: must be 1 or more"}'),
    "/soon": (200, b'{"tasks": 4}'),
    "/late": (429, b'{"error": "the spool is full"}'),
    "/broken": (500, b"Internal Server Error"),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = REPLIES[self.path]
        if self.path == "/soon" and len(self.server.tokens) < 2:  # type: ignore[attr-defined]
            status, body = 429, b'{"error": "more than 5 requests a second; ask again later"}'
        self.server.tokens.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "100" if self.path == "/late" else "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """The server, and the tokens that it was sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        serving.tokens = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def client(server: ThreadingHTTPServer) -> Client:
    """A client of it."""
    return Client("producer", f"http://127.0.0.1:{server.server_port}", "secret")


def test_json_comes_back_and_the_token_goes_along(server: ThreadingHTTPServer, client: Client) -> None:
    """A good answer is its JSON; every request bears the token."""
    assert client.call("GET", "/fine") == {"tasks": 3}
    assert b"".join(client.stream("/fine")) == REPLIES["/fine"][1]
    assert server.tokens == ["Bearer secret"] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/unknown", NotThere, "There is no such job: nope"),
        ("/other-404", ServiceAway, "what answers there says 404"),
        ("/page", ServiceAway, "what answers there is no Manyhands"),
        ("/no-token", RequestRefused, "--token or MANYHANDS_API_TOKEN"),
        ("/away", ServiceAway, "producer: the store is being opened"),
        ("/refused", RequestRefused, "producer: suite: must be 1 or more"),
        ("/broken", ServiceAway, "what answers there says 500"),
    ],
)
def test_what_is_wrong_is_said(client: Client, path: str, kind: type[Exception], said: str) -> None:
    """Each kind of no is an error of its own, with the service's sentence where it said one."""
    with pytest.raises(kind) as caught:
        client.call("GET", path)
    assert said in str(caught.value)


def test_a_stream_says_it_too(client: Client) -> None:
    """A file that is not there is the same error, before the first byte."""
    with pytest.raises(NotThere):
        next(client.stream("/unknown"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[bad", "ftp://127.0.0.1", "http://a b"])
def test_nobody_at_the_url(url: str) -> None:
    """It names the URL, the command that starts the service, and where its URL is set."""
    with pytest.raises(ServiceAway) as caught:
        Client("producer", url, None, patience=2).call("GET", "/fine")
    for part in (url, "`manyhands producer`", "--producer", "MANYHANDS_PRODUCER_URL"):
        assert part in str(caught.value)


def test_a_request_that_came_too_soon(server: ThreadingHTTPServer, client: Client) -> None:
    """It is made again when the service says so; where that is too long a wait, the service's own sentence is said."""
    assert client.call("GET", "/soon") == {"tasks": 4}
    assert len(server.tokens) == 3  # type: ignore[attr-defined]
    with pytest.raises(RequestRefused, match="the spool is full"):
        client.call("GET", "/late")


def test_a_token_is_not_quoted(server: ThreadingHTTPServer) -> None:
    """The end of a line behind a token is none of it; one that cannot be sent is refused without being told."""
    url = f"http://127.0.0.1:{server.server_address[1]}"
    Client("producer", url, "hunter2\r\n").call("GET", "/fine")
    assert server.tokens == ["Bearer hunter2"]  # type: ignore[attr-defined]
    for token in ("hunter2\nhunter2", "hunter2\xfc"):
        with pytest.raises(RequestRefused) as caught:
            Client("producer", url, token)
        assert "hunter2" not in str(caught.value)
