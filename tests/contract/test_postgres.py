"""What keeps a store on PostgreSQL from waiting for ever, on either side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from manyhands import metrics
from manyhands.errors import StoreUnavailable
from manyhands_service import postgres as of_postgres
from manyhands_service import store as of_store
from manyhands_service.store import Store
from tests.contract.test_store import PATIENCE, add, names, new
from tests.services import Postgres, wait_until


@pytest.fixture
def store(postgres: Postgres) -> Iterator[Store]:
    """A migrated store on PostgreSQL."""
    made = new(postgres.database())
    assert made.open(threading.Event())
    yield made
    made.close()


def test_a_serialization_failure_is_run_again(store: Store) -> None:
    """Two transactions that cannot be put into an order: the one that PostgreSQL ends is run again, and counts once."""
    seen: list[list[str]] = []

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.text("set transaction isolation level serializable"))
        seen.append(names(connection))
        if len(seen) == 1:
            store.write(serializable)
        add(f"of {len(seen[-1])}")(connection)

    def serializable(connection: sa.Connection) -> None:
        connection.execute(sa.text("set transaction isolation level serializable"))
        names(connection)
        add("another")(connection)

    before = metrics.STORE_RETRIES._value.get()
    store.write(work)
    assert seen == [[], ["another"]]
    assert metrics.STORE_RETRIES._value.get() == before + 1
    assert store.read(names) == ["another", "of 1"]


def test_a_database_whose_transactions_are_serializable_by_default(store: Store) -> None:
    """Ours are not, whatever its default: so no server of one node has a serialization failure for them."""
    with psycopg.connect(plain(store), autocommit=True) as operator:
        operator.execute(
            f"alter database {store.engine.url.database} set default_transaction_isolation = 'serializable'".encode()
        )
    with psycopg.connect(plain(store)) as session:
        assert session.execute("show transaction_isolation").fetchone() == ("serializable",)
    store.engine.dispose()
    assert store.write(lambda c: c.scalar(sa.text("show transaction_isolation"))) == "read committed"


def test_what_a_session_asks_of_the_server(store: Store) -> None:
    """No statement waits or runs for ever, and a client that is gone without a word keeps nothing for long."""

    def shown(connection: sa.Connection) -> dict[str, str]:
        return {name: connection.scalar(sa.text(f"show {name}")) for name in of_postgres._SESSION}

    wanted = {
        "lock_timeout": "10s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "1min",
        "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "2",
        "tcp_user_timeout": "20000",
    }  # fmt: skip
    assert store.write(shown) == wanted
    assert store.read(shown) == wanted


def test_a_lock_that_somebody_keeps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends the wait and says so; what was begun is not there, and when the lock is gone it goes through."""
    monkeypatch.setitem(of_postgres._SESSION, "lock_timeout", 200)
    store.engine.dispose()
    store.write(add("a"))
    with psycopg.connect(plain(store)) as other:
        other.execute("lock table aggregator_jobs in exclusive mode")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            store.write(add("b"), attempts=2)
        assert store.read(names) == ["a"]
    wait_until(lambda: store.missing() is None, PATIENCE, "readiness to return by itself")
    store.write(add("b"))
    assert store.read(names) == ["a", "b"]


def test_a_transaction_that_its_owner_forgot(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends the session, and with it its locks; whoever owned it runs it again."""
    monkeypatch.setitem(of_postgres._SESSION, "idle_in_transaction_session_timeout", 300)
    store = new(postgres.database())
    assert store.open(threading.Event())
    tries: list[int] = []

    def work(connection: sa.Connection) -> None:
        tries.append(1)
        add("a")(connection)
        if len(tries) == 1:
            own = connection.scalar(sa.text("select pg_backend_pid()"))
            wait_until(lambda: not alive(own), PATIENCE, "the server to lose patience")

    def alive(pid: Any) -> Any:
        with psycopg.connect(plain(store)) as other:
            return other.execute("select 1 from pg_stat_activity where pid = %s", [pid]).fetchone()

    store.write(work)
    assert len(tries) == 2
    assert store.read(names) == ["a"]
    store.close()


def test_a_migration_takes_its_time(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its turn and for locks as long as it takes, whatever other transactions may."""
    monkeypatch.setitem(of_postgres._SESSION, "lock_timeout", 50)
    monkeypatch.setitem(of_postgres._SESSION, "statement_timeout", 50)
    monkeypatch.setattr(of_postgres.Connection, "patience", 5.0)
    store = new(postgres.database())
    with store.engine.begin() as connection, of_postgres.unhurried(connection):
        connection.execute(sa.text("select pg_sleep(0.3)"))
        assert connection.connection.driver_connection.patience is None  # type: ignore[union-attr]
    with pytest.raises(OperationalError, match="statement timeout"), store.engine.begin() as connection:
        connection.execute(sa.text("select pg_sleep(0.3)"))
    store.close()


def test_a_server_that_says_nothing(private_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what is sent and answers nothing: readiness tells promptly, nobody waits for ever, all comes back."""
    monkeypatch.setattr(of_postgres.Connection, "patience", 2.0)
    monkeypatch.setattr(of_store, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(of_store, "SLOW_SECONDS", 0.5)
    store = new(private_postgres.database())
    assert store.open(threading.Event())
    store.write(add("a"))
    private_postgres.freeze()
    try:
        wait_until(lambda: "no answer" in (store.missing() or ""), PATIENCE, "readiness to tell")
        with pytest.raises(StoreUnavailable, match=r"no answer from the server in 2 seconds|timeout"):
            store.write(add("b"), attempts=1)
        assert store.missing() is not None
    finally:
        private_postgres.thaw()
    wait_until(lambda: store.missing() is None, PATIENCE, "readiness to return by itself")
    store.write(add("c"))
    assert set(store.read(names)) - {"b"} == {"a", "c"}
    store.close()


def test_a_database_that_is_read_only(store: Store) -> None:
    """Nothing is written to it, whatever was read before; when it may be written again, that is noticed."""
    name = store.engine.url.database
    with psycopg.connect(plain(store), autocommit=True) as operator:
        operator.execute(f"alter database {name} set default_transaction_read_only = on".encode())
        store.engine.dispose()
        for _ in range(3):
            assert store.read(names) == []
            with pytest.raises(StoreUnavailable, match="read-only transaction"):
                store.write(add("a"))
        assert "read-only" in (store.missing() or "")
        operator.execute(f"alter database {name} reset default_transaction_read_only".encode())
    store.write(add("a"))
    assert store.missing() is None


def test_a_pool_that_is_used_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is free in time: the store is away for this caller, which is no fault of what it was given."""
    pool: Any = store.engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.1)
    taken = [store.engine.connect() for _ in range(15)]
    with pytest.raises(StoreUnavailable, match="limit"):
        store.read(names)
    with pytest.raises(StoreUnavailable, match="limit"):
        store.write(add("a"), attempts=2)
    for connection in taken:
        connection.close()
    assert store.read(names) == []


def plain(store: Store) -> str:
    """The URL of a store, for the driver."""
    return store.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
