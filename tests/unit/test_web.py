"""What every API has: limits, errors of one sentence, and the audit trail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import SecretStr

from manyhands import logs
from manyhands.errors import UnknownJob
from manyhands.ops import Ops
from manyhands.settings import ApiSettings
from manyhands_service import process
from manyhands_service.audit import about, audited
from manyhands_service.limits import CLIENTS, Buckets, neighbourhood
from manyhands_service.web import WebServer, application
from tests.unit.test_logs import restored

__all__ = ["restored"]  # the fixture: logging as it was before the test

TOKEN = {"Authorization": "Bearer hunter2"}


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def client(**settings: Any) -> TestClient:
    """A client of such an application."""
    return TestClient(made(**settings))


def made(**settings: Any) -> FastAPI:
    """An application with a few routes under /api."""
    app = application("test", Ops({}), ApiSettings(**settings))

    @app.get("/api/jobs")
    def jobs() -> list[str]:
        return []

    @app.post("/api/jobs", dependencies=[audited("job.open")])
    async def submit(request: Request) -> dict[str, int]:
        about(request, job="made-up")
        return {"bytes": len(await request.body())}

    @app.delete("/api/jobs/{job}", dependencies=[audited("job.cancel")])
    def cancel(job: str) -> dict[str, str]:
        if job == "none":
            raise UnknownJob(job)
        return {"job": job}

    @app.post("/api/dead/replay", dependencies=[audited("dead.replay", "job", "code")])
    def replay(request: Request) -> int:
        about(request, letters=3)
        return 3

    return app


def test_buckets_fill_at_their_rate() -> None:
    """A client may ask twice its rate at once, and then as often as its rate says; others are not concerned."""
    time = Time()
    buckets = Buckets(10, clock=time)
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20
    assert buckets.take("a") == pytest.approx(0.1)
    assert buckets.take("b") == 0
    time.now += 0.1
    assert (buckets.take("a"), buckets.take("a") > 0) == (0, True)
    time.now += 100
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20


def test_buckets_of_less_than_one_a_second() -> None:
    """One request is let through, whatever the rate."""
    time = Time()
    buckets = Buckets(0.1, clock=time)
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(10)


def test_buckets_are_bounded() -> None:
    """No more clients are remembered than there is room for."""
    buckets = Buckets(10, clock=Time())
    for number in range(CLIENTS + 10):
        buckets.take(str(number))
    assert len(buckets._full) == CLIENTS


def test_rate() -> None:
    """Who asks too often is told when to ask again; health and metrics are always answered."""
    api = client(api_rate=1)
    assert [api.get("/api/jobs").status_code for _ in range(3)] == [200, 200, 429]
    refused = api.get("/api/jobs")
    assert refused.json() == {"error": "more than 1 requests a second; ask again later"}
    assert refused.headers["Retry-After"] == "1"
    assert [api.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_no_rate() -> None:
    """0 sets no limit."""
    api = client(api_rate=0)
    assert {api.get("/api/jobs").status_code for _ in range(500)} == {200}


def test_guesses_of_the_token_are_limited() -> None:
    """The limit comes before the token: whoever guesses is slowed down."""
    api = client(api_rate=1, api_token=SecretStr("hunter2"))
    assert [api.get("/api/jobs").status_code for _ in range(3)] == [401, 401, 429]


def test_body() -> None:
    """A body that is announced as too large is refused unread, in one sentence; JSON Lines may be of any length."""
    api = client(api_body=2000)
    assert api.post("/api/jobs", content=b"x" * 2000).json() == {"bytes": 2000}
    refused = api.post("/api/jobs", content=b"x" * 2001)
    assert (refused.status_code, refused.json()) == (413, {"error": "the body has 2,001 bytes, and 2,000 are the most"})
    lines = {"content-type": "application/x-ndjson; charset=utf-8"}
    assert api.post("/api/jobs", content=b"x" * 2001, headers=lines).json() == {"bytes": 2001}


def test_a_neighbourhood_is_one_client() -> None:
    """IPv6 gives everybody 2^64 addresses: all of a /64 are one client; an IPv4 address is one, and so is a name."""
    same = {neighbourhood(f"2001:db8:1:2::{n}") for n in range(9)} | {neighbourhood("2001:db8:1:2:ffff::1%eth0")}
    assert len(same) == 1
    assert neighbourhood("2001:db8:1:3::1") not in same
    assert [neighbourhood(each) for each in ("10.0.0.1", "testclient")] == ["10.0.0.1", "testclient"]


#: What a browser says of who asks, when nobody has set a token; and whether it may.
PAGES: dict[str, tuple[dict[str, str], int]] = {
    "curl": ({}, 200),
    "our own /docs": ({"Origin": "http://{here}", "Sec-Fetch-Site": "same-origin"}, 200),
    "a bookmark": ({"Sec-Fetch-Site": "none"}, 200),
    "by name": ({"Host": "localhost:{port}"}, 200),
    "a form of another site": ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403),
    "a sandboxed frame": ({"Origin": "null"}, 403),
    "another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "a picture of another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a name that leads here": ({"Host": "evil.example:{port}"}, 403),
    "a name that leads here, with its own page": ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    "no host at all": ({"Host": "["}, 403),
}


@pytest.fixture(scope="module")
def open_api() -> Iterator[str]:
    """An API without a token, as somebody has it on their own machine; where it listens."""
    server = WebServer(made(), "127.0.0.1", 0)
    yield server.address
    server.close()


@pytest.mark.parametrize("page", PAGES)
def test_without_a_token_no_web_page_may_use_the_api(open_api: str, page: str) -> None:
    """An API on one's own machine that asks for no token obeys its owner, and not the pages that they look at."""
    headers, status = PAGES[page]
    where = {"here": open_api, "port": open_api.rpartition(":")[2]}
    given = {name: value.format(**where) for name, value in headers.items()}
    answer = httpx.post(f"http://{open_api}/api/jobs", headers=given, content=b"{}")
    assert answer.status_code == status, answer.text
    if status == 403:
        assert "MANYHANDS_API_TOKEN" in answer.json()["error"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"Authorization": "Bearer hunter2"}, 200),
        ({"Authorization": "bearer  hunter3 "}, 200),
        ({"Authorization": "hunter2"}, 401),
        ({"Authorization": "Bearer hunter2,hunter3"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic hunter2"}, 401),
        ({"Host": "x/?"}, 401),
        ({"Host": "x#"}, 401),
        ({"Host": "["}, 401),
    ],
)
def test_tokens(given: dict[str, str], status: int) -> None:
    """Each of several tokens will do, and nothing else: no list of them, no empty one, no odd name of the host."""
    api = client(api_token=SecretStr("hunter2, hunter3,,"))
    assert api.get("/api/jobs", headers=given).status_code == status
    assert api.get("/%61pi/jobs", headers=given).status_code == status


def test_an_empty_list_of_tokens_lets_nobody_in() -> None:
    """A token of nothing but commas is none that anybody has."""
    api = client(api_token=SecretStr(" , "))
    assert [api.get("/api/jobs", headers=h).status_code for h in ({}, {"Authorization": "Bearer "})] == [401, 401]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("believed", ["", "127.0.0.1"])
def test_whose_word_counts_for_the_client(
    monkeypatch: pytest.MonkeyPatch, trail: Callable[[], list[dict[str, Any]]], believed: str
) -> None:
    """Nobody says which address they have, for the limit or the trail, unless they are a proxy that was named."""
    logs.configure("test", level="error")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", believed)
    server = WebServer(made(api_rate=1, api_token=SecretStr("hunter2")), "127.0.0.1", 0)
    try:
        url = f"http://{server.address}/api/jobs"
        said = [httpx.get(url, headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(4)]
    finally:
        server.close()
    assert said == ([401] * 4 if believed else [401, 401, 429, 429])
    assert [line["client"] for line in trail()] == (
        [f"10.0.0.{n}" for n in range(4)] if believed else ["127.0.0.1"] * 2
    )


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("0.0.0.0", None, True), ("::", None, True), ("0.0.0.0", "t", False), ("127.0.0.1", None, False)],  # noqa: S104
)
def test_an_open_api_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, token: str | None, warned: bool
) -> None:
    """A process whose API others may reach, and that asks for no token, says so when it starts."""
    monkeypatch.setattr(process, "WebServer", lambda *_: SimpleNamespace(address="there", close=None))
    monkeypatch.setattr(process, "live", lambda *_: 0)
    nothing: Any = None
    settings = ApiSettings(host=host, api_token=None if token is None else SecretStr(token))
    assert process.serve_with_api("producer", settings, nothing, nothing, nothing) == 0
    assert ("set MANYHANDS_API_TOKEN" in capsys.readouterr().err) is warned


@pytest.fixture
def trail(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """What the audit trail says, even where the log says next to nothing."""

    def said() -> list[dict[str, Any]]:
        text = capsys.readouterr().err
        assert "hunter2" not in text
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert all(line.pop("audit") is True and line.pop("timestamp") for line in lines)
        keys = ("action", "outcome", "actor", "client", "object", "reason")
        return [{key: line[key] for key in keys if key in line} for line in lines]

    return said


@pytest.mark.usefixtures("restored")
def test_actions_are_in_the_audit_trail(trail: Callable[[], list[dict[str, Any]]]) -> None:
    """One line says who did what to which job, and whether it was done."""
    logs.configure("test", level="error")
    api = client(api_token=SecretStr("hunter2"))
    api.post("/api/jobs", headers=TOKEN)
    api.delete("/api/jobs/mine", headers=TOKEN)
    api.delete("/api/jobs/none", headers=TOKEN)
    who = {"actor": "f52fbd32", "client": "testclient"}
    assert trail() == [
        {"action": "job.open", "outcome": "done", **who, "object": {"job": "made-up"}},
        {"action": "job.cancel", "outcome": "done", **who, "object": {"job": "mine"}},
        {"action": "job.cancel", "outcome": "refused", **who, "object": {"job": "none"},
         "reason": "There is no such job: none"},
    ]  # fmt: skip
    api.delete("/api/jobs/mine?job=another&letter=x&letters=9&code=y", headers=TOKEN)
    api.post("/api/dead/replay?job=a&code=b&letters=0", headers=TOKEN)
    assert [line["object"] for line in trail()] == [{"job": "mine"}, {"job": "a", "code": "b", "letters": 3}]
    api.get("/api/jobs", headers=TOKEN)
    assert trail() == []  # reading leaves no trace


@pytest.mark.usefixtures("restored")
def test_refused_tokens_are_in_the_audit_trail(trail: Callable[[], list[dict[str, Any]]]) -> None:
    """A wrong token leaves its fingerprint, and none at all its address."""
    logs.configure("test", level="error")
    api = client(api_token=SecretStr("hunter2"))
    assert api.get("/api/jobs", headers={"Authorization": "Bearer guess"}).status_code == 401
    assert api.delete("/api/jobs/mine").status_code == 401
    first, second = trail()
    assert (first["action"], first["outcome"], first["reason"]) == ("authenticate", "refused", "another token")
    assert first["object"] == "/api/jobs"
    assert (second["actor"], second["object"], second["reason"]) == ("anonymous", {"job": "mine"}, "no token")
