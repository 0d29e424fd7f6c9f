"""What a worker tells Kubernetes of itself, to a real HTTP server in the place of the API server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from manyhands.errors import SettingsError
from manyhands.settings import load
from manyhands_worker.pod import ANNOTATION, DeletionCost, Pod, this_pod
from manyhands_worker.settings import WorkerSettings
from tests.services import wait_until

PATH = "/api/v1/namespaces/here/pods/worker-svm-1"


class Api:
    """An API server that keeps what it was asked, and answers with ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.asked.append((self.command, self.path, dict(self.headers), json.loads(body)))
                self.send_response(api.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def costs(self) -> list[str]:
        """The costs it was told."""
        return [body["metadata"]["annotations"][ANNOTATION] for _, _, _, body in self.asked]


@pytest.fixture
def api() -> Iterator[Api]:
    """The API server."""
    api = Api()
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def pod(api: Api, tmp_path: Path) -> Pod:
    """A pod with a token."""
    (tmp_path / "token").write_text("first\n")
    port = api.server.server_address[1]
    return Pod(
        name="worker-svm-1", namespace="here", token=tmp_path / "token",
        connect=lambda: HTTPConnection("127.0.0.1", port, timeout=5),
    )  # fmt: skip


def test_the_cost_is_told_when_it_changes(api: Api, pod: Pod) -> None:
    """One patch of its own pod for each change, and none between."""
    cost = 0
    looked = threading.Semaphore(0)

    def now() -> int:
        looked.release()
        return cost

    telling = DeletionCost(pod, now, every=0.01)
    telling.start()
    wait_until(lambda: api.costs == ["0"], 10, "the first: what an earlier container said is not known")
    for _ in range(5):
        looked.acquire(timeout=10)
    assert api.costs == ["0"]
    cost = 7
    wait_until(lambda: api.costs == ["0", "7"], 10, "the change")
    (pod.token).write_text("second")
    cost = 3
    wait_until(lambda: len(api.costs) == 3, 10, "the next")
    telling.stop()
    method, path, headers, body = api.asked[-1]
    assert (method, path) == ("PATCH", PATH)
    assert headers["Authorization"] == "Bearer second"  # a token that was renewed
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert body == {"metadata": {"annotations": {ANNOTATION: "3"}}}


def test_a_refusal_is_said_once_and_harms_nothing(api: Api, pod: Pod) -> None:
    """It tries again, and says nothing more until it has worked in between."""
    api.status = 403
    with capture_logs() as said:
        telling = DeletionCost(pod, lambda: 1, every=0.01)
        telling.start()
        wait_until(lambda: len(api.asked) > 3, 10, "some tries")
        api.status = 200
        wait_until(lambda: telling._told == 1, 10, "it to be let in")
        telling.stop()
    assert [line["error"] for line in said] == ["the API server said 403 Forbidden"]
    assert all("first" not in str(line) for line in said)


def test_an_api_server_that_is_away_harms_nothing(api: Api, pod: Pod) -> None:
    """Nor does a token that is not there, or is none."""
    port = api.server.server_address[1]
    away = Pod(name=pod.name, namespace=pod.namespace, token=pod.token, connect=lambda: HTTPConnection("127.0.0.1", 1))
    none = Pod(name=pod.name, namespace=pod.namespace, token=pod.token.with_name("no"), connect=pod.connect)
    bad = pod.token.with_name("bad")
    bad.write_text("to\nken")
    odd = Pod(
        name=pod.name, namespace=pod.namespace, token=bad, connect=lambda: HTTPConnection("127.0.0.1", port, timeout=5)
    )
    with capture_logs() as said:
        for one in (away, none, odd):
            rounds = threading.Semaphore(0)
            telling = DeletionCost(one, lambda r=rounds: r.release() or 1, every=0.01)  # type: ignore[misc]
            telling.start()
            assert all(rounds.acquire(timeout=10) for _ in range(3))
            telling.stop()
    assert len(said) == 3
    assert api.asked == []


def test_the_environment_says_which_pod(tmp_path: Path) -> None:
    """What is missing is named; without it the worker does not start, since somebody asked for it."""
    with pytest.raises(SettingsError, match="POD_NAME, POD_NAMESPACE"):
        this_pod({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    whole = {
        "POD_NAME": "p", "POD_NAMESPACE": "n", "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443",
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"ca\.crt"):
        this_pod(whole, tmp_path)


def test_it_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is allowed to."""
    monkeypatch.delenv("MANYHANDS_DELETION_COST", raising=False)
    assert not load(WorkerSettings).deletion_cost
    monkeypatch.setenv("MANYHANDS_DELETION_COST", "true")
    assert load(WorkerSettings).deletion_cost
