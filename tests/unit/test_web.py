"""What every API has: limits, errors of one sentence, and the audit trail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from pydantic import SecretStr

from manyhands import logs
from manyhands.errors import UnknownJob
from manyhands.ops import Ops
from manyhands.settings import ApiSettings
from manyhands_service.audit import about, audited
from manyhands_service.limits import CLIENTS, Buckets
from manyhands_service.web import application
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

    return TestClient(app)


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
