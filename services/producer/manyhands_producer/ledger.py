"""The conservation law in the producer: a suite that is cut is in the spool until it is settled."""

from __future__ import annotations

from manyhands import logs, metrics
from manyhands.clock import Clock
from manyhands.errors import StoreUnavailable
from manyhands_producer.store import ProducerStore

_log = logs.get(__name__)

#: Seconds between two looks.
LOOK = 10.0


class Ledger:
    """Looks now and then whether the law holds."""

    def __init__(self, store: ProducerStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._due = clock.monotonic()

    def look(self) -> None:
        """Bring the gauge up to date, if it is time; a store that is away is asked the next time."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        self._due = now + LOOK
        try:
            off = self._store.difference()
        except StoreUnavailable as error:
            _log.info("the spool cannot be counted", error=str(error))
            return
        metrics.CONSERVATION_DIFFERENCE.labels("producer").set(off)
        if off:
            _log.error("suites are in no account", suites=off)

    def close(self) -> None:
        """Another process leads from now on, and looks."""
        metrics.CONSERVATION_DIFFERENCE.labels("producer").set(0)
