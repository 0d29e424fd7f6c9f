"""The producer's store: its transactions, each whole or not at all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands.spec import JobSpec
from manyhands_producer import ids, jobs, suites
from manyhands_producer.errors import Moved, Repeated, Unsure
from manyhands_producer.record import Added, Progress, State
from manyhands_producer.spool import Spooled
from manyhands_service.store import Store


class ProducerStore:
    """Transactions of the producer."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        self._store = Store(url, "producer", "manyhands_producer", migrate=migrate)

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
            found = jobs.find(connection, job)
            if found is not None:
                return found, False
            number = jobs.insert(connection, job, spec, opened)
            if added.cuts or added.state != "open":
                _add(connection, number, 0, added)
            return jobs.one(connection, job), True

        try:
            return self._store.write(work)
        except ids.Mismatch:
            raise self._repeated(None, added.ids) from None

    def add(self, number: int, suites: int, added: Added) -> None:
        """Spool suites, note ids and the source's cursor, and set the job's state, all in one transaction.

        Raises:
            Moved: the job is not open, or has not the number of ``suites`` that these follow.
            Unsure: so it is now, and nobody can tell whether these suites had been added before.
            Repeated: the job has had some of the ids before; nothing was added.
        """
        committing = False

        def work(connection: sa.Connection) -> None:
            nonlocal committing
            try:
                _add(connection, number, suites, added)
            except Moved:
                if not committing:
                    raise
                # the connection was lost in the commit: what has moved the job may be that very commit
                if not jobs.stands_at(connection, number, added):
                    raise Unsure from None
            committing = True

        try:
            self._store.write(work)
        except ids.Mismatch:
            raise self._repeated(number, added.ids) from None

    def _repeated(self, number: int | None, given: Sequence[str]) -> Repeated:
        known = set() if number is None else self._store.read(lambda c: ids.known(c, number, given))
        return Repeated(known, {own for own, count in Counter(given).items() if count > 1})

    def end(self, job: str, state: State, reason: str | None) -> sa.Row[Any]:
        """Seal or cancel a job; one that is no longer open stays sealed or cancelled as it is.

        Raises:
            UnknownJob: there is none of this name.
        """

        def work(connection: sa.Connection) -> sa.Row[Any]:
            jobs.end(connection, job, state, reason)
            return jobs.one(connection, job)

        return self._store.write(work)

    def job(self, job: str) -> sa.Row[Any]:
        """The row of a job.

        Raises:
            UnknownJob: there is none of this name.
        """
        return self._store.read(lambda c: jobs.one(c, job))

    def account(self, job: str) -> tuple[sa.Row[Any], dict[str, int]]:
        """The row of a job, and what its spool holds, at one moment.

        Raises:
            UnknownJob: there is none of this name.
        """

        def work(connection: sa.Connection) -> tuple[sa.Row[Any], dict[str, int]]:
            row = jobs.one(connection, job)
            return row, suites.spooled(connection, row.number, row.published)

        return self._store.read(work)

    def difference(self) -> int:
        """Suites of open jobs that are neither settled nor in the spool, or both; must be 0."""
        return self._store.read(jobs.difference)

    def jobs(self) -> Sequence[sa.Row[Any]]:
        """The rows of all jobs, the newest first."""
        return self._store.read(jobs.everyone)

    def live(self) -> Sequence[sa.Row[Any]]:
        """The rows of jobs that have something left to be said or done."""
        return self._store.read(jobs.live)

    def republish(self, job: str) -> bool:
        """Take everything said of a job for unsaid, unless its end was heard of; whether anything is to be said again.

        Raises:
            UnknownJob: there is none of this name.
        """

        def work(connection: sa.Connection) -> bool:
            jobs.one(connection, job)
            return jobs.republish(connection, job)

        return self._store.write(work)

    def purge_ids(self) -> int:
        """Drop some of the ids of jobs that take no more tasks; how many there were (0: all are gone)."""
        return self._store.write(ids.purge)

    # -- the spool -----------------------------------------------------------------------------------------------------

    def waiting(self, number: int, first: int, most: int, *, bodies: bool = True) -> list[Spooled]:
        """The next suites of a job from ``first`` on."""
        return self._store.read(lambda c: suites.waiting(c, number, first, most, bodies=bodies))

    def suites(self, number: int, these: Sequence[int]) -> dict[int, Spooled]:
        """Those of the suites that are in the spool."""
        return self._store.read(lambda c: suites.some(c, number, these))

    def unsettled(self, number: int, before: int) -> set[int]:
        """The suites below ``before`` that are in the spool."""
        return self._store.read(lambda c: suites.before(c, number, before))

    def sizes(self, number: int, first: int = 0) -> tuple[int, int, int]:
        """(suites, bytes, bytes of the largest) of a job in the spool from suite ``first`` on."""
        return self._store.read(lambda c: suites.sizes(c, number, first))

    def advance(self, progress: Sequence[Progress]) -> None:
        """Note how far jobs are confirmed; drop the spool of those that were cancelled or ended and are closed."""

        def work(connection: sa.Connection) -> None:
            for each in progress:
                jobs.advance(connection, each)

        self._store.write(work)

    def settle(
        self, settled: Mapping[str, Iterable[int]], ended: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, tuple[int, ...]]:
        """Drop settled suites, and note the ends of jobs; returns which suites were still in the spool, by job."""
        gone: dict[str, tuple[int, ...]] = {}

        def work(connection: sa.Connection) -> None:
            numbers = jobs.numbers(connection, [*settled, *ended])
            for job, these in settled.items():
                if job in numbers:
                    found = jobs.settle(connection, numbers[job], sorted(set(these)))
                    # what an earlier try had found is gone, too: by its commit, or by somebody else's
                    gone[job] = tuple(sorted({*gone.get(job, ()), *found}))
            for job, data in ended.items():
                if job in numbers:
                    jobs.complete(connection, numbers[job], data)

        self._store.write(work)
        return gone


def _add(connection: sa.Connection, number: int, after: int, added: Added) -> None:
    jobs.add(connection, number, after, added)
    if added.ids:
        ids.note(connection, number, added.ids)
    if added.cuts:
        suites.insert(connection, number, added.cuts)
