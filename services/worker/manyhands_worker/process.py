"""A child process as the worker sees it: start it, ask it, kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from manyhands.errors import HandlerError
from manyhands.settings import without_secrets
from manyhands_worker import frames
from manyhands_worker.frames import Offers, Setup, Unit
from manyhands_worker.isolate import Death

#: Seconds that a child gets to end by itself.
FAREWELL = 5.0
#: Seconds that it gets to import its handlers, or to make one, if the hard limit is less.
START_LIMIT = 300.0


class ChildDied(Exception):  # it is what happened, and to whom
    """The child ended without being asked."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.how)
        self.death = death


class Child:
    """One child process. It belongs to one thread; :meth:`kill`, :meth:`hurry` and :attr:`deadline` are for any."""

    def __init__(self, setup: Setup, hard_limit: float) -> None:
        self._hard_limit = hard_limit
        self._groups: set[int] = set()
        self._loading = False
        self._killed_for_time = False
        self._can_hurry = False
        self._leaves_off = bool(setup.llm)
        self._burying = threading.Lock()
        #: When it will have taken too long, in seconds of ``time.monotonic``; None while nothing is asked of it.
        self.deadline: float | None = None
        #: Suites it has judged.
        self.judged = 0
        ours, theirs = socket.socketpair()
        with theirs:
            # a new interpreter and not a fork, for this process has threads; its own session, so that a Ctrl-C meant
            # for the worker does not reach it; it prints to our error output, since a program may read our other one
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "manyhands_worker.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
                env=without_secrets(os.environ),
            )  # fmt: skip
        self._line = Connection(ours.detach())
        self._line.send_bytes(frames.pack(asdict(setup)))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_ready(self) -> Offers:
        """Wait until it has loaded its handlers; the judges it offers: version, and whether they take batches.

        Raises:
            HandlerError: the handlers cannot be loaded.
        """
        self._loading = True
        self.deadline = time.monotonic() + max(self._hard_limit, START_LIMIT)
        try:
            ((kind, said),) = frames.unpack(self._line.recv_bytes())
        except (EOFError, OSError):
            raise HandlerError(f"{self._bury().how} while it loaded its handlers") from None
        self.deadline = None
        self._loading = False
        if kind == frames.FAILED:
            self.stop()
            raise HandlerError(said)
        self._can_hurry = self._leaves_off  # before it was ready the signal would have ended it
        return {name: (version, batch) for name, (version, batch) in said.items()}

    def ask(self, units: Sequence[Unit]) -> Iterator[list[Any]]:
        """Give it suites; yields the reply to each, in their order, as they come.

        Raises:
            BrokenPipeError: it had ended before, and none of the suites is to blame.
            ChildDied: it ended over them; those without a reply have not been judged.
        """
        try:
            self._line.send_bytes(frames.pack(units))
        except OSError:
            self._bury()
            raise BrokenPipeError from None
        left = len(units)
        while left:
            limit = max(self._hard_limit, START_LIMIT) if self._loading else self._hard_limit
            self.deadline = time.monotonic() + limit
            try:
                replies = frames.unpack(self._line.recv_bytes())
            except (EOFError, OSError):
                raise ChildDied(self._bury()) from None
            self.deadline = None  # while replies are dealt with, which may wait for the broker, no child is to blame
            for reply in replies:
                if reply[0] == frames.NOTE:
                    self._note(*reply[1:])
                else:
                    left -= 1
                    self.judged += 1
                    yield reply

    def _note(self, what: int, value: int) -> None:
        match what:
            case frames.STARTED:
                self._groups.add(value)
            case frames.ENDED:
                self._groups.discard(value)
            case _:
                self._loading = what == frames.LOADING

    def rss_mib(self) -> float:
        """MiB of memory it holds now; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def stop(self) -> None:
        """Have it end by itself; kill it when it does not."""
        try:
            self._line.send_bytes(frames.STOP)
            self._process.wait(FAREWELL)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self._bury()

    def kill(self, *, for_time: bool = False) -> None:
        """Kill it and all that it started, now; the thread that waits for it learns of it."""
        self._killed_for_time = self._killed_for_time or for_time
        with self._burying:  # not Popen.kill(): it may reap the child, and what it used would be lost
            if self._process.returncode is None:
                os.kill(self.pid, signal.SIGKILL)

    def hurry(self) -> None:
        """Have judges that can leave off do so: what is begun they finish, the rest of a suite they hand back."""
        with self._burying:
            if self._can_hurry and self._process.returncode is None:
                os.kill(self.pid, signal.SIGUSR1)

    def _bury(self) -> Death:
        """How it ended; ends what it leaves behind."""
        self.deadline = None
        # its group first and then itself: until it is waited for, nobody else gets its number
        _end(self.pid)
        self._hear_out()
        for group in self._groups:
            _end(group)
        with self._burying:
            peak = self._reap()
        self._line.close()
        code = self._process.returncode
        ended = _name(-code) if code < 0 else f"status {code}"
        if self._killed_for_time:
            how, label = f"was killed after the hard limit of {self._hard_limit:g} s", "time-limit-hard"
        elif code < 0:
            how, label = f"was ended by {ended}", ended
        else:
            how, label = f"exited with {ended}", "exit"
        return Death(
            how=f"the child {how}", label=label, hard=self._killed_for_time, loading=self._loading, exit=ended,
            peak_mib=peak, at=time.time(),
        )  # fmt: skip

    def _hear_out(self) -> None:
        """Take note of what it told last: a group of which it saw the end is nobody's now, or another's."""
        with contextlib.suppress(EOFError, OSError):
            while self._line.poll():
                for reply in frames.unpack(self._line.recv_bytes()):
                    if reply[0] == frames.NOTE:
                        self._note(*reply[1:])

    def _reap(self) -> int:
        """Wait for its end; the most MiB it ever held (never less than the worker held when it started it)."""
        if self._process.returncode is not None:  # it was stopped
            return 0
        _, status, used = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return round(used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"
