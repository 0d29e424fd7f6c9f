"""What services may rely on in a store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg.errors
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from manyhands import metrics
from manyhands.errors import SettingsError, StoreUnavailable
from manyhands_aggregator.tables import jobs
from manyhands_service import store as of_store
from manyhands_service.store import Conflict, Store
from tests.services import Postgres, wait_until

#: Long enough for a loaded machine; nothing waits that long when all is well.
PATIENCE = 30.0


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A migrated store."""
    store = new(store_url)
    assert store.open(threading.Event())
    yield store
    store.close()


def new(url: str) -> Store:
    """A store that is not opened yet; the aggregator's tables serve for all."""
    return Store(url, "aggregator", "manyhands_aggregator")


def add(job: str) -> Callable[[sa.Connection], None]:
    """Work that writes a row."""

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(jobs).values(job=job))

    return work


def names(connection: sa.Connection) -> list[str]:
    """Work that reads the rows."""
    return list(connection.scalars(sa.select(jobs.c.job).order_by(jobs.c.job)))


def test_replicas_that_start_together_migrate_once(store_url: str) -> None:
    """They take turns, in one process (Alembic's context is global) and on one database."""
    stores = [new(store_url) for _ in range(4)]
    threads = [threading.Thread(target=store.open, args=[threading.Event()]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        assert store.missing() is None
        assert store.read(names) == []
        store.close()


def test_services_share_a_database(store_url: str) -> None:
    """Each has its own tables and its own version."""
    aggregator, producer = new(store_url), Store(store_url, "producer", "manyhands_producer")
    for store in (producer, aggregator, producer):
        assert store.open(threading.Event())
    found = sa.inspect(aggregator.engine).get_table_names() + sa.inspect(producer.engine).get_table_names()
    assert {"aggregator_version", "producer_version", "aggregator_jobs", "producer_jobs"} <= set(found)
    aggregator.close()
    producer.close()


def test_what_fails_is_rolled_back(store: Store) -> None:
    """An error of the caller's own leaves nothing behind and is the caller's to see."""

    def work(connection: sa.Connection) -> None:
        add("a")(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(work)
    assert store.read(names) == []
    assert store.missing() is None


def test_a_conflict_is_run_again_from_the_start(store: Store) -> None:
    """Another try reads again what the first had read."""
    seen: list[list[str]] = []

    def work(connection: sa.Connection) -> None:
        seen.append(names(connection))
        add(f"try {len(seen)}")(connection)
        if len(seen) < 3:
            raise Conflict

    store.write(work)
    assert seen == [[], [], []]
    assert store.read(names) == ["try 3"]


def test_a_key_that_another_took_meanwhile_is_run_again(store: Store) -> None:
    """Racing for a natural key, the loser reads the winner's row at its second try."""
    tries: list[list[str]] = []

    def work(connection: sa.Connection) -> None:
        tries.append(names(connection))
        if not tries[-1] or len(tries) == 1:
            add("a")(connection)

    store.write(add("a"))

    def blind(connection: sa.Connection) -> None:
        if not tries:
            tries.append([])
            add("a")(connection)
        else:
            work(connection)

    store.write(blind)
    assert tries == [[], ["a"]]


def test_a_row_that_is_wrong_for_good_is_the_callers_fault(store: Store) -> None:
    """The store is well: readiness stays, and the error is not taken for a store that is away."""
    store.write(add("a"))
    with pytest.raises(IntegrityError):
        store.write(add("a"), attempts=2)
    assert store.missing() is None
    if store.engine.dialect.name == "postgresql":
        with pytest.raises(DataError):
            store.write(add("nul \0 byte"))
        assert store.missing() is None


def _raise(error: BaseException) -> Callable[[sa.Connection], None]:
    calls: list[int] = []

    def work(_: sa.Connection) -> None:
        calls.append(1)
        work.calls = len(calls)  # type: ignore[attr-defined]
        raise OperationalError("statement", {}, error)

    return work


FULL = [sqlite3.OperationalError("database or disk is full"), psycopg.errors.DiskFull("No space left on device")]


@pytest.mark.parametrize("error", FULL, ids=["sqlite", "postgresql"])
def test_a_full_disk_is_not_tried_again(store: Store, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other try could help: it is said at once, whatever needs no room, and until there is room again."""
    monkeypatch.setattr(of_store, "FULL_SECONDS", 0.5)
    work, before = _raise(error), metrics.STORE_RETRIES._value.get()
    with pytest.raises(StoreUnavailable, match=r"disk|space"):
        store.write(work)
    assert work.calls == 1  # type: ignore[attr-defined]
    assert metrics.STORE_RETRIES._value.get() == before + 1
    store.write(lambda _: None)
    assert re.search("disk|space", store.trouble or "")
    if store.engine.dialect.name == "postgresql":
        assert re.search("disk|space", store.missing() or "")  # where its own look goes through, full or not
    wait_until(lambda: store.missing() is None, PATIENCE, "its own look to go through")


def test_a_lock_is_tried_again(store: Store) -> None:
    """A store that is busy is asked some times, then counts as away."""
    work = _raise(sqlite3.OperationalError("database is locked"))
    with pytest.raises(StoreUnavailable):
        store.write(work, attempts=3)
    assert work.calls == 3  # type: ignore[attr-defined]


def test_writers_wait_for_each_other(store: Store) -> None:
    """Many threads that read and write the same row lose no update, with the row locked."""
    store.write(add("a"))

    def count(connection: sa.Connection) -> None:
        tasks = connection.scalar(sa.select(jobs.c.tasks).where(jobs.c.job == "a").with_for_update())
        connection.execute(sa.update(jobs).values(tasks=(tasks or 0) + 1))

    threads = [threading.Thread(target=lambda: [store.write(count) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(lambda c: c.scalar(sa.select(jobs.c.tasks))) == 80


def test_a_reader_sees_one_snapshot_and_holds_up_nobody(store: Store) -> None:
    """What is committed while it reads is not seen by it, and is not delayed by it."""

    def work(connection: sa.Connection) -> tuple[list[str], list[str]]:
        before = names(connection)
        store.write(add("a"))
        return before, names(connection)

    assert store.read(work) == ([], [])
    assert store.read(names) == ["a"]


def test_reading_leaves_no_trace_on_pooled_connections(store: Store) -> None:
    """A writer that gets a reader's connection writes, and at the writers' isolation level."""
    for number in range(5):
        store.read(names)
        store.write(add(str(number)))
    if store.engine.dialect.name == "postgresql":
        level = store.write(lambda c: c.scalar(sa.text("SHOW transaction_isolation")))
        assert level == "read committed"
        assert store.read(lambda c: c.scalar(sa.text("SHOW transaction_isolation"))) == "repeatable read"
        assert store.write(lambda c: c.scalar(sa.text("SHOW transaction_read_only"))) == "off"
        assert store.read(lambda c: c.scalar(sa.text("SHOW transaction_read_only"))) == "on"


def test_sqlite_keeps_what_an_ack_rests_on(tmp_path: Path) -> None:
    """WAL, and every commit is synced."""
    store = new(f"sqlite:///{tmp_path / 'test.db'}")
    assert store.open(threading.Event())
    assert store.read(lambda c: c.scalar(sa.text("PRAGMA synchronous"))) == 2
    assert store.read(lambda c: c.scalar(sa.text("PRAGMA journal_mode"))) == "wal"
    store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x/y", "sqlite:///file.db or postgresql://"),
        ("nonsense", "sqlite:///file.db or postgresql://"),
        ("sqlite:////no/such/folder/x.db", "there is no folder /no/such/folder"),
    ],
)
def test_a_url_that_cannot_be_is_refused_at_once(url: str, said: str) -> None:
    """One sentence says what to do; waiting would not help."""
    with pytest.raises(SettingsError, match=said):
        new(url)


def test_a_store_that_is_not_there_is_waited_for(private_postgres: Postgres) -> None:
    """At the start, and whenever it goes: it is said, readiness tells, and it goes on when the store is back."""
    url = private_postgres.database()
    private_postgres.stop()
    store, stop = new(url), threading.Event()
    assert store.missing() == "not opened yet"
    opening = threading.Thread(target=store.open, args=[stop])
    opening.start()
    wait_until(lambda: store.missing() != "not opened yet", 30, "the first try to fail")
    private_postgres.start()
    opening.join(60)
    assert store.missing() is None
    store.write(add("a"))
    private_postgres.kill()

    def away() -> bool:
        try:
            store.read(names)
        except StoreUnavailable:
            return True
        return False

    wait_until(away, 30, "the last sessions to end")  # they outlive a server that is killed by a moment
    with pytest.raises(StoreUnavailable):
        store.write(add("b"), attempts=2)
    assert store.missing() is not None
    private_postgres.start()
    wait_until(lambda: store.missing() is None, 30, "readiness to return by itself")
    assert store.read(names) == ["a"]
    store.close()


def test_waiting_can_be_stopped(private_postgres: Postgres) -> None:
    """A process that is told to stop while the store is away stops."""
    url = private_postgres.url
    private_postgres.stop()
    store, stop = new(url), threading.Event()
    opened: list[Any] = []
    opening = threading.Thread(target=lambda: opened.append(store.open(stop)))
    opening.start()
    stop.set()
    opening.join(30)
    assert opened == [False]
    store.close()


def test_a_store_that_nobody_writes_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness tries now and then, so that it is known without being used that nothing can be written."""
    assert store.missing() is None
    monkeypatch.setattr(of_store, "IDLE_SECONDS", 0.0)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(store.engine, "begin", lambda: _raise(sqlite3.OperationalError("readonly database"))(None))  # type: ignore[arg-type]
        wait_until(lambda: "readonly" in (store.missing() or ""), PATIENCE, "readiness to tell")
    store.write(add("a"))
    assert store.missing() is None
