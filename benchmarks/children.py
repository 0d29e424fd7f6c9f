"""Processes that a case starts and ends, and what they are made of while they run."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

#: The variable that tells what a case started, however far down.
MARK = "MANYHANDS_BENCH_MARK"

T = TypeVar("T")
Child = subprocess.Popen[bytes]


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
    with tempfile.TemporaryFile() as output:
        mark, child = _spawn(command, env, output)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired as late:
            raise CaseError(f"{_short(command)} took more than {timeout:g} s") from late
        finally:
            _clear(mark, child)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if code:
        raise CaseError(f"{_short(command)} ended with {code}:\n{said[-3000:]}")
    return said


@contextmanager
def running(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Keep a command running, with its output in `log`."""
    with log.open("wb") as output:
        mark, child = _spawn(command, env, output)
    try:
        yield child
    except CaseError as error:
        error.add_note(f"{_short(command)} said: {log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        ended = child.poll()
        _clear(mark, child)
    if ended is not None:
        raise CaseError(f"{_short(command)} ended too early, with {ended}: {log.read_text(errors='replace')[-2000:]}")


def _short(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:4]])


def marked(mark: str) -> list[int]:
    """The living processes that bear a mark in their environment: a child and all that it started, in any session."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue  # it ended while we looked, or is not ours
    return found


def memory(pid: int) -> tuple[float, float]:
    """(resident now, most ever resident) of a process in MiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def _spawn(command: Sequence[str], env: Mapping[str, str] | None, output: IO[bytes]) -> tuple[str, Child]:
    mark = secrets.token_hex(8)
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {}), MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return mark, child


def _clear(mark: str, child: Child) -> None:
    """End a child in its orderly way, then whatever it has left behind, and say so."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            print(f"    {child.pid} did not stop when asked; killed", file=sys.stderr)
            child.kill()
            child.wait(10)
    deadline = time.monotonic() + 5
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        print(f"    {pid} was left behind by {child.pid}; killed", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
