"""A service's own store: the engine, its migrations, and transactions that outlast a store that is away."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from manyhands import backoff, logs, metrics
from manyhands.errors import SettingsError, StoreUnavailable
from manyhands.settings import store_url

_log = logs.get(__name__)

#: Seconds that an SQLite writer waits for another before it gives up.
BUSY_SECONDS = 10

T = TypeVar("T")


def open_engine(url: str, service: str) -> sa.Engine:
    """The engine of a service's store; connects only when used.

    SQLite runs in WAL mode with ``synchronous=FULL``, since acks rest on its commits, and ``BEGIN IMMEDIATE`` for
    writers, so that two of them wait for each other instead of failing halfway.

    Raises:
        SettingsError: the URL is of no store that is known.
    """
    url = store_url(url, service)
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingsError("the store is given as sqlite:///file.db or postgresql://user:password@host/database")
    try:
        if url.startswith("sqlite"):
            engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
            sa.event.listen(engine, "connect", _sqlite_connect)
            sa.event.listen(engine, "begin", _sqlite_begin)
            return engine
        return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except sa.exc.ArgumentError as error:
        raise SettingsError(
            "the store's URL is not right; it looks like postgresql://user:password@host/database"
        ) from error


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(engine: sa.Engine, package: str, service: str) -> None:
    """Bring the store's schema up to the newest migration of ``package`` (its folder ``migrations``).

    Replicas that start together take turns: PostgreSQL by an advisory lock, SQLite by its single writer.
    """
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.attributes.update(service=service)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(
                sa.text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": f"manyhands-{service}"}
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class Store:
    """Transactions on a service's store."""

    def __init__(self, url: str, service: str, package: str) -> None:
        self.engine = open_engine(url, service)
        self._service, self._package = service, package
        self._away: str | None = "not opened yet"

    def open(self, stop: threading.Event) -> bool:
        """Migrate; waits with back-off while the store is away. False when told to stop before it came."""
        attempt = 0
        while not stop.is_set():
            try:
                migrate(self.engine, self._package, self._service)
            except (OperationalError, sqlite3.OperationalError) as error:
                attempt += 1
                self._away = _first_line(error)
                delay = backoff.reconnect_delay(attempt, random.random)
                _log.warning("waiting for the store", error=self._away, again_in=round(delay, 2))
                stop.wait(delay)
            else:
                self._away = None
                return True
        return False

    def missing(self) -> str | None:
        """For readiness: what is wrong with the store, or None."""
        return self._away

    def write(self, work: Callable[[sa.Connection], T], *, attempts: int = 5) -> T:
        """Run ``work`` in a transaction and commit it; tries again on a lost connection, a lock or a conflict.

        ``work`` may run several times and must have no other effect than on the store.

        Raises:
            StoreUnavailable: it did not go through in ``attempts`` tries.
        """
        for attempt in range(1, attempts + 1):
            started = time.monotonic()
            try:
                with self.engine.begin() as connection:
                    result = work(connection)
            except (OperationalError, IntegrityError, DBAPIError) as error:
                if not _passing(error) or attempt == attempts:
                    self._away = _first_line(error)
                    raise StoreUnavailable(self._away) from error
                metrics.STORE_RETRIES.inc()
                time.sleep(backoff.reconnect_delay(attempt, random.random, base=0.05, cap=1.0))
            else:
                self._away = None
                metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
                return result
        raise AssertionError("unreachable: the loop returns or raises")

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction that only reads, on one snapshot.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        try:
            with self.engine.connect() as connection:
                level = "REPEATABLE READ" if self.engine.dialect.name == "postgresql" else None
                options = {"isolation_level": level} if level else {"reading": True}
                return work(connection.execution_options(**options))
        except OperationalError as error:
            self._away = _first_line(error)
            raise StoreUnavailable(self._away) from error

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _passing(error: DBAPIError) -> bool:
    """Whether another try may help: locks, lost connections, conflicts between replicas; not a full disk."""
    text = str(error.orig).lower()
    if "full" in text or "read-only" in text or "readonly" in text or "permission" in text:
        return False
    return isinstance(error, (OperationalError, IntegrityError)) or error.connection_invalidated


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
