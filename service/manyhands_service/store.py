"""A service's own store: the engine, its migrations, and transactions that outlast a store that is away."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from manyhands import backoff, logs, metrics
from manyhands.errors import SettingsError, StoreUnavailable
from manyhands.settings import store_url
from manyhands_service import schema

_log = logs.get(__name__)

#: Seconds that an SQLite writer waits for another before it gives up.
BUSY_SECONDS = 10
#: Seconds after which a transaction is not tried again: whoever waits for it should hear that the store is away.
TRYING_SECONDS = 5.0
#: Readiness tries a write of nothing when nothing has been written for so many seconds.
IDLE_SECONDS = 10.0
#: Seconds that readiness waits for that write, and seconds after which it says that there is no answer.
LOOK_SECONDS, SLOW_SECONDS = 1.0, 5.0
#: Seconds for which PostgreSQL's disk counts as full, even if a write of nothing goes through: rows can be changed
#: where none can be added. Whoever waits tries again within the time.
FULL_SECONDS = 20.0

T = TypeVar("T")


class Conflict(Exception):
    """What a transaction had read has been changed by another; raised by ``work`` to be run again from the start."""


def open_engine(url: str, service: str) -> sa.Engine:
    """The engine of a service's store; connects only when used.

    SQLite runs in WAL mode with ``synchronous=FULL``, since acks rest on its commits, and ``BEGIN IMMEDIATE`` for
    writers, so that two of them wait for each other instead of failing halfway.

    Raises:
        SettingsError: the URL is of no store that is known, or its file cannot be written.
    """
    url = store_url(url, service)
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingsError("the store is given as sqlite:///file.db or postgresql://user:password@host/database")
    try:
        if url.startswith("sqlite"):
            _writable(url)
            engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
            sa.event.listen(engine, "connect", _sqlite_connect)
            sa.event.listen(engine, "begin", _sqlite_begin)
            return engine
        from manyhands_service import postgres  # the driver takes its time, and most need none

        return postgres.engine(url)
    except (sa.exc.ArgumentError, ValueError):
        # what the parser says may quote the password
        raise SettingsError(
            "the store's URL is not right; it looks like postgresql://user:password@host/database"
        ) from None


def _writable(url: str) -> None:
    """SQLite says no more than "unable to open database file", and waiting does not mend it."""
    name = sa.make_url(url).database
    if not name or name == ":memory:":
        return
    file = Path(name)
    if not file.parent.is_dir():
        raise SettingsError(f"there is no folder {file.parent} for the store; create it or choose another")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise SettingsError(f"no permission to write the store {file}; change that or choose another")


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Store:
    """Transactions on a service's store. Every method may be called from any thread.

    ``migrate``: whether opening it brings its schema up to date, or waits until somebody else has.
    """

    def __init__(self, url: str, service: str, package: str, *, migrate: bool = True) -> None:
        self.engine = open_engine(url, service)
        self._service, self._package, self._migrate = service, package, migrate
        shared = self.engine.dialect.name == "postgresql"
        # both are reset when a connection goes back to the pool, which the engines share
        self._reader = self.engine.execution_options(
            **({"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if shared else {"reading": True})
        )
        # threads of one process wait here for SQLite's single writer: it only sleeps and looks again
        self._writing: contextlib.AbstractContextManager[Any] = contextlib.nullcontext() if shared else threading.Lock()
        self._opened = False
        self._away: str | None = "not opened yet"
        self._written = time.monotonic()
        self._stuck = False  # whether something is wrong that no other try could help
        self._full_until = 0.0
        self._look = threading.Lock()
        self._looking: threading.Thread | None = None
        self._looked = 0.0

    def open(self, stop: threading.Event) -> bool:
        """Migrate, or see that somebody has; waits with back-off while the store is away or its schema will not do.

        False when told to stop before it came.
        """
        attempt = 0
        while not stop.is_set():
            try:
                self._prepare()
            except (SQLAlchemyError, CommandError, schema.SchemaDiffers) as error:
                attempt += 1
                before, self._away = self._away, first_line(error)
                delay = backoff.reconnect_delay(attempt, random.random)
                level = logging.INFO if before == self._away else logging.WARNING  # the same again is no news
                _log.log(level, "waiting for the store", error=self._away, again_in=round(delay, 2))
                stop.wait(delay)
            else:
                self._opened, self._away = True, None
                return True
        return False

    def _prepare(self) -> None:
        if self._migrate:
            schema.migrate(self.engine, self._package, self._service)
        else:
            with self._reader.connect() as connection:
                schema.check(connection, self._package, self._service)

    @property
    def trouble(self) -> str | None:
        """What the last use of the store said was wrong, or None; where :meth:`missing` tries again, this does not."""
        return self._away

    def missing(self) -> str | None:
        """For readiness: what is wrong with the store, or None; said promptly, even if the store says nothing.

        While something is wrong, or nothing has been written for a while, it tries a write of nothing: it is ready
        again without being used, and without being used it is known that it cannot be.
        """
        now = time.monotonic()
        if self._opened and now > self._full_until and (self._away is not None or now - self._written > IDLE_SECONDS):
            with self._look:
                looking = self._looking
                if looking is None or not looking.is_alive():
                    self._looked = time.monotonic()
                    looking = self._looking = threading.Thread(target=self._touch, name="store", daemon=True)
                    looking.start()
            looking.join(LOOK_SECONDS)
            since = time.monotonic() - self._looked
            if self._away is None and looking.is_alive() and since > SLOW_SECONDS:
                return f"no answer in {since:.0f} seconds"
        return self._away

    def _touch(self) -> None:
        version = sa.table(f"{self._service}_version", sa.column("version_num"))
        with contextlib.suppress(StoreUnavailable):
            self.write(lambda c: c.execute(sa.update(version).values(version_num=version.c.version_num)), attempts=1)
            self._away, self._stuck = None, False

    def away(self, error: Exception) -> None:
        """Note that the store could not be reached by who uses the engine itself."""
        self._away = first_line(error)

    def write(self, work: Callable[[sa.Connection], T], *, attempts: int = 5) -> T:
        """Run ``work`` in a transaction and commit it; tries again on a lost connection, a lock or a conflict.

        ``work`` may run several times and must have no other effect than on the store; it must read again what it
        builds on. On PostgreSQL the level is READ COMMITTED: lock rows, in one order everywhere.

        Raises:
            StoreUnavailable: it did not go through in ``attempts`` tries, or within some seconds, or no try could help,
                as with a full disk.
            DataError, IntegrityError: the store is well, and what it was given is not.
        """
        began = time.monotonic()
        for attempt in range(1, attempts + 1):
            started = time.monotonic()
            try:
                with self._writing, self.engine.begin() as connection:
                    result = work(connection)
            except DataError:
                raise
            except (DBAPIError, PoolTimeout, Conflict) as error:
                metrics.STORE_RETRIES.inc()  # the last one, too: whoever gives up here comes again
                passing = _passing(error)
                if not passing or attempt == attempts or time.monotonic() - began > TRYING_SECONDS:
                    if isinstance(error, IntegrityError):
                        raise
                    said = self._away = first_line(error)
                    if not passing:
                        self._get_stuck(said)
                    raise StoreUnavailable(said) from error
                time.sleep(backoff.reconnect_delay(attempt, random.random, base=0.05, cap=1.0))
            else:
                if not self._stuck:  # or it may have had nothing to write
                    self._away, self._written = None, time.monotonic()
                metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
                return result
        raise AssertionError("unreachable: the loop returns or raises")

    def _get_stuck(self, said: str) -> None:
        self._stuck = True
        if self.engine.dialect.name == "postgresql":
            self.engine.dispose()  # a session that was told to write nothing is told so until its end
            if "space" in said or "disk" in said:
                self._full_until = time.monotonic() + FULL_SECONDS

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction that only reads, on one snapshot.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        try:
            with self._reader.connect() as connection:
                return work(connection)
        except DataError:
            raise
        except (DBAPIError, PoolTimeout) as error:
            said = self._away = first_line(error)
            raise StoreUnavailable(said) from error

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _passing(error: DBAPIError | PoolTimeout | Conflict) -> bool:
    """Whether another try may help: locks, lost connections, conflicts between replicas; not a full disk."""
    if not isinstance(error, DBAPIError):
        return True
    text = str(error.orig).lower()
    return not any(word in text for word in ("disk", "no space", "read-only", "readonly", "permission"))


def first_line(error: BaseException) -> str:
    """What a store said, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
