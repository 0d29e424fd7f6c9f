"""Fakes for tests of handlers and services, judging without any process; :mod:`~manyhands.testing.crowd` has crowds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manyhands.broker.protocol import Confirmed, Delivery, Outgoing, Verdict
from manyhands.errors import BrokerError, HandlerError
from manyhands.handlers import Judgment, registered


class FakeClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """The time it was turned to."""
        return self._now

    def monotonic(self) -> float:
        """The same, so that differences are what the test turned."""
        return self._now

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class FakePublisher:
    """Keeps what is published and confirms it at once, or fails it with the errors it was given, in their order."""

    def __init__(self, errors: Sequence[BrokerError | None] = ()) -> None:
        self.published: list[Outgoing] = []
        self._errors = list(errors)

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Keep the message; confirm it or fail it."""
        error = self._errors.pop(0) if self._errors else None
        if error is None:
            self.published.append(message)
        confirmed(error)

    def flush(self, timeout: float) -> bool:  # noqa: ARG002  the protocol's
        """Nothing is ever open."""
        return True

    @property
    def ready(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing to end."""


class FakeConsumer:
    """Delivers what it was given, and keeps how each was settled."""

    def __init__(self, deliveries: Sequence[Delivery] = ()) -> None:
        self.waiting = list(deliveries)
        self.settled: list[tuple[Delivery, Verdict]] = []
        self.stopped = False

    def receive(self, most: int, timeout: float) -> list[Delivery]:  # noqa: ARG002  the protocol's
        """The next deliveries; never waits."""
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Keep the verdict."""
        self.settled.extend((d, verdict) for d in deliveries)

    def resize(self, prefetch: int) -> None:
        """It holds all it is given."""

    def stop(self) -> None:
        """Deliver no more."""
        self.stopped, self.waiting = True, []

    @property
    def registered(self) -> int:
        """One queue, until stopped."""
        return 0 if self.stopped else 1

    @property
    def ready(self) -> bool:
        """Until stopped."""
        return not self.stopped

    def close(self) -> None:
        """Nothing to end."""


def judged(name: str, payloads: Sequence[Any]) -> list[Judgment]:
    """What a registered handler says of some payloads, called in this process: for an author's own tests.

    Raises:
        HandlerError: no such judge, or a batch handler returned another number of judgments than it was given payloads.
    """
    handler = registered().get(name)
    if handler is None:
        raise HandlerError(f"no handler is registered for the judge {name!r}")
    call = handler.target() if isinstance(handler.target, type) else handler.target
    said = call(list(payloads)) if handler.batch else [call(p) for p in payloads]
    if len(said) != len(payloads):
        raise HandlerError(f"{name} returned {len(said)} judgments for {len(payloads)} tasks")
    return [s if isinstance(s, Judgment) else Judgment(s) for s in said]
