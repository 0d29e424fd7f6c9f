"""Rating the workers of open jobs that have rules, at a modest pace, and acting on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands import logs
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.codec import encode
from manyhands.errors import BrokerError, StoreUnavailable
from manyhands.messages import SUITES_SETTLED, Event
from manyhands.topology import Names
from manyhands_aggregator import ratings, tables
from manyhands_aggregator.confirms import publish_all
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.ratings import Rating
from manyhands_aggregator.reputations import LOOK
from manyhands_service.store import Store

_log = logs.get(__name__)
_suites, _judgments = tables.suites, tables.judgments

#: Seconds between two ratings of a job at least, and by what its judgments must have grown.
EVERY, GROWN = 2.0, 1.1
#: What share of the time may be spent on rating a job.
EFFORT = 0.05
#: Suites that are re-opened in one transaction.
SOME = 100
#: Seconds that whoever notes a rating has to act on it, before others do so.
GRACE = 30.0
#: Seconds at most until a job of which the rating fails is tried again.
LONGEST = 300.0


class Oversight:
    """What is rated here is a function of the store, so several replicas may do it, and none need know of another."""

    def __init__(self, store: Store, intake: Intake, publisher: Publisher, names: Names, clock: Clock) -> None:
        self._store, self._intake, self._publisher, self._names, self._clock = store, intake, publisher, names, clock
        self._seen: dict[str, tuple[float, int]] = {}  # when a job is to be rated next, and how many judgments it had
        self._left: set[str] = set()  # jobs whose ratings are noted and not acted on, as far as we were at it
        self._failures: dict[str, tuple[int, float]] = {}  # how often a job failed in a row, and when it is tried again

    def round(self) -> None:
        """Rate the jobs whose turn it is, and act on what was left; one that fails costs no other.

        Raises:
            StoreUnavailable, BrokerError: the rest is for the next round.
        """
        until = self._clock.now() - GRACE
        for job in sorted({*self._store.read(lambda c: ratings.left(c, until)), *self._left}):
            self._try(job, lambda j=job: self._act(j, ()))  # type: ignore[misc]  # no lambda defaults in mypy
        open_jobs = self._store.read(ratings.ruled)
        self._seen = {job: self._seen[job] for job, _ in open_jobs if job in self._seen}
        self._failures = {job: self._failures[job] for job in {*dict(open_jobs), *self._left} if job in self._failures}
        for job, judgments in open_jobs:
            due, had = self._seen.get(job, (-math.inf, 0))
            began = self._clock.monotonic()
            if judgments and began >= due and judgments >= had * GROWN and self._try(job, lambda j=job: self.rate(j)):  # type: ignore[misc]  # the same
                ended = self._clock.monotonic()
                self._seen[job] = ended + max(EVERY, (ended - began) / EFFORT), judgments

    def _try(self, job: str, work: Callable[[], object]) -> bool:
        """Do something for a job, unless it failed just now; whether it was done."""
        failures, again_at = self._failures.get(job, (0, -math.inf))
        if self._clock.monotonic() < again_at:
            return False
        try:
            work()
        except Exception as error:
            delay = min(LONGEST, EVERY * 2 ** min(failures, 20))
            self._failures[job] = failures + 1, self._clock.monotonic() + delay
            if isinstance(error, (StoreUnavailable, BrokerError)):
                raise
            _log.exception("a job's workers could not be rated", job=job, again_in=delay)
            return False
        self._failures.pop(job, None)
        return True

    def rate(self, job: str) -> list[dict[str, Any]]:
        """Rate the workers of a job, tell of what is new, and re-open what rests on those who are retired.

        What each of them has shown by that.
        """
        from manyhands_aggregator import workers  # numpy takes its time to load

        measured = workers.of_job(self._store, job, most=LOOK)
        found = [Rating.of(row) for row in measured.ratings()]
        news = self._store.write(lambda c: ratings.note(c, job, found, self._clock.now()))
        for rating in news:
            _log.info("worker rated", job=job, worker=rating.worker, action=rating.action, why=list(rating.reasons))
        self._act(job, news)
        return measured.shown()

    def _act(self, job: str, news: Sequence[Rating]) -> None:
        """Act on what is new, and on what was noted before and not acted on: who was at it may have been killed."""
        new = {rating.worker for rating in news}
        ours, until = job in self._left, self._clock.now() - GRACE
        self._left.add(job)
        pending = self._store.read(lambda c: ratings.pending(c, job))
        some = [rating for rating, noted in pending if rating.worker in new or ours or noted <= until]
        self._tell([rating.event(job) for rating in some])
        if gone := {rating.worker for rating in some if rating.action == "retire"}:
            self._reopen(job, gone, again=not gone <= new)
        if some:
            self._store.write(lambda c: ratings.acted(c, job, some))
        self._left.discard(job)

    def _tell(self, events: Sequence[Event]) -> None:
        messages = []
        for event in events:
            exchange, key = self._names.to_roles(event.name)
            encoded = encode(event)
            messages.append(Outgoing(exchange=exchange, key=key, body=encoded.body, type=encoded.type))
        publish_all(self._publisher, messages)

    def _reopen(self, job: str, gone: set[str], *, again: bool) -> None:
        judges = {name.split("/")[0] for name in gone}
        silent = any("/" not in name for name in gone)  # a machine is waited for where it has said nothing, too
        after: int | None = -1
        while after is not None:
            rows = self._store.read(lambda c, a=after: _suites_of(c, job, judges, a, silent=silent, settled=again))  # type: ignore[misc]  # the same
            numbers = [suite for suite, settled in rows if not settled]
            if numbers:
                publish_all(self._publisher, self._intake.reopen(job, numbers, gone, again))
            if settled := [suite for suite, settled in rows if settled]:  # by this very thing, it may be
                self._tell([Event(name=SUITES_SETTLED, job=job, data={"suites": settled})])
            after = rows[-1][0] if len(rows) == SOME else None


def _suites_of(
    connection: sa.Connection, job: str, judges: set[str], after: int, *, silent: bool, settled: bool
) -> list[tuple[int, bool]]:
    """Suites behind a number with judgments of these judges: those without answers, or all; and whether they have.

    Where it matters that judges are ``silent``, all suites without answers.
    """
    said = sa.exists().where(
        _judgments.c.job == job, _judgments.c.suite == _suites.c.suite, _judgments.c.judge.in_(sorted(judges))
    )
    query = sa.select(_suites.c.suite, _suites.c.answers.is_not(None)).where(
        _suites.c.job == job, _suites.c.suite > after, sa.or_(said, _suites.c.answers.is_(None)) if silent else said
    )
    if not settled:
        query = query.where(_suites.c.answers.is_(None))
    return [(suite, has) for suite, has in connection.execute(query.order_by(_suites.c.suite).limit(SOME))]
