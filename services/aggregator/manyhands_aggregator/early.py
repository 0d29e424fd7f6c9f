"""Judgments that came before the news of their job or suite: held in the store until it comes, or too long.

Those held too long become a dead letter. The failures that this letter leads to are held in their turn, for much
longer: should the news come after all, its tasks have an end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from manyhands.broker import Delivery
from manyhands.codec import encode
from manyhands.messages import Judgments
from manyhands_aggregator import tables
from manyhands_aggregator.judged import Said
from manyhands_aggregator.judging import OWN_LIMIT

_early, _jobs, _suites = tables.early, tables.jobs, tables.suites

#: Where a held message stands in the order in which they came: since when it is held, and its id.
Place = tuple[float, str]
#: Before all of them.
START: Place = (-1.0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A held message as the delivery that it was."""

    id: str
    since: float
    delivery: Delivery

    @property
    def place(self) -> Place:
        """Its place among the others."""
        return self.since, self.id


def hold(connection: sa.Connection, messages: Sequence[Said], now: float) -> None:
    """Hold messages; one that is held already stays as old as it is.

    What the aggregator concluded itself from a dead letter is held too: its suite's news may be late as well.
    """
    rows = {}
    for said in messages:
        m, delivery = said.message, said.delivery or _delivered(said.message)
        digest = hashlib.sha256(delivery.body).hexdigest()[:32]
        rows[digest] = {
            "id": digest, "job": m.job, "suite": m.suite, "first_seen": now, "queue": delivery.queue,
            "key": delivery.key, "type": delivery.type, "encoding": delivery.content_encoding, "body": delivery.body,
        }  # fmt: skip
    tables.insert_new(connection, _early, [rows[digest] for digest in sorted(rows)])


def _delivered(message: Judgments) -> Delivery:
    encoded = encode(message, limit=OWN_LIMIT)
    return Delivery(queue="", key="", body=encoded.body, type=encoded.type, content_encoding=encoded.content_encoding)


def is_ours(delivery: Delivery) -> bool:
    """Whether what was held is what the aggregator concluded itself; of that there is a letter on file already."""
    return not delivery.queue


def some(connection: sa.Connection) -> bool:
    """Whether anything is held."""
    return connection.scalar(sa.select(_early.c.id).limit(1)) is not None


def known(connection: sa.Connection, limit: int, after: Place = START) -> list[Held]:
    """Held messages whose suite is known by now, the oldest first, from behind a place on."""
    query = (
        sa.select(_early)
        .join(_suites, (_suites.c.job == _early.c.job) & (_suites.c.suite == _early.c.suite) & (_suites.c.sent > 0))
        .join(_jobs, (_jobs.c.job == _early.c.job) & _jobs.c.spec.is_not(None))
    )
    return _page(connection, query, limit, after)


def older(
    connection: sa.Connection, than: float, limit: int, after: Place = START, *, ours: bool = False
) -> list[Held]:
    """Messages held since before the time ``than``, in the same order: those that came, or those that are ``ours``."""
    whose = _early.c.queue == "" if ours else _early.c.queue != ""
    return _page(connection, sa.select(_early).where(_early.c.first_seen <= than, whose), limit, after)


def _page(connection: sa.Connection, query: sa.Select[tuple[object, ...]], limit: int, after: Place) -> list[Held]:
    place = sa.tuple_(_early.c.first_seen, _early.c.id)
    query = query.where(place > after).order_by(_early.c.first_seen, _early.c.id).limit(limit)
    return [
        Held(
            id=row.id,
            since=row.first_seen,
            delivery=Delivery(
                queue=row.queue,
                key=row.key,
                body=row.body,
                type=row.type,
                content_encoding=row.encoding,
                redelivered=True,
            ),
        )
        for row in connection.execute(query)
    ]


def release(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Hold these no longer."""
    for some in sorted(ids):
        connection.execute(sa.delete(_early).where(_early.c.id == some))
