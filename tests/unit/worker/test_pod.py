"""What a worker tells Kubernetes of itself, to a real HTTP server in the place of the API server."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from manyhands.errors import SettingsError
from manyhands.settings import load
from manyhands.tls import Files
from manyhands_worker.pod import ANNOTATION, DeletionCost, Pod, this_pod
from manyhands_worker.settings import WorkerSettings
from tests.services import wait_until
from tests.unit.certificates import Authority
from tests.unit.worker.harness import PATIENCE, TROUBLE, suite
from tests.unit.worker.test_service import embedded, send, worker

PATH = "/api/v1/namespaces/here/pods/worker-svm-1"


class Api:
    """An API server that keeps what it was asked, and answers with ``status``."""

    def __init__(self, tls: Files | None = None) -> None:
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
        if tls is not None and tls.cert is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def costs(self) -> list[str]:
        """The costs it was told."""
        return [body["metadata"]["annotations"][ANNOTATION] for _, _, _, body in self.asked]


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """The API server until it is no longer needed."""
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    """The API server."""
    with serving(Api()) as api:
        yield api


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


def account(folder: Path, authority: Authority) -> Path:
    """What Kubernetes puts into a pod that has a token."""
    (folder / "token").write_text("secret")
    shutil.copy(authority.pem, folder / "ca.crt")
    return folder


def environment(api: Api) -> dict[str, str]:
    """A pod's."""
    return {
        "POD_NAME": "worker-svm-1", "POD_NAMESPACE": "here",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.server.server_address[1]),
    }  # fmt: skip


def test_the_token_goes_to_the_clusters_own_server_only(tmp_path: Path) -> None:
    """One whose certificate another authority signed gets no request."""
    cluster, other = Authority(tmp_path / "cluster"), Authority(tmp_path / "other")
    with serving(Api(other.issue("127.0.0.1"))) as false, serving(Api(cluster.issue("127.0.0.1"))) as true:
        folder = account(tmp_path, cluster)
        with pytest.raises(ssl.SSLError):
            this_pod(environment(false), folder).annotate(ANNOTATION, "1")
        this_pod(environment(true), folder).annotate(ANNOTATION, "1")
        assert (len(false.asked), true.costs) == (0, ["1"])


def test_a_worker_tells_its_work_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as it holds, and none again when they are settled."""
    authority = Authority(tmp_path / "cluster")
    with serving(Api(authority.issue("127.0.0.1"))) as api, embedded() as broker:
        for key, value in environment(api).items():
            monkeypatch.setenv(key, value)
        folder = account(tmp_path, authority)
        monkeypatch.setattr("manyhands_worker.service.this_pod", partial(this_pod, account=folder))
        monkeypatch.setattr("manyhands_worker.service.DeletionCost", partial(DeletionCost, every=0.02))
        with worker(broker, TROUBLE, judges=["one"], hard_limit=1.0, deletion_cost=True):
            wait_until(lambda: api.costs == ["0"], PATIENCE, "an idle worker to say so")
            send(broker, suite("one", ["hang"]))
            wait_until(lambda: api.costs[-1] == "1", PATIENCE, "the suite to be told")
            wait_until(lambda: api.costs[-1] == "0", PATIENCE, "its end to be told")


def test_it_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is allowed to."""
    monkeypatch.delenv("MANYHANDS_DELETION_COST", raising=False)
    assert not load(WorkerSettings).deletion_cost
    monkeypatch.setenv("MANYHANDS_DELETION_COST", "true")
    assert load(WorkerSettings).deletion_cost
