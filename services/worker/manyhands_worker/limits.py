"""The soft limit: a SIGALRM that ends what takes too long with ``TimeoutError``, in the main thread of a child."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Alarm:
    """The one alarm that a process has."""

    def __init__(self) -> None:
        self._limit: float | None = None
        self._known = False

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        # one that was set off while the call returned may only be handled now, and then concerns nobody
        if self._limit is not None:
            raise TimeoutError(f"it took longer than its {self._limit:g} s")

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        if not self._known:
            signal.signal(signal.SIGALRM, self.ring)
            self._known = True
        self._limit = seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self._limit = None
            signal.setitimer(signal.ITIMER_REAL, 0)


_alarm = _Alarm()

#: ``with within(seconds):`` raises TimeoutError in its block once they are over. Not to be nested.
within = _alarm.within
