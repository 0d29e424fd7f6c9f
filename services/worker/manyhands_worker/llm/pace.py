"""When the next request may go: a rate limit kept on our side, and the pauses that a server asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from manyhands.clock import Clock

#: Seconds between two looks at whether it is time: others may give back tokens meanwhile.
LOOK = 0.1


class Pace:
    """Lets requests through so that no minute sees more of them, or of their tokens, than it may.

    Requests are spaced evenly and never saved up. A request is let through with the tokens that it may take at most;
    when it is over it gives back what it has not taken. Every thread of a process may use it.
    """

    def __init__(
        self, requests: float | None, tokens: float | None, clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        """So many ``requests`` and ``tokens`` a minute; None sets no limit."""
        self._a_request = 60 / requests if requests else 0.0
        self._a_token = 60 / tokens if tokens else 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._closed = False
        self._next_request = self._next_token = self._paused = clock.monotonic()

    def enter(self, tokens: int, until: float) -> bool:
        """Wait for one's turn; False when it has not come by ``until`` (of ``clock.monotonic``), or it is closed."""
        while True:
            with self._lock:
                now = self._clock.monotonic()
                if now >= until or self._closed:
                    return False
                at = max(self._next_request, self._next_token, self._paused)
                if at <= now:
                    self._next_request = now + self._a_request
                    self._next_token = now + self._a_token * tokens
                    return True
            self._sleep(min(at - now, until - now, LOOK))

    def leave(self, given: int, taken: int) -> None:
        """A request is over: it was let through with so many tokens ``given``, and has ``taken`` so many."""
        with self._lock:
            self._next_token += self._a_token * (taken - given)

    def close(self) -> None:
        """Let nobody through any more."""
        self._closed = True

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long."""
        with self._lock:
            self._paused = max(self._paused, self._clock.monotonic() + seconds)
