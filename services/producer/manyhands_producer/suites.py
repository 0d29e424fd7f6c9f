"""Suites in the store: the rows of the spool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from manyhands_producer import tables
from manyhands_producer.spool import Cut, Spooled, row

_spool = tables.spool
_COLUMNS = [_spool.c[name] for name in ("suite", "first", "count", "size", "opened", "body")]

# What every suite asks is built once: building a statement costs more than running it.
_INSERT = sa.insert(_spool)
_WAITING = {
    bodies: sa.select(*columns)
    .where(_spool.c.job == sa.bindparam("number"), _spool.c.suite >= sa.bindparam("first"))
    .order_by(_spool.c.suite)
    .limit(sa.bindparam("most"))
    for bodies, columns in {True: _COLUMNS, False: _COLUMNS[:-1]}.items()
}
_THESE = (_spool.c.job == sa.bindparam("number")) & _spool.c.suite.in_(sa.bindparam("suites", expanding=True))
_LOCK = sa.select(_spool.c.suite).where(_THESE).with_for_update()
_DROP = sa.delete(_spool).where(_THESE)


def insert(connection: sa.Connection, number: int, cuts: Sequence[Cut]) -> None:
    """Spool suites of a job."""
    rows = [
        {
            "job": number, "suite": c.suite, "first": c.first, "count": c.count, "size": c.size,
            "opened": c.opened, "body": c.body,
        }
        for c in cuts
    ]  # fmt: skip
    connection.execute(_INSERT, rows)


def waiting(connection: sa.Connection, number: int, first: int, most: int, *, bodies: bool = True) -> list[Spooled]:
    """The next suites of a job from ``first`` on."""
    asked = {"number": number, "first": first, "most": most}
    return [_spooled(found) for found in connection.execute(_WAITING[bodies], asked)]


def some(connection: sa.Connection, number: int, suites: Sequence[int]) -> dict[int, Spooled]:
    """Those of the suites that are in the spool."""
    query = sa.select(*_COLUMNS).where(_spool.c.job == number, _spool.c.suite.in_(suites))
    return {found.suite: _spooled(found) for found in connection.execute(query)}


def before(connection: sa.Connection, number: int, end: int) -> set[int]:
    """The suites below ``end`` that are in the spool."""
    query = sa.select(_spool.c.suite).where(_spool.c.job == number, _spool.c.suite < end)
    return set(connection.scalars(query))


def sizes(connection: sa.Connection, number: int, first: int = 0) -> tuple[int, int, int]:
    """(suites, bytes, bytes of the largest) of a job in the spool from suite ``first`` on."""
    query = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(_spool.c.size), 0),
        sa.func.coalesce(sa.func.max(_spool.c.size), 0),
    ).where(_spool.c.job == number, _spool.c.suite >= first)
    count, total, largest = connection.execute(query).one()
    return int(count), int(total), int(largest)


def spooled(connection: sa.Connection, number: int, published: int) -> dict[str, int]:
    """Suites and tasks of a job in the spool, and how many of them are published: the suites below ``published``."""
    out = _spool.c.suite < published

    def total(column: Any) -> Any:
        return sa.func.coalesce(sa.func.sum(column), 0)

    query = sa.select(
        sa.func.count().label("spooled"),
        total(_spool.c.count).label("spooled_tasks"),
        total(sa.case((out, 1), else_=0)).label("in_flight"),
        total(sa.case((out, _spool.c.count), else_=0)).label("in_flight_tasks"),
    ).where(_spool.c.job == number)
    return {name: int(said) for name, said in connection.execute(query).one()._mapping.items()}


def drop(connection: sa.Connection, number: int, suites: Sequence[int]) -> tuple[int, ...]:
    """Drop suites of a job; returns which of them were still there."""
    found: list[int] = []
    for start in range(0, len(suites), tables.SOME):
        these = {"number": number, "suites": suites[start : start + tables.SOME]}
        found += connection.scalars(_LOCK, these)
        connection.execute(_DROP, these)
    return tuple(found)


def drop_all(connection: sa.Connection, numbers: Any) -> None:
    """Drop all suites of some jobs: their numbers, or a query for them."""
    connection.execute(sa.delete(_spool).where(_spool.c.job.in_(numbers)))


def _spooled(found: Any) -> Spooled:
    return row(
        found.suite, found.first, found[2], found.size, found.opened, getattr(found, "body", None)
    )  # found.count is a method of tuples
