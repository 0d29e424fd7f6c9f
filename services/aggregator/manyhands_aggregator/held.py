"""What becomes of held judgments: taken in when their suite is known, set aside when they were held for too long.

They stay held until what they lead to is confirmed, as a delivery stays unsettled. One for which the broker has no
place costs no other: it stays held and is passed over for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from manyhands import logs
from manyhands.broker import Publisher
from manyhands.clock import Clock
from manyhands.deadletters import Cause, raw_letter
from manyhands.errors import BrokerError, BrokerUnavailable
from manyhands.runner import Outcome
from manyhands.topology import Names
from manyhands_aggregator import early
from manyhands_aggregator.confirms import publish_all, publish_each
from manyhands_aggregator.early import Held, Place
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.suite import STRANGER
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Held judgments looked at in one go.
SOME = 100
#: Seconds for which failures are held that were concluded from letters about jobs and suites nobody has heard of.
KEEP_SECONDS = 30 * 86_400.0
#: Seconds for which those are passed over that could not be published.
STUCK_SECONDS = 60.0
#: If so many cannot be published it is no fault of theirs, and no others are tried meanwhile.
MOST_STUCK = 10_000


class Sweep:
    """Goes through what is held; its methods are steps of upkeep.

    Each raises StoreUnavailable or BrokerUnavailable, and leaves the rest to the next time.
    """

    def __init__(
        self, store: Store, intake: Intake, publisher: Publisher, names: Names, clock: Clock, hold: float
    ) -> None:
        self._store, self._intake, self._publisher = store, intake, publisher
        self._names, self._clock, self._hold = names, clock, hold
        self._stuck: dict[str, BrokerError] = {}
        self._stuck_since = 0.0

    def some(self) -> bool:
        """Whether any are held."""
        return self._store.read(early.some)

    @property
    def stuck(self) -> str | None:
        """How many the broker had no place for, and what it said of the last; None where there are none."""
        if not self._stuck:
            return None
        return f"{len(self._stuck)} stay held: {list(self._stuck.values())[-1]}"

    def look_again(self) -> None:
        """Pass over nothing any more, once a while has passed."""
        now = self._clock.monotonic()
        if now - self._stuck_since >= STUCK_SECONDS:
            self._stuck.clear()
            self._stuck_since = now

    def take_in(self) -> None:
        """Take in those whose suite is known by now."""
        self._pages(lambda c, after: early.known(c, SOME, after), self._take_in)

    def set_aside(self) -> None:
        """Set those aside that were held for too long, and forget what was concluded from letters long ago."""
        now = self._clock.now()
        self._pages(lambda c, after: early.older(c, now - self._hold, SOME, after), self._set_aside)
        self._pages(lambda c, after: early.older(c, now - KEEP_SECONDS, SOME, after, ours=True), self._release)

    def _pages(self, query: Callable[[sa.Connection, Place], list[Held]], work: Callable[[list[Held]], None]) -> None:
        after = early.START
        while len(self._stuck) < MOST_STUCK and (page := self._store.read(lambda c, a=after: query(c, a))):  # type: ignore[misc]  # mypy infers no lambda defaults
            if waiting := [one for one in page if one.id not in self._stuck]:
                work(waiting)
            after = page[-1].place

    def _take_in(self, held: list[Held]) -> None:
        outcomes: list[Outcome] = []
        self._intake.again([one.delivery for one in held], outcomes.append)
        try:
            publish_all(self._publisher, [message for outcome in outcomes for message in outcome.publish])
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            if len(held) == 1:
                self._stuck[held[0].id] = error
            else:
                for one in held:
                    self._take_in([one])
        else:
            self._release(held)

    def _set_aside(self, held: list[Held]) -> None:
        said = f"nothing was heard of its job or suite in {self._hold:g} seconds"
        cause = Cause(code=STRANGER, error=said, at=self._clock.now())
        letters = [raw_letter(self._names, "judgments", one.delivery, cause) for one in held]
        became = publish_each(self._publisher, letters)
        confirmed = [one for one, error in zip(held, became, strict=True) if error is None]
        for _ in confirmed:
            _log.warning("set aside", kind="judgments", code=STRANGER, error=said)
        self._release(confirmed)
        away = [error for error in became if isinstance(error, BrokerUnavailable)]
        for one, error in zip(held, became, strict=True):
            if error is not None and error not in away:
                self._stuck[one.id] = error
        if away:
            raise away[0]

    def _release(self, held: Sequence[Held]) -> None:
        self._store.write(lambda c: early.release(c, [one.id for one in held]))
