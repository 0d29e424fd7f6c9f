"""Manyhands as processes: started, asked, killed and ended by the tests as a user would."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def command(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 170
) -> subprocess.CompletedProcess[str]:
    """Run ``manyhands`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "manyhands_cli", *arguments],
        capture_output=True, text=True, timeout=timeout, cwd=cwd, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip


class Process:
    """One running ``manyhands`` process; its log is read as it comes. ``code`` starts it in some other way."""

    def __init__(self, *arguments: str, env: Mapping[str, str], code: str | None = None) -> None:
        self._name = " ".join(arguments[:1])
        started = ["-c", code] if code else ["-m", "manyhands_cli"]
        self._popen = subprocess.Popen(
            [sys.executable, *started, *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **env},
        )  # fmt: skip
        self.log: list[str] = []
        self._started: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            self.log.append(line)
            if '"started"' in line:
                self._started.put(json.loads(line))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def says(self, text: str) -> None:
        """Wait until it has written the text to standard error."""
        wait_until(lambda: any(text in line for line in self.log), 60, f"{self._name} to say {text!r}")

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def ends(self) -> int:
        """Wait for its end; its exit code."""
        code = self._popen.wait(60)
        self._reader.join(10)
        return code

    @property
    def url(self) -> str:
        """Where it serves health, metrics and API; waits until it says so."""
        try:
            said = self._started.get(timeout=60)
        except queue.Empty:
            raise AssertionError(f"{self._name} did not start:\n{''.join(self.log)}") from None
        self._started.put(said)
        return f"{'https' if said.get('tls') else 'http'}://{said['address']}"

    def kill(self) -> None:
        """SIGKILL: it can do nothing about it."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait(30)

    def terminate(self) -> int:
        """SIGTERM, and its exit code when it has drained."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            code = self._popen.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self._name} did not stop:\n{''.join(self.log[-40:])}") from None
        self._reader.join(10)
        return code


class Installation:
    """A producer, an aggregator and some workers as processes of their own, in a namespace of their own."""

    def __init__(
        self, broker: str, store: str, namespace: str, worker: tuple[str, ...], workers: int, env: Mapping[str, str]
    ) -> None:
        self.env = {
            "MANYHANDS_BROKER": broker,
            "MANYHANDS_STORE": store,
            "MANYHANDS_NAMESPACE": namespace,
            "MANYHANDS_PORT": "0",
            "MANYHANDS_SOURCE_ROOTS": "/",
            **env,
        }
        self._worker = worker
        self.processes: list[Process] = []
        self.producer = self.add("producer")
        self.aggregator = self.add("aggregator")
        self.workers = [self.add_worker() for _ in range(workers)]
        self.env["MANYHANDS_PRODUCER_URL"] = self.producer.url
        self.env["MANYHANDS_AGGREGATOR_URL"] = self.aggregator.url

    def add(self, *arguments: str) -> Process:
        """Start one more process."""
        process = Process(*arguments, env=self.env)
        self.processes.append(process)
        return process

    def add_worker(self) -> Process:
        """Start one more worker."""
        return self.add("worker", *self._worker, "--children", "1")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this installation."""
        return command(*arguments, env=self.env)

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run a command that prints JSON."""
        done = self.command(*arguments, "--json")
        assert done.stdout, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def balances(self) -> None:
        """Every job there is, open or ended, has each of its tasks in exactly one account."""
        said: Any = self.json("status")
        for job in [row["job"] for row in said]:
            audited = self.command("audit", job, "--json")
            assert audited.returncode == 0, audited.stdout + audited.stderr


@contextmanager
def installation(
    broker: str,
    store: str,
    namespace: str,
    worker: tuple[str, ...],
    *,
    workers: int = 3,
    env: Mapping[str, str] | None = None,
) -> Iterator[Installation]:
    """An installation that is ended with the test: every job must balance, each process stop within its grace."""
    running = Installation(broker, store, namespace, worker, workers, env or {})
    try:
        yield running
        running.balances()
    finally:
        for process in reversed(running.processes):
            process.terminate()
