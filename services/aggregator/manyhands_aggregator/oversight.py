"""Rating the workers of open jobs that have rules, at a modest pace, and acting on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sqlalchemy as sa

from manyhands import logs
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.codec import encode
from manyhands.messages import Event
from manyhands.topology import Names
from manyhands_aggregator import ratings, tables
from manyhands_aggregator.confirms import publish_all
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.ratings import Rating
from manyhands_service.store import Store

_log = logs.get(__name__)
_suites, _judgments = tables.suites, tables.judgments

#: Seconds between two ratings of a job at least, and by what its judgments must have grown.
EVERY, GROWN = 2.0, 1.1
#: What share of the time may be spent on rating a job.
EFFORT = 0.05
#: Judgments looked at each time, at most; of more, evenly spread suites.
LOOK = 200_000
#: Suites that are re-opened in one transaction.
SOME = 100


class Oversight:
    """What is rated here is a function of the store, so several replicas may do it, and none need know of another."""

    def __init__(self, store: Store, intake: Intake, publisher: Publisher, names: Names, clock: Clock) -> None:
        self._store, self._intake, self._publisher, self._names, self._clock = store, intake, publisher, names, clock
        self._seen: dict[str, tuple[float, int]] = {}  # when a job is to be rated next, and how many judgments it had

    def round(self) -> None:
        """Rate the jobs whose turn it is."""
        open_jobs = self._store.read(ratings.ruled)
        self._seen = {job: self._seen[job] for job, _ in open_jobs if job in self._seen}
        for job, judgments in open_jobs:
            due, had = self._seen.get(job, (-math.inf, 0))
            began = self._clock.monotonic()
            if judgments and began >= due and judgments >= had * GROWN:
                self.rate(job)
                ended = self._clock.monotonic()
                self._seen[job] = ended + max(EVERY, (ended - began) / EFFORT), judgments

    def rate(self, job: str) -> None:
        """Rate the workers of a job, tell of what is new, and re-open what rests on those who are retired."""
        from manyhands_aggregator import workers  # numpy takes its time to load

        found = [Rating.of(row) for row in workers.of_job(self._store, job, most=LOOK).ratings()]
        news = self._store.write(lambda c: ratings.note(c, job, found, self._clock.now()))
        for rating in news:
            _log.info("worker rated", job=job, worker=rating.worker, action=rating.action, why=list(rating.reasons))
        self._tell([rating.event(job) for rating in news])
        if gone := {rating.worker for rating in news if rating.action == "retire"}:
            self._reopen(job, gone)

    def _tell(self, events: Sequence[Event]) -> None:
        messages = []
        for event in events:
            exchange, key = self._names.to_roles(event.name)
            encoded = encode(event)
            messages.append(Outgoing(exchange=exchange, key=key, body=encoded.body, type=encoded.type))
        publish_all(self._publisher, messages)

    def _reopen(self, job: str, gone: set[str]) -> None:
        judges = {name.split("/")[0] for name in gone}
        after: int | None = -1
        while after is not None:
            numbers = self._store.read(lambda c, a=after: _open_suites(c, job, judges, a))  # type: ignore[misc]  # no lambda defaults in mypy
            if numbers:
                publish_all(self._publisher, self._intake.reopen(job, numbers, gone))
            after = numbers[-1] if len(numbers) == SOME else None


def _open_suites(connection: sa.Connection, job: str, judges: set[str], after: int) -> list[int]:
    """Suites behind a number that have no answers yet, and judgments of these judges."""
    said = sa.exists().where(
        _judgments.c.job == job, _judgments.c.suite == _suites.c.suite, _judgments.c.judge.in_(sorted(judges))
    )
    query = sa.select(_suites.c.suite).where(
        _suites.c.job == job, _suites.c.suite > after, _suites.c.answers.is_(None), said
    )
    return list(connection.scalars(query.order_by(_suites.c.suite).limit(SOME)))
