"""What was decided about the workers of a job by its rules; kept, so that everybody acts on the same.

A job without rules has no ratings. Ratings are a function of the judgments there are, but for one thing: who is retired
stays so, whatever later judgments say of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from manyhands.messages import WORKER_RATED, Event
from manyhands_aggregator import tables

_workers, _jobs = tables.workers, tables.jobs

#: Actions by which a worker's judgments do not count.
OUT = ("pause", "retire")
#: What a rating tells of what was measured.
TOLD = ("judgments", "accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, slots=True)
class Rating:
    """What is done about a worker (None: nothing any more), why, and what was measured of it."""

    worker: str
    action: str | None
    reasons: tuple[str, ...]
    measured: Mapping[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Rating:
        """Of a row of :meth:`manyhands_aggregator.workers.Measured.ratings`."""
        return cls(row["worker"], row["action"], tuple(row["reasons"]), {key: row[key] for key in TOLD})

    def event(self, job: str) -> Event:
        """The event that tells of it."""
        data = {"worker": self.worker, "action": self.action, "reasons": list(self.reasons), **self.measured}
        return Event(name=WORKER_RATED, job=job, data=data)


def known(connection: sa.Connection, job: str) -> dict[str, Rating]:
    """The ratings of a job, by worker."""
    rows = connection.execute(sa.select(_workers).where(_workers.c.job == job))
    return {row.worker: _rating(row) for row in rows}


def _rating(row: sa.Row[Any]) -> Rating:
    return Rating(row.worker, row.action, tuple(json.loads(row.reasons)), json.loads(row.measured))


def pending(connection: sa.Connection, job: str) -> list[tuple[Rating, float]]:
    """The ratings of a job that were noted and not :func:`acted` on, and when they were noted."""
    query = sa.select(_workers).where(_workers.c.job == job, _workers.c.acted.is_(sa.false()))
    return [(_rating(row), row.rated) for row in connection.execute(query.order_by(_workers.c.worker))]


def left(connection: sa.Connection, until: float) -> list[str]:
    """The jobs with ratings that were noted by ``until`` and are still pending: who was at it is gone, or failed."""
    query = sa.select(_workers.c.job).where(_workers.c.acted.is_(sa.false()), _workers.c.rated <= until)
    return list(connection.scalars(query.distinct().order_by(_workers.c.job)))


def acted(connection: sa.Connection, job: str, ratings: Iterable[Rating]) -> None:
    """Note that these were acted on; one that says something else by now is not meant."""
    for rating in sorted(ratings, key=lambda one: one.worker):
        same = _workers.c.action.is_not_distinct_from(rating.action)
        this = sa.and_(_workers.c.job == job, _workers.c.worker == rating.worker, same)
        connection.execute(sa.update(_workers).where(this).values(acted=True))


def out(connection: sa.Connection, job: str) -> frozenset[str]:
    """The workers whose judgments do not count."""
    query = sa.select(_workers.c.worker).where(_workers.c.job == job, _workers.c.action.in_(OUT))
    return frozenset(connection.scalars(query))


def note(connection: sa.Connection, job: str, found: Iterable[Rating], now: float) -> list[Rating]:
    """Keep the ratings that say something new, and return them, to be acted on; nobody comes back who was retired."""
    before = known(connection, job)
    actions = {worker: rating.action for worker, rating in before.items()}
    news = [one for one in found if actions.get(one.worker) not in ("retire", one.action)]
    for rating in sorted(news, key=lambda one: one.worker):
        values = {
            "action": rating.action, "rated": now, "acted": False,
            "reasons": json.dumps(rating.reasons), "measured": json.dumps(dict(rating.measured)),
        }  # fmt: skip
        insert = tables.insert(connection, _workers).values(job=job, worker=rating.worker, **values)
        connection.execute(insert.on_conflict_do_update(index_elements=["job", "worker"], set_=values))
    return news


def ruled(connection: sa.Connection) -> list[tuple[str, int]]:
    """Open jobs that have rules for their workers, and how many judgments each has."""
    query = sa.select(_jobs.c.job, _jobs.c.judgments, _jobs.c.spec).where(
        _jobs.c.state == "open", _jobs.c.spec.like('%"quality"%')
    )
    return [(row.job, row.judgments) for row in connection.execute(query) if json.loads(row.spec).get("quality")]
