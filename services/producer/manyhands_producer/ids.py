"""Ids in the store: those that an open job has had, so that none comes twice."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import sqlalchemy as sa

from manyhands_producer import tables

_jobs, _ids = tables.jobs, tables.ids

#: Ids deleted in one transaction, so that a large job's end holds up nobody.
PURGE = 20_000


class Mismatch(Exception):
    """Fewer ids were new than were given."""


def note(connection: sa.Connection, number: int, ids: Sequence[str]) -> None:
    """Note ids as used, in one statement: its loop runs in the database.

    Sorted, they fall into fewer pages of the index.

    Raises:
        Mismatch: some are not new; the transaction is to be undone, and only then looked for which they are.
    """
    if connection.dialect.name == "sqlite":
        said = "insert or ignore into producer_ids (job, id) select ?, value from json_each(?)"
        result = connection.exec_driver_sql(said, (number, orjson.dumps(sorted(ids)).decode()))
    else:
        said = "insert into producer_ids (job, id) select %s, unnest(%s::text[]) on conflict do nothing"
        result = connection.exec_driver_sql(said, (number, sorted(ids)))
    if result.rowcount != len(ids):
        raise Mismatch


def known(connection: sa.Connection, number: int, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the job has had."""
    found: set[str] = set()
    for start in range(0, len(ids), tables.SOME):
        some = ids[start : start + tables.SOME]
        found.update(connection.scalars(sa.select(_ids.c.id).where(_ids.c.job == number, _ids.c.id.in_(some))))
    return found


def purge(connection: sa.Connection) -> int:
    """Drop some of the ids of jobs that take no more tasks; how many there were (0: all are gone)."""
    over = connection.scalar(
        sa.select(_jobs.c.number)
        .where(_jobs.c.state != "open", sa.exists().where(_ids.c.job == _jobs.c.number).correlate(_jobs))
        .limit(1)
    )
    if over is None:
        return 0
    some = sa.select(_ids.c.id).where(_ids.c.job == over).limit(PURGE)
    return connection.execute(sa.delete(_ids).where(_ids.c.job == over, _ids.c.id.in_(some))).rowcount
