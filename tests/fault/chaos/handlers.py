"""The drill's handler, copied beside its job file: slow, failing once, crashing and hanging at known positions."""

import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from manyhands import Judgment, judge
from manyhands.handlers import asked

KNOWN = "known.json"


def value(n: int) -> int:
    """The one right answer of a task."""
    return (n * n + 7) % 1_000_003


_file = Path(__file__).with_name(KNOWN)
_known: dict[str, Any] = json.loads(_file.read_text()) if _file.exists() else {}
_killers = {int(n): way for n, way in _known.get("killers", {}).items()}
_slow, _flaky, _seconds = (_known.get(key, 1) for key in ("slow", "flaky", "seconds"))


def die(way: str) -> None:
    """End this process, or its worker, or never return."""
    if way == "exit":
        os._exit(3)
    if way == "segfault":
        ctypes.string_at(0)
    if way == "memory":  # as the system's killer does it
        _ = bytearray(64 << 20)
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def fail_once(n: int) -> None:
    """Raise the first time that a task comes here."""
    marker = _file.with_name("flaky") / str(n)
    if not marker.exists():
        marker.touch()
        raise RuntimeError("it fails once")


@judge("people", version="1")
def drill(n: int) -> Judgment:
    """Judge one task, as is known of it; each slot is another person."""
    if n in _killers:
        die(_killers[n])
    if n % _slow == 0:
        time.sleep(_seconds)
    if n % _flaky == 1:
        fail_once(n)
    return Judgment(value(n), worker=f"person-{asked().slot}")
