"""The producer's store: everything it says in SQL."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import JobSpec
from manyhands_producer import tables
from manyhands_producer.errors import Moved, Repeated
from manyhands_producer.spool import Cut, Spooled
from manyhands_producer.spool import row as spooled
from manyhands_service.store import Store

_jobs, _spool, _ids = tables.jobs, tables.spool, tables.ids

State = Literal["open", "sealed", "cancelled", "ended"]

#: Ids deleted in one transaction, so that a large job's end holds up nobody.
PURGE = 20_000
#: Values in one ``IN (...)``.
SOME = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a transaction adds to a job: suites that were cut, their ids, and where its source goes on."""

    cuts: Sequence[Cut]
    ids: Sequence[str] = ()
    cursor: Mapping[str, Any] | None = None
    state: State = "open"
    reason: str | None = None

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return sum(c.count for c in self.cuts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the publishing of a job is known to be confirmed; ``closed``: the state that its last event told of.

    It says nothing of a job that was asked to be published once more than ``anew`` times.
    """

    number: int
    anew: int
    published: int
    announced: bool
    closed: State | None


class _Mismatch(Exception):
    """Fewer ids were new than were given."""


class ProducerStore:
    """Transactions of the producer."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        self._store = Store(url, "producer", "manyhands_producer", migrate=migrate)
        self._sqlite = self._store.engine.dialect.name == "sqlite"

    @property
    def engine(self) -> sa.Engine:
        """The store's engine."""
        return self._store.engine

    def open(self, stop: threading.Event) -> bool:
        """Migrate; waits while the store is away. False when told to stop before it came."""
        return self._store.open(stop)

    @property
    def trouble(self) -> str | None:
        """What the last use of the store said was wrong, or None."""
        return self._store.trouble

    def missing(self) -> str | None:
        """For readiness: what is wrong with the store, or None."""
        return self._store.missing()

    def away(self, error: Exception) -> None:
        """Note that the store could not be reached by who uses its engine."""
        self._store.away(error)

    def close(self) -> None:
        """Give all connections back."""
        self._store.close()

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def create(self, job: str, spec: JobSpec, opened: float, added: Added) -> tuple[sa.Row[Any], bool]:
        """A new job with its first suites, and True; or the one of this name that is there already, and False.

        Raises:
            Repeated: two of its tasks have the same id.
        """

        def work(connection: sa.Connection) -> tuple[sa.Row[Any], bool]:
            found = connection.execute(sa.select(_jobs).where(_jobs.c.job == job)).one_or_none()
            if found is not None:
                return found, False
            values = {
                "job": job, "spec": json.dumps(spec.plain()), "digest": spec.digest, "state": "open", "opened": opened,
                "tasks": 0, "refused": 0, "suites": 0, "published": 0, "settled": 0,
                "announced": False, "closed": False,
            }  # fmt: skip
            key = connection.execute(sa.insert(_jobs).values(values)).inserted_primary_key
            number = int(key[0]) if key else 0
            if added.cuts or added.state != "open":
                self._add(connection, number, 0, added)
            return connection.execute(sa.select(_jobs).where(_jobs.c.number == number)).one(), True

        try:
            return self._store.write(work)
        except _Mismatch:
            raise self._repeated(None, added.ids) from None

    def add(self, number: int, suites: int, added: Added) -> None:
        """Spool suites, note ids and the source's cursor, and set the job's state, all in one transaction.

        Raises:
            Moved: the job is not open, or has not the number of ``suites`` that these follow.
            Repeated: the job has had some of the ids before; nothing was added.
        """
        try:
            self._store.write(lambda connection: self._add(connection, number, suites, added))
        except _Mismatch:
            raise self._repeated(number, added.ids) from None

    def _add(self, connection: sa.Connection, number: int, suites: int, added: Added) -> None:
        changes: dict[str, Any] = {
            "tasks": _jobs.c.tasks + added.tasks,
            "refused": _jobs.c.refused + sum(c.refused for c in added.cuts),
            "suites": _jobs.c.suites + len(added.cuts),
            "state": added.state,
            "reason": added.reason,
        }
        if added.cursor is not None:
            changes["cursor"] = json.dumps(added.cursor)
        changed = connection.execute(
            sa.update(_jobs)
            .where(_jobs.c.number == number, _jobs.c.suites == suites, _jobs.c.state == "open")
            .values(changes)
        )
        if changed.rowcount != 1:
            raise Moved
        if added.ids:
            self._note(connection, number, added.ids)
        if added.cuts:
            connection.execute(
                sa.insert(_spool),
                [
                    {
                        "job": number, "suite": c.suite, "first": c.first, "count": c.count, "size": c.size,
                        "opened": c.opened, "body": c.body,
                    }
                    for c in added.cuts
                ],
            )  # fmt: skip

    def _note(self, connection: sa.Connection, number: int, ids: Sequence[str]) -> None:
        """Note ids as used, in one statement: its loop runs in the database.

        Sorted, they fall into fewer pages of the index.
        """
        if self._sqlite:
            said = "insert or ignore into producer_ids (job, id) select ?, value from json_each(?)"
            result = connection.exec_driver_sql(said, (number, orjson.dumps(sorted(ids)).decode()))
        else:
            said = "insert into producer_ids (job, id) select %s, unnest(%s::text[]) on conflict do nothing"
            result = connection.exec_driver_sql(said, (number, sorted(ids)))
        if result.rowcount != len(ids):
            raise _Mismatch  # rare: the transaction is undone, and only then looked for which they were

    def _repeated(self, number: int | None, ids: Sequence[str]) -> Repeated:
        known: set[str] = set()

        def work(connection: sa.Connection) -> None:
            for start in range(0, len(ids), SOME):
                some = ids[start : start + SOME]
                known.update(connection.scalars(sa.select(_ids.c.id).where(_ids.c.job == number, _ids.c.id.in_(some))))

        if number is not None:
            self._store.read(work)
        twice = {own for own, count in Counter(ids).items() if count > 1}
        return Repeated(known, twice)

    def end(self, job: str, state: State, reason: str | None) -> sa.Row[Any]:
        """Seal or cancel a job; one that is no longer open stays sealed or cancelled as it is.

        Raises:
            UnknownJob: there is none of this name.
        """
        before = ("open",) if state == "sealed" else ("open", "sealed")

        def work(connection: sa.Connection) -> sa.Row[Any]:
            connection.execute(
                sa.update(_jobs)
                .where(_jobs.c.job == job, _jobs.c.state.in_(before))
                # what was said of a sealed job is not what there is to say of a cancelled one
                .values(state=state, reason=reason, closed=False)
            )
            return _one(connection, job)

        return self._store.write(work)

    def job(self, job: str) -> sa.Row[Any]:
        """The row of a job.

        Raises:
            UnknownJob: there is none of this name.
        """
        return self._store.read(lambda c: _one(c, job))

    def jobs(self) -> Sequence[sa.Row[Any]]:
        """The rows of all jobs, the newest first."""
        return self._store.read(lambda c: c.execute(sa.select(_jobs).order_by(_jobs.c.number.desc())).all())

    def live(self) -> Sequence[sa.Row[Any]]:
        """The rows of jobs that have something left to be said or done."""
        left = sa.or_(_jobs.c.state.in_(("open", "sealed")), _jobs.c.closed.is_(sa.false()))
        return self._store.read(lambda c: c.execute(sa.select(_jobs).where(left).order_by(_jobs.c.number)).all())

    # -- the spool -----------------------------------------------------------------------------------------------------

    def waiting(self, number: int, first: int, most: int, *, bodies: bool = True) -> list[Spooled]:
        """The next suites of a job from ``first`` on."""
        columns = _COLUMNS if bodies else _COLUMNS[:-1]
        query = (
            sa.select(*columns)
            .where(_spool.c.job == number, _spool.c.suite >= first)
            .order_by(_spool.c.suite)
            .limit(most)
        )
        return self._store.read(lambda c: [_spooled(row) for row in c.execute(query)])

    def suites(self, number: int, suites: Sequence[int]) -> dict[int, Spooled]:
        """Those of the suites that are in the spool."""
        query = sa.select(*_COLUMNS).where(_spool.c.job == number, _spool.c.suite.in_(suites))
        return self._store.read(lambda c: {row.suite: _spooled(row) for row in c.execute(query)})

    def unsettled(self, number: int, before: int) -> set[int]:
        """The suites below ``before`` that are in the spool."""
        query = sa.select(_spool.c.suite).where(_spool.c.job == number, _spool.c.suite < before)
        return set(self._store.read(lambda c: c.scalars(query).all()))

    def sizes(self, number: int, first: int = 0) -> tuple[int, int, int]:
        """(suites, bytes, bytes of the largest) of a job in the spool from suite ``first`` on."""
        query = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(_spool.c.size), 0),
            sa.func.coalesce(sa.func.max(_spool.c.size), 0),
        ).where(_spool.c.job == number, _spool.c.suite >= first)
        count, total, largest = self._store.read(lambda c: c.execute(query).one())
        return int(count), int(total), int(largest)

    def advance(self, progress: Sequence[Progress]) -> None:
        """Note how far jobs are confirmed; drop the spool of those that were cancelled or ended and are closed."""

        def work(connection: sa.Connection) -> None:
            for p in progress:
                meant = (_jobs.c.number == p.number) & (_jobs.c.anew == p.anew)
                connection.execute(sa.update(_jobs).where(meant).values(published=p.published, announced=p.announced))
                if p.closed is None:
                    continue
                # a job that was cancelled while it said that it is sealed has not said the last word yet
                told = ("sealed", "ended") if p.closed == "sealed" else (p.closed,)
                mine = meant & _jobs.c.state.in_(told)
                connection.execute(sa.update(_jobs).where(mine).values(closed=True))
                over = sa.select(_jobs.c.number).where(mine, _jobs.c.state != "sealed")
                connection.execute(sa.delete(_spool).where(_spool.c.job.in_(over)))

        self._store.write(work)

    def republish(self, job: str) -> bool:
        """Take everything said of a job for unsaid, unless its end was heard of; whether anything is to be said again.

        Raises:
            UnknownJob: there is none of this name.
        """

        def work(connection: sa.Connection) -> bool:
            _one(connection, job)
            changed = connection.execute(
                sa.update(_jobs)
                .where(_jobs.c.job == job, _jobs.c.outcome.is_(None))
                .values(published=0, announced=False, closed=False, anew=_jobs.c.anew + 1)
            )
            return changed.rowcount == 1

        return self._store.write(work)

    def settle(
        self, settled: Mapping[str, Iterable[int]], ended: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, tuple[int, ...]]:
        """Drop settled suites, and note the ends of jobs; returns which suites were still in the spool, by job."""

        def work(connection: sa.Connection) -> dict[str, tuple[int, ...]]:
            gone: dict[str, tuple[int, ...]] = {}
            numbers = self._numbers(connection, [*settled, *ended])
            for job, suites in settled.items():
                if job in numbers:
                    gone[job] = self._drop(connection, numbers[job], sorted(set(suites)))
            for job, data in ended.items():
                if job in numbers:
                    self._end(connection, numbers[job], data)
            return gone

        return self._store.write(work)

    def _numbers(self, connection: sa.Connection, jobs: Sequence[str]) -> dict[str, int]:
        query = sa.select(_jobs.c.job, _jobs.c.number).where(_jobs.c.job.in_(jobs))
        return {row.job: row.number for row in connection.execute(query)}

    def _drop(self, connection: sa.Connection, number: int, suites: Sequence[int]) -> tuple[int, ...]:
        found: list[int] = []
        for start in range(0, len(suites), SOME):
            these = (_spool.c.job == number) & _spool.c.suite.in_(suites[start : start + SOME])
            found += connection.scalars(sa.select(_spool.c.suite).where(these).with_for_update())
            connection.execute(sa.delete(_spool).where(these))
        if found:
            connection.execute(
                sa.update(_jobs).where(_jobs.c.number == number).values(settled=_jobs.c.settled + len(found))
            )
        return tuple(found)

    def _end(self, connection: sa.Connection, number: int, data: Mapping[str, Any]) -> None:
        mine = _jobs.c.number == number
        changes: dict[str, Any] = {"outcome": json.dumps(dict(data), default=str)}
        if data.get("state") == "complete":
            changes["settled"] = _jobs.c.suites  # news of the last suites may still be on its way
        connection.execute(sa.update(_jobs).where(mine).values(changes))
        connection.execute(sa.update(_jobs).where(mine, _jobs.c.state.in_(("open", "sealed"))).values(state="ended"))
        # of a job that ended early, what is not announced yet stays until it is
        over = connection.execute(sa.select(_jobs.c.state, _jobs.c.closed).where(mine)).one()
        if over.closed:
            connection.execute(sa.delete(_spool).where(_spool.c.job == number))

    def purge_ids(self) -> int:
        """Drop some of the ids of jobs that take no more tasks; how many there were (0: all are gone)."""

        def work(connection: sa.Connection) -> int:
            over = connection.scalar(
                sa.select(_jobs.c.number)
                .where(_jobs.c.state != "open", sa.exists().where(_ids.c.job == _jobs.c.number).correlate(_jobs))
                .limit(1)
            )
            if over is None:
                return 0
            some = sa.select(_ids.c.id).where(_ids.c.job == over).limit(PURGE)
            return connection.execute(sa.delete(_ids).where(_ids.c.job == over, _ids.c.id.in_(some))).rowcount

        return self._store.write(work)


_COLUMNS = [_spool.c[name] for name in ("suite", "first", "count", "size", "opened", "body")]


def _one(connection: sa.Connection, job: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(_jobs).where(_jobs.c.job == job)).one_or_none()
    if row is None:
        raise UnknownJob(job)
    return row


def _spooled(row: Any) -> Spooled:
    return spooled(
        row.suite, row.first, row[2], row.size, row.opened, getattr(row, "body", None)
    )  # row.count is a method of tuples
