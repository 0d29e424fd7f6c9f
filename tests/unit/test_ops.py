"""Health, readiness and metrics, over real HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from manyhands import metrics
from manyhands.errors import SettingsError
from manyhands.ops import Ops, OpsServer

missing: dict[str, str | None] = {}


@pytest.fixture
def server() -> Iterator[OpsServer]:
    """A server whose checks say what stands in `missing`."""
    missing.update(broker=None, store=None)
    server = OpsServer(Ops({"broker": lambda: missing["broker"], "store": lambda: missing["store"]}), "127.0.0.1", 0)
    yield server
    server.close()


def get(server: OpsServer, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body of an answer."""
    connection = http.client.HTTPConnection(server.address, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


def test_healthz(server: OpsServer) -> None:
    """The process says that it is alive, ready or not."""
    missing["broker"] = "waiting for amqp://rabbit/"
    assert get(server, "/healthz") == (200, "application/json", '{"status": "alive"}')


def test_readyz(server: OpsServer) -> None:
    """Ready is 200; waiting is 503 and says for what."""
    status, _, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready", "missing": {}})
    missing["store"] = "the store is away"
    status, kind, body = get(server, "/readyz?verbose")
    assert (status, kind) == (503, "application/json")
    assert json.loads(body) == {"status": "waiting", "missing": {"store": "the store is away"}}


def test_metrics(server: OpsServer) -> None:
    """Metrics come as Prometheus reads them, in the format it asks for."""
    metrics.TASKS_READ.inc(0)
    status, kind, body = get(server, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert "# HELP manyhands_tasks_read_total Tasks read from sources" in body
    _, kind, body = get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_nothing_else(server: OpsServer) -> None:
    """Any other path is 404 and says what there is."""
    status, _, body = get(server, "/admin")
    assert status == 404
    assert "/readyz" in body


def test_port_taken(server: OpsServer) -> None:
    """A port that is taken is one sentence that names the setting."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*MANYHANDS_PORT"):
        OpsServer(Ops({}), "127.0.0.1", port)


def test_closed() -> None:
    """After closing nobody answers, and the port is free again."""
    server = OpsServer(Ops({}), "127.0.0.1", 0)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        get(server, "/healthz")
    OpsServer(Ops({}), "127.0.0.1", int(server.address.rpartition(":")[2])).close()
