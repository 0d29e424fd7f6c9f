"""Trials: a suspect is judged while nothing else is, and taken from its queue only then.

So whatever its delivery count says, it says of trials: a worker that died held a suspect only because it judged it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from manyhands.broker.protocol import Delivery, Puller, Verdict
from manyhands.clock import Clock

#: Seconds between two looks for suspects, half of it or half as much again, so that workers do not all look at once.
LOOK = 1.0


class Gate:
    """Lets many in, or one alone. Who claims it waits for those inside; nobody else comes in meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._claimed = self._closed = False

    def __enter__(self) -> None:
        with self._changed:
            if self._claimed and not self._closed:
                self._changed.wait_for(lambda: self._closed or not self._claimed)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._claimed:
                self._changed.notify_all()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Step out for a while."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def claim(self, timeout: float) -> bool:
        """Be alone; False when somebody is inside still after ``timeout`` seconds. The claim stands even so."""
        with self._changed:
            self._claimed = True
            return self._changed.wait_for(lambda: not self._inside, timeout)

    def release(self) -> None:
        """Be alone no more, nor wish for it."""
        with self._changed:
            self._claimed = False
            self._changed.notify_all()

    def close(self) -> None:
        """Whoever waits to come in waits no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Dock:
    """Where suspects come from: a :class:`~manyhands.broker.protocol.Consumer` as far as a runner needs one.

    It gives out one delivery at a time, while nobody is inside the gate; until that is settled nobody comes in.
    """

    def __init__(self, puller: Puller, gate: Gate, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._puller, self._gate, self._clock, self._chance = puller, gate, clock, chance
        self._changed = threading.Condition(threading.Lock())
        self._held: Delivery | None = None
        self._look_at = 0.0
        self._stopped = False

    def receive(self, most: int, timeout: float) -> list[Delivery]:  # noqa: ARG002  never more than one
        """A suspect; waits up to ``timeout`` seconds, for the broker's answers somewhat longer."""
        with self._changed:
            if self._held is not None:
                self._changed.wait_for(lambda: self._held is None, timeout)
                return []
            wait = min(timeout, self._look_at - self._clock.monotonic())
            if self._changed.wait_for(lambda: self._stopped, max(0.0, wait)) or wait == timeout:
                return []
        if not self._puller.look():
            self._gate.release()
            self._look_at = self._clock.monotonic() + LOOK * (0.5 + self._chance())
            return []
        if not self._gate.claim(timeout):
            return []  # and look again: another worker may have been alone before
        delivery = self._puller.take()
        if delivery is None:
            self._gate.release()
            return []
        with self._changed:
            self._held = delivery
        return [delivery]

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle the suspect: its trial is over."""
        self._puller.settle(deliveries, verdict)
        with self._changed:
            if self._held not in deliveries:
                return
            self._held = None
            self._changed.notify_all()
        self._gate.release()

    def resize(self, prefetch: int) -> None:
        """It holds one, always."""

    def stop(self) -> None:
        """Take no more; the suspect in hand keeps its trial."""
        with self._changed:
            self._stopped = True
            held = self._held
            self._changed.notify_all()
        if held is None:
            self._gate.release()

    @property
    def registered(self) -> int:
        """It asks, and is not registered anywhere."""
        return 0

    @property
    def ready(self) -> bool:
        """Whether the suspects' queues are there."""
        return self._puller.ready

    def close(self) -> None:
        """End the puller."""
        self._puller.close()
