"""Judges behind a URL, against a server of the standard library."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from manyhands import Judgment, RejectTask, RetryTask
from manyhands.errors import HandlerError
from manyhands_worker.http import Http, expanded, retry_after
from manyhands_worker.judging import NoJudgment
from tests.unit.worker.harness import PATIENCE, judge, judgments, pool, retried, suite, values

#: What a server does with a request: status, headers, body.
Answer = Callable[[dict[str, Any], dict[str, str]], tuple[int, dict[str, str], bytes]]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server that answers so; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, body = answer(asked, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}/judge"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def ask(url: str, *payloads: Any, limit: float = PATIENCE, headers: dict[str, str] | None = None) -> list[Any]:
    """What the judge at the URL says of the payloads, at positions 0, 1, ..."""
    made = Http("web", url, headers or {}, limit, PATIENCE)
    try:
        return made(range(len(payloads)), payloads)
    finally:
        made.close()


def kind(asked: dict[str, Any], _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """A judge that knows what to say."""
    said = [
        {"error": "no opinion"} if task["payload"] == "wrong" else {"value": task["payload"], "confidence": 0.5}
        for task in asked["tasks"]
    ]
    return 200, {}, json.dumps({"judgments": said}).encode()


def test_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch and the judge's name are POSTed, headers come from the environment, errors are a task's own."""
    monkeypatch.setenv("TOKEN", "t-1")
    seen = []

    def answer(asked: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        seen.append((asked, headers.get("authorization"), headers.get("content-type")))
        return kind(asked, headers)

    with server(answer) as url:
        said = ask(url, "a", "wrong", b"\xff", headers={"Authorization": "Bearer ${TOKEN}"})
    assert said[0] == Judgment("a", 0.5)
    assert "no opinion" in str(said[1])
    assert said[2] == Judgment({"base64": "/w=="}, 0.5)
    ((asked, token, content_type),) = seen
    assert (asked["judge"], asked["tasks"][0]) == ("web", {"position": 0, "payload": "a"})
    assert (token, content_type) == ("Bearer t-1", "application/json")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_later(status: int) -> None:
    """What may be better later is tried later, no sooner than the server says; it is asked once."""
    asked = []

    def answer(request: dict[str, Any], _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked.append(request)
        return status, {"Retry-After": "17"}, b"busy"

    with server(answer) as url:
        said = ask(url, "a", "b")
    assert all(isinstance(one, RetryTask) and one.after == 17 for one in said)
    assert len(asked) == 1


def test_not_there_and_too_slow() -> None:
    """No connection and no answer in time are tried later too."""
    release = threading.Event()

    def slow(_asked: dict[str, Any], _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        release.wait(PATIENCE)
        return 200, {}, b""

    with server(slow) as url:
        (said,) = ask(url, "a", limit=0.2)
        release.set()
    assert isinstance(said, RetryTask)
    (said,) = ask(url, "a")
    assert isinstance(said, RetryTask)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_task_is_found(status: int) -> None:
    """A refusal of the content costs the task that is refused, not its suite."""

    def answer(asked: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if any(task["payload"] == "bad" for task in asked["tasks"]):
            return status, {}, b"what is this"
        return kind(asked, headers)

    with server(answer) as url:
        said = ask(url, "a", "b", "bad", "c")
    assert [type(one) for one in said] == [Judgment, Judgment, RejectTask, Judgment]
    assert "what is this" in str(said[2])


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"no", RejectTask),
        (200, b"no", NoJudgment),
        (200, b"[]", NoJudgment),
        (200, b'{"judgments": [{"value": 1}]}', NoJudgment),
        (200, b'{"judgments": [1, 2]}', NoJudgment),
    ],
)
def test_answers_that_are_none(status: int, body: bytes, error: type[Exception]) -> None:
    """Every task fails, with what was answered."""
    with server(lambda _asked, _headers: (status, {}, body)) as url:
        said = ask(url, "a", "b")
    assert [type(one) for one in said] == [error, error]


def test_headers() -> None:
    """A variable that is not set is told before anything is sent; Retry-After may be seconds or a date."""
    assert expanded({"a": "x${B}y"}, {"B": "1"}) == {"a": "x1y"}
    with pytest.raises(HandlerError, match="variable B"):
        expanded({"a": "${B}"}, {})
    assert retry_after("5", 0) == 5
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40) == 60
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", 40) == 0
    assert retry_after("soon", 0) is retry_after(None, 0) is retry_after("inf", 0) is None


def test_in_a_child() -> None:
    """Through the pool: judged, and tried later by the ladder."""

    def answer(asked: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return (503, {}, b"") if asked["tasks"][0]["payload"] == "busy" else kind(asked, headers)

    with server(answer) as url:
        config = {"url": url, "version": "6", "time_limit": 10.0, "headers": {}}
        with pool(http={"web": config}) as made:
            judged, later = judge(made, suite("web", ["a"]), suite("web", ["busy"], suite=2))
    assert values(judged) == {100: "a"}
    assert judgments(judged).version == "6"
    assert retried(later)[0][1].attempt == 2
