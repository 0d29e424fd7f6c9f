"""Clocks: the machine's, and the one that a test turns."""

from __future__ import annotations

import time

from manyhands.clock import Clock, SystemClock
from manyhands.testing import FakeClock


def test_system_clock() -> None:
    """The machine's clock tells the time of day, and one that never goes back."""
    clock: Clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    assert clock.monotonic() <= clock.monotonic()


def test_fake_clock() -> None:
    """A test's clock stands still until it is turned, and both its times move alike."""
    clock = FakeClock(100.0)
    fixed: Clock = clock
    assert (fixed.now(), fixed.now()) == (100.0, 100.0)
    before = fixed.monotonic()
    clock.turn(2.5)
    assert fixed.now() == 102.5
    assert fixed.monotonic() - before == 2.5
