"""Manyhands as it is run in production: a producer, a worker and an aggregator, each a process, asked over HTTP."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.children import BIN, CaseError, Child, running, wait_for
from benchmarks.context import Context
from benchmarks.handlers import OPTIONS
from manyhands.broker import connect
from manyhands.topology import Names, topology
from tests.ports import free_ports

HANDLERS = Path(__file__).with_name("handlers.py")
JUDGE, SLEEPER = "length", "nap"
BLOCK = 1 << 20


def job(name: str, *, suite: int, source: Path | None = None, judge: str = JUDGE) -> dict[str, Any]:
    """A job file: one judge says of each text whether it is long.

    The window is the default of 128 suites, or 1,000 tasks where that is more: suites of 1 are small enough for it.
    """
    spec: dict[str, Any] = {
        "name": name,
        "question": "Is it long?",
        "answer": {"type": "choice", "options": OPTIONS},
        "stages": [{"judges": [judge]}],
        "suite": suite,
        "in_flight": max(128, 1000 // suite),
    }
    return spec if source is None else spec | {"source": {"path": str(source), "input": "text"}}


class Service:
    """A process of ours and its API, over one connection that is kept."""

    def __init__(self, process: Child, port: int) -> None:
        self._process = process
        self._connection = HTTPConnection("127.0.0.1", port, timeout=90)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with a JSON body and return the JSON that comes back."""
        payload = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
        with self._connection.getresponse() as reply:
            said = reply.read()
            if reply.status >= 400:
                raise CaseError(f"{method} {path}: {reply.status} {said[:500]!r}")
            return json.loads(said)

    def fetch(self, path: str, target: Path) -> None:
        """Stream what a path has into a file."""
        self._connection.request("GET", path)
        with self._connection.getresponse() as reply, target.open("wb") as file:
            if reply.status >= 400:
                raise CaseError(f"GET {path}: {reply.status}")
            while block := reply.read(BLOCK):
                file.write(block)

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so; raises `CaseError` when the process has ended."""
        if self._process.poll() is not None:
            raise CaseError(f"process {self.pid} ended with {self._process.returncode}")
        try:
            self._connection.request("GET", "/readyz")
            with self._connection.getresponse() as reply:
                reply.read()
                return reply.status == 200
        except (OSError, HTTPException):
            self._connection.close()
            return False


@dataclass(frozen=True)
class Installation:
    """The three processes."""

    producer: Service
    worker: Service
    aggregator: Service

    def open(self, spec: dict[str, Any], **more: Any) -> str:
        """Open a job; its id."""
        return str(self.producer.ask("POST", "/api/jobs", {"spec": spec, **more})["job"])

    def progress(self, name: str) -> dict[str, Any]:
        """What the aggregator says of a job; empty before it has heard of it."""
        try:
            said: dict[str, Any] = self.aggregator.ask("GET", f"/api/jobs/{name}")
        except CaseError as error:
            if ": 404 " in str(error):
                return {}
            raise
        return said


@contextmanager
def installation(context: Context, *, workers: int = 1, **more: str) -> Iterator[Installation]:
    """Start the three with stores and queues of their own; in the end stop them and remove both.

    There may be more workers than the one that is asked of; ``more`` settings are for all of them.
    """
    namespace = f"bench-{secrets.token_hex(4)}"
    folder = context.folder / namespace
    folder.mkdir()
    names = ["producer", "worker", "aggregator", *(f"worker-{number}" for number in range(2, workers + 1))]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    env = {
        "MANYHANDS_BROKER": context.broker,
        "MANYHANDS_NAMESPACE": namespace,
        "MANYHANDS_STORE": f"sqlite:///{folder}/bench.db",
        "MANYHANDS_HANDLERS": str(HANDLERS),
        "MANYHANDS_LOG_LEVEL": "warning",
        "MANYHANDS_API_RATE": "0",  # what is measured is the pipeline, not its limit
    }
    try:
        with ExitStack() as stack:
            services = {}
            for name, port in ports.items():
                own = env | {"MANYHANDS_PORT": str(port)} | more
                command = [str(BIN / "manyhands"), name.partition("-")[0]]
                services[name] = Service(stack.enter_context(running(command, folder / f"{name}.log", env=own)), port)
            for name, service in services.items():
                wait_for(service.is_ready, 60, f"{name} to be ready")
            yield Installation(**{name: services[name] for name in names[:3]})
    finally:
        remove(context, namespace)
        rmtree(folder, ignore_errors=True)


def remove(context: Context, namespace: str) -> None:
    """Take an installation's queues and exchanges away: the broker may be somebody else's."""
    broker = connect(context.broker, name="bench")
    broker.delete(topology(Names(namespace=namespace), [JUDGE, SLEEPER]))
    broker.close()


def until_ended(there: Installation, name: str, timeout: float) -> dict[str, Any]:
    """Wait for a job to end; what the aggregator then says of it."""
    deadline = time.monotonic() + timeout
    while not (said := there.progress(name)) or said["state"] == "open":
        if time.monotonic() > deadline:
            raise CaseError(f"{name} did not end in {timeout:g} s: {said}")
        time.sleep(0.05)
    return said
