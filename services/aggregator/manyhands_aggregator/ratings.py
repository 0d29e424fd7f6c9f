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
    return {
        row.worker: Rating(row.worker, row.action, tuple(json.loads(row.reasons)), json.loads(row.measured))
        for row in rows
    }


def out(connection: sa.Connection, job: str) -> frozenset[str]:
    """The workers whose judgments do not count."""
    query = sa.select(_workers.c.worker).where(_workers.c.job == job, _workers.c.action.in_(OUT))
    return frozenset(connection.scalars(query))


def note(connection: sa.Connection, job: str, found: Iterable[Rating], now: float) -> list[Rating]:
    """Keep the ratings that say something new, and return them; nobody is taken back who was retired."""
    before = known(connection, job)
    actions = {worker: rating.action for worker, rating in before.items()}
    news = [one for one in found if actions.get(one.worker) not in ("retire", one.action)]
    for rating in sorted(news, key=lambda one: one.worker):
        values = {
            "action": rating.action, "rated": now,
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
