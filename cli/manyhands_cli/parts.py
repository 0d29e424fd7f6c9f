"""The parts of a run: its services, each in this process or in one of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol, runtime_checkable

from manyhands import errors
from manyhands.ops import Checks
from manyhands.process import Service
from manyhands.settings import Settings
from manyhands_cli.errors import PartFailed
from manyhands_cli.exits import refused_by_machine

#: Seconds beyond its grace that a process gets to end by itself.
FAREWELL = 5.0
#: How often the process of a part may end unasked within so many seconds before the run gives up.
DEATHS, SPAN = 5, 300.0


class Part(Protocol):
    """One service of a run."""

    def start(self) -> None:
        """Start in the background.

        Raises:
            ManyhandsError: it cannot, and no waiting helps; one sentence.
        """

    def waiting(self) -> Mapping[str, str]:
        """What it still waits for, by what is missing; empty when it can work.

        Raises:
            ManyhandsError: it has failed for good; one sentence.
        """

    def stop(self, grace: float) -> None:
        """Take no more, finish or hand back what is in hand within ``grace`` seconds, end."""


class Checked(Service, Protocol):
    """A service that can say what it waits for."""

    @property
    def checks(self) -> Checks:
        """What must be well for it to be ready."""


class Troubled(Protocol):
    """A store that knows what its last use said."""

    @property
    def trouble(self) -> str | None:
        """What was wrong, or None."""


@runtime_checkable
class Stored(Protocol):
    """A service with a store of its own."""

    @property
    def store(self) -> Troubled:
        """The store."""


def waiting_for(service: Checked) -> dict[str, str]:
    """What a service of this process waits for."""
    found: dict[str, str] = {}
    # a full disk takes the little write of a readiness check and refuses the next batch: what that said counts
    said = service.store.trouble if isinstance(service, Stored) else None
    if said is not None and refused_by_machine(said):
        found["store"] = said
    return found | {what: said for what, check in service.checks.items() if (said := check()) is not None}


class Here:
    """A service in this process."""

    def __init__(self, service: Checked) -> None:
        self.service = service
        self.start, self.stop = service.start, service.stop

    def waiting(self) -> Mapping[str, str]:
        """What it still waits for."""
        return waiting_for(self.service)


class _Child(NamedTuple):
    """A process, and the pipe to it."""

    process: subprocess.Popen[bytes]
    line: Connection


class Apart:
    """A service in a process of its own, which ends with this one, however that ends.

    A process that ends unasked is started again: whatever it held was not acknowledged. ``build`` makes the service
    there, from its settings and a broker; it must be a name of a module.
    """

    def __init__(self, build: Callable[..., Checked], settings: Settings) -> None:
        self._build, self._settings = build, settings
        self._child: _Child | None = None
        self._waiting: Mapping[str, str] = {}
        self._ready = False
        self._deaths: list[float] = []

    @property
    def pid(self) -> int | None:
        """The id of its process; None when there is none."""
        return None if self._child is None else self._child.process.pid

    def start(self) -> None:
        """Start the process; what keeps it from its work, :meth:`waiting` tells."""
        ours, theirs = socket.socketpair()
        with theirs:
            # a session of its own, so that a Ctrl-C meant for this process does not reach it
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "manyhands_cli.apart", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
            )  # fmt: skip
        self._child = _Child(process, Connection(ours.detach()))
        self._waiting = {"process": "starting"}
        with contextlib.suppress(OSError):  # that it ended already is seen by who asks what it waits for
            self._child.line.send(sys.path)
            self._child.line.send((self._build, self._settings))

    def waiting(self) -> Mapping[str, str]:
        """What it still waits for.

        Raises:
            ManyhandsError: it could not start, or ended too often.
        """
        if self._child is None:
            return {"process": "not started"}
        try:
            while self._child.line.poll():
                said = self._child.line.recv()
                if not isinstance(said, dict):
                    raise _error(*said)
                self._waiting = said
                self._ready |= not said
        except (EOFError, OSError):
            return self._again(_bury(self._child, 1.0))
        return self._waiting

    def _again(self, code: int) -> Mapping[str, str]:
        """Start it once more, unless that would go on for ever."""
        self._child = None
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < SPAN] + [now]
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        if len(self._deaths) >= DEATHS or (code >= 0 and not self._ready):
            why = "" if code < 0 else "; what it printed says why"
            raise PartFailed(f"the {self._build.__name__.lower()} {how}{why}")
        self.start()
        return {"process": f"{how}; it is started again"}

    def stop(self, grace: float) -> None:
        """Have it stop within ``grace`` seconds; kill it when it does not."""
        if self._child is None:
            return
        child, self._child = self._child, None
        try:
            child.line.send(grace)
        except OSError:
            grace = 0.0  # it has ended
        _bury(child, grace + FAREWELL)


def _bury(child: _Child, patience: float) -> int:
    """The code with which it ended within ``patience`` seconds, or was killed then."""
    try:
        code = child.process.wait(patience)
    except subprocess.TimeoutExpired:
        child.process.kill()
        code = child.process.wait()
    child.line.close()
    return code


def _error(name: str, detail: str) -> errors.ManyhandsError:
    error: errors.ManyhandsError = getattr(errors, name, errors.ManyhandsError)(detail)
    return error
