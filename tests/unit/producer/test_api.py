"""The producer over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from manyhands import tracing
from manyhands.broker import connect
from manyhands.settings import Settings
from manyhands.spans import Spans
from manyhands_producer import api
from manyhands_producer.api import build
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from tests.unit.producer.support import job_spec

SPEC = job_spec().plain()
NDJSON = {"content-type": "application/x-ndjson; charset=utf-8"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """The API of a producer that runs on the embedded broker."""
    broker = connect("memory://")
    settings = ProducerSettings(
        store=SecretStr(f"sqlite:///{tmp_path}/store.db"), source_roots=(str(tmp_path),), api_body=4000
    )
    producer = Producer(settings, broker)
    producer.start()
    yield TestClient(build(producer, settings))
    producer.stop(5)
    broker.close()


def test_the_life_of_a_job(client: TestClient) -> None:
    """A job is opened once, takes tasks, is sealed, and tells how far it is."""
    opened = {"spec": SPEC, "job": "mine", "tasks": [{"payload": 1}]}
    for status in (201, 200):
        reply = client.post("/api/jobs", json=opened)
        assert (reply.status_code, reply.json()) == (status, {"job": "mine", "state": "open"})
    assert client.post("/api/jobs/mine/tasks", json={"tasks": [{"payload": 2}], "first": 1}).json() == {"tasks": 2}
    assert client.post("/api/jobs/mine/seal").json()["state"] == "sealed"
    status_ = client.get("/api/jobs/mine").json()
    assert status_ | {"published": 0, "in_flight": 0} == {
        "job": "mine", "name": "job", "state": "sealed", "tasks": 2, "refused": 0, "suites": 2, "published": 0,
        "settled": 0, "in_flight": 0, "error": None, "outcome": None,
    }  # fmt: skip
    assert [j["job"] for j in client.get("/api/jobs").json()] == ["mine"]
    audit = client.get("/api/jobs/mine/audit").json()
    assert (audit["tasks"], audit["suites"], audit["spooled"]) == (2, 2, 2)
    assert client.delete("/api/jobs/mine", params={"reason": "enough"}).json()["error"] == "enough"


def test_an_id_is_made_where_none_is_given(client: TestClient) -> None:
    """The id is the job's name and eight hex digits."""
    job = client.post("/api/jobs", json={"spec": SPEC, "seal": True}).json()["job"]
    assert job.startswith("job-")
    assert len(job) == len("job-") + 8


def test_json_lines_are_pushed_in_parts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON Lines body is spooled part by part as it comes in; with first a repeat is harmless."""
    monkeypatch.setattr(api, "PART_TASKS", 10)
    client.post("/api/jobs", json={"spec": SPEC, "job": "mine"})

    def body() -> Iterator[bytes]:
        for i in range(35):
            line = json.dumps({"payload": f"é{i}"}, ensure_ascii=False).encode() + b"\n\n"
            yield line[:14]
            yield line[14:]

    for _ in range(2):
        reply = client.post("/api/jobs/mine/tasks?first=0", content=body(), headers=NDJSON)
        assert reply.json() == {"tasks": 35}
    assert client.post("/api/jobs/mine/tasks", content=b"", headers=NDJSON).json() == {"tasks": 35}
    reply = client.post("/api/jobs/mine/tasks", content=b'{"payload": 1}\n{"payl', headers=NDJSON)
    assert (reply.status_code, "line 2 is no JSON" in reply.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/api/jobs", b"{", 400, "the body is no JSON"),
        ("POST", "/api/jobs", b"{}", 400, "spec: Field required"),
        ("POST", "/api/jobs", json.dumps({"spec": SPEC, "sael": True}).encode(), 400, "sael: Extra inputs"),
        ("POST", "/api/jobs", json.dumps({"spec": SPEC, "job": "a/b"}).encode(), 400, "job: String should match"),
        ("POST", "/api/jobs", json.dumps({"spec": SPEC | {"answr": 1}}).encode(), 422, "answr: this key is not known"),
        (
            "POST",
            "/api/jobs",
            json.dumps({"spec": SPEC | {"source": {"path": "/etc/x.csv"}}}).encode(),
            422,
            "MANYHANDS_SOURCE_ROOTS",
        ),
        ("POST", "/api/jobs/nobody/tasks", b'{"tasks": []}', 404, "no such job: nobody"),
        ("POST", "/api/jobs/nobody/tasks?first=x", b'{"tasks": []}', 422, "first"),
        ("GET", "/api/jobs/nobody", b"", 404, "no such job: nobody"),
        ("GET", "/api/nothing", b"", 404, ""),
        ("DELETE", "/api/jobs/nobody", b"", 404, "no such job: nobody"),
    ],
)
def test_errors_are_one_sentence(
    client: TestClient, method: str, path: str, body: bytes, status: int, said: str
) -> None:
    """Whatever is wrong with a request is told as {"error": one sentence}."""
    reply = client.request(method, path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert said in reply.json()["error"]


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    """A JSON body is taken into memory, so it has a limit, also where no length is announced."""
    announced = client.post("/api/jobs", content=b"x" * 5000)
    assert (announced.status_code, announced.json()) == (
        413,
        {"error": "the body has 5,000 bytes, and 4,000 are the most"},
    )
    reply = client.post("/api/jobs", content=(b"x" * 1000 for _ in range(5)))
    assert (reply.status_code, "x-ndjson" in reply.json()["error"]) == (413, True)


def test_openapi_tells_of_every_route(client: TestClient) -> None:
    """The description is made from the code, with both kinds of body for tasks."""
    described: dict[str, Any] = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/api/jobs", "/api/jobs/{job}", "/api/jobs/{job}/tasks", "/api/jobs/{job}/seal", "/api/jobs/{job}/audit",
        "/api/jobs/{job}/republish",
    }  # fmt: skip
    content = described["paths"]["/api/jobs/{job}/tasks"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}


def test_a_caller_that_traces_finds_its_suites(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request with a traceparent is a span of that trace, linked with its suites; a wrong one is none."""
    kept = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "spans", Spans(Settings(trace_share=1, otlp="http://127.0.0.1:9"), "test", kept))
    trace = "0af7651916cd43dd8448eb211c80319c"
    opened = {"spec": SPEC, "job": "mine", "tasks": [{"payload": 1}]}
    assert client.post("/api/jobs", json=opened, headers={"traceparent": "nonsense"}).status_code == 201
    told = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    assert client.post("/api/jobs/mine/tasks", json={"tasks": [{"payload": 2}]}, headers=told).status_code == 200
    tracing.stop(5)
    (request,) = [span for span in kept.get_finished_spans() if span.name.startswith("POST")]
    assert request.name == "POST /api/jobs/{job}/tasks"
    assert f"{request.context.trace_id:032x}" == trace
    assert len(request.links) == 1
