"""A server as a process of the installed program."""

# ruff: noqa: D102  its methods are those of Node, which documents them

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Process:
    """A server process in its own process group and folder; `beside` is a helper that outlives its restarts."""

    command: Sequence[str | Path]
    folder: Path
    programs: Path
    environment: dict[str, str]
    end: signal.Signals
    account: dict[str, Any] = field(default_factory=dict)
    beside: Sequence[str] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None
    _helper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        if self.beside and self._helper is None:
            self._helper = self._spawn(self.beside)
        if not self.running:
            self._child = self._spawn(self.command)

    def kill(self) -> None:
        self._end(self._child, signal.SIGKILL)

    def stop(self) -> None:
        self._end(self._child, self.end)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To the process and its children: PostgreSQL's each have a process group of their own."""
        if self._child is None:
            return
        os.kill(self._child.pid, number)
        for task in Path(f"/proc/{self._child.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), number)

    def close(self) -> None:
        self._end(self._child, self.end)
        self._end(self._helper, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-4000:]

    def put(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def port(self, inner: int) -> int:
        return self.ports[inner]

    def run(self, *command: str) -> str:
        argv = [str(self.programs / command[0]), *command[1:]]
        done = subprocess.run(
            argv, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120, **self.account
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return str(done.stdout)

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self.account,
            )

    @staticmethod
    def _end(child: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
        if child is None or child.poll() is not None:
            return
        os.killpg(child.pid, how)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(30)
