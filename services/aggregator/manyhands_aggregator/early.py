"""Judgments that came before the news of their job or suite: held in the store until it comes, or too long.

Those held too long become a dead letter. The failures that this letter leads to are held in their turn, for much
longer: should the news come after all, its tasks have an end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import sqlalchemy as sa

from manyhands.broker import Delivery
from manyhands.codec import encode
from manyhands.messages import Judgments
from manyhands_aggregator import tables
from manyhands_aggregator.judging import OWN_LIMIT, Said

_early, _jobs, _suites = tables.early, tables.jobs, tables.suites


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


def known(connection: sa.Connection, limit: int) -> dict[str, Delivery]:
    """Held messages whose suite is known by now, the oldest first, as the deliveries they were."""
    query = (
        sa.select(_early)
        .join(_suites, (_suites.c.job == _early.c.job) & (_suites.c.suite == _early.c.suite) & (_suites.c.sent > 0))
        .join(_jobs, (_jobs.c.job == _early.c.job) & _jobs.c.spec.is_not(None))
    )
    return _deliveries(connection, query, limit)


def older(connection: sa.Connection, than: float, limit: int, *, ours: bool = False) -> dict[str, Delivery]:
    """Messages held since before the time ``than``: those that came, or those that are ``ours``."""
    whose = _early.c.queue == "" if ours else _early.c.queue != ""
    return _deliveries(connection, sa.select(_early).where(_early.c.first_seen <= than, whose), limit)


def _deliveries(connection: sa.Connection, query: sa.Select[tuple[object, ...]], limit: int) -> dict[str, Delivery]:
    rows = connection.execute(query.order_by(_early.c.first_seen, _early.c.id).limit(limit))
    return {
        row.id: Delivery(queue=row.queue, key=row.key, body=row.body, type=row.type, content_encoding=row.encoding)
        for row in rows
    }


def release(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Hold these no longer."""
    for some in sorted(ids):
        connection.execute(sa.delete(_early).where(_early.c.id == some))
