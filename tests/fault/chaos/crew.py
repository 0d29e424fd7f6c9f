"""The drill's processes: started, watched and started again, as an orchestrator would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.ports import free_ports

#: Seconds before a process that died is started again.
PAUSE = 0.5
#: Seconds a process gets to drain, and how many more before it is counted as overdue and killed.
GRACE, OVERDUE = 10.0, 10.0


class Replica:
    """One replica of a service, on a port of its own; its processes come and go."""

    def __init__(self, service: str, number: int, options: tuple[str, ...], env: Mapping[str, str], logs: Path) -> None:
        self.service, self.name = service, f"{service}-{number}"
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "manyhands_cli", service, *options]
        self._env = {**os.environ, **env, "MANYHANDS_PORT": str(port), "MANYHANDS_GRACE": str(GRACE)}
        self._log = logs / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False  # whether its end is our doing
        self._overdue: float | None = None
        self._again = 0.0
        #: Ends that nobody asked for, and stops that took longer than the grace period.
        self.died, self.late = 0, 0

    def start(self) -> None:
        """Start its process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdin=subprocess.DEVNULL, stderr=log)
        self._wanted, self._overdue = False, None

    def watch(self) -> None:
        """Start it again when it has ended; kill it when it takes too long to."""
        assert self._process is not None
        now = time.monotonic()
        if self._process.poll() is None:
            if self._overdue is not None and now > self._overdue:
                self.late += 1
                self._overdue = None
                self._process.kill()
            return
        if not self._again:
            self.died += not self._wanted
            self._again = now + PAUSE
        elif now >= self._again:
            self._again = 0.0
            self.start()

    @property
    def up(self) -> bool:
        """Whether its process lives and nobody is ending it."""
        return self._process is not None and self._process.poll() is None and not self._wanted

    def children(self) -> list[int]:
        """The children that judge."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task")
        try:
            return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
        except OSError:
            return []

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal; one that ends it is our doing."""
        assert self._process is not None
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._wanted = True
            self._overdue = time.monotonic() + GRACE + OVERDUE
        self._process.send_signal(number)

    def ready(self) -> bool:
        """Whether it can work."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def end(self) -> int | None:
        """SIGTERM, and its exit code; None when it had to be killed."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(GRACE + OVERDUE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
