"""Processes that a case starts and ends, and what they are made of while they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

T = TypeVar("T")


class CaseError(RuntimeError):
    """A case could not be measured; the text says why."""


def wait_for(predicate: Callable[[], T], timeout: float, what: str, *, every: float = 0.05) -> T:
    """Return the first true value of `predicate`; `CaseError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise CaseError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(every)
    return value


def python(module: str, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 600) -> str:
    """Run a module to its end in a process of its own and return what it prints."""
    return finish([sys.executable, "-m", module, *arguments], env=env, timeout=timeout)


def finish(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600) -> str:
    """Run a command to its end and return what it prints; nothing of it stays behind."""
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise CaseError(f"{' '.join(command[:4])} took more than {timeout:g} s") from late
    finally:
        _clear(child)
    if child.returncode:
        raise CaseError(f"{' '.join(command[:4])} ended with {child.returncode}:\n{(out + err)[-3000:]}")
    return out


@contextmanager
def running(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Keep a command running, in its own session, with its output in `log`; gives its pid."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield child.pid
        if child.poll() is not None:
            raise CaseError(f"{' '.join(command[:4])} ended with {child.returncode}: {log.read_text()[-3000:]}")
    finally:
        _clear(child)


def members(session: int) -> list[int]:
    """The living processes of a session, which a child and all that it starts belong to."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it ended while we looked
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def memory(pid: int) -> tuple[float, float]:
    """(resident now, most ever resident) of a process in MiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def _clear(child: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a child in its orderly way, then whatever of its session is still there."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            print(f"    {child.pid} did not stop when asked; killed", file=sys.stderr)
            child.kill()
            child.wait(10)
    deadline = time.monotonic() + 5
    while (left := members(child.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        print(f"    {pid} was left behind by {child.pid}; killed", file=sys.stderr)
        os.kill(pid, signal.SIGKILL)
