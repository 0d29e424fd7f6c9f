"""What a database, or somebody else in it, does in the middle of a job: the job completes all the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.fault.sqlite import writing
from tests.fault.stage import FLOWING, HELD, PATIENCE, Stage, stage
from tests.services import Postgres, RabbitMQ, wait_until

KEEPERS = ("producer", "aggregator")
Session = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def store(postgres: Postgres) -> str:
    """The URL of an empty database."""
    return postgres.database()


@pytest.fixture
def operator(store: str) -> Iterator[Session]:
    """A session of somebody at the controls of the database."""
    with psycopg.connect(store, autocommit=True) as session:
        yield session


@pytest.fixture
def running(rabbitmq: RabbitMQ, store: str, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """The three services on PostgreSQL, ready."""
    with stage(tmp_path, rabbitmq.url, store, namespace, PACE="0.005") as made:
        made.start()
        made.ready()
        yield made


def end_sessions(operator: Session, states: tuple[str, ...] = ("idle", "active", "idle in transaction")) -> int:
    """End the sessions of everybody else; how many there were."""
    ended = operator.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and state = any(%s)",
        [list(states)],
    )
    return len(ended.fetchall())


def test_sessions_ended_again_and_again(running: Stage, operator: Session) -> None:
    """Whatever they are in the middle of, a commit too, is done again: each judgment counts once."""
    job = running.submit()
    for answered in range(100, HELD - 100, 50):
        running.reaches(job, answered)
        assert end_sessions(operator) > 0
    running.ready()
    running.completes(job)


@pytest.mark.drill
def test_idle_sessions_ended(running: Stage, operator: Session) -> None:
    """Connections that the server closed while nobody used them are noticed before they are: nobody gets an error."""
    running.completes(running.submit())
    running.close_gate()
    assert end_sessions(operator, ("idle",)) > 0
    job = running.submit()
    running.completes(job)
    assert "Traceback" not in "".join(line for service in KEEPERS for line in running.processes[service].log)


@pytest.mark.drill
def test_deadlocks(running: Stage, operator: Session, store: str) -> None:
    """Somebody takes locks in another order than the aggregator: its transaction is ended for it, and is run again."""
    job = running.submit()
    with psycopg.connect(store) as somebody:
        somebody.execute("set deadlock_timeout = '1min'")  # so that it is not this transaction that is ended
        somebody.commit()

        def locked() -> bool:
            """Lock the job, wait until the aggregator waits for that, and lock its suites, which it may hold."""
            with somebody.transaction():
                somebody.execute("select from aggregator_jobs for update")
                wait_until(lambda: waiting(operator), PATIENCE, "the aggregator to wait for a lock", every=0.02)
                somebody.execute("select from aggregator_suites for update")
            return deadlocks(operator) > 1

        wait_until(locked, PATIENCE, "deadlocks", every=0.02)
    assert retries(running, "aggregator") > 0
    running.ready()
    running.completes(job)


def waiting(operator: Session) -> bool:
    """Whether a session of the database waits for a lock."""
    found = operator.execute(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    return found.rowcount > 0


def deadlocks(operator: Session) -> int:
    """How many there have been in the database."""
    row = operator.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    return row[0] if row else 0


#: Every other transaction that changes a job ends as one that cannot be put into an order, at its commit.
SERIALIZED = """
create function serialized() returns trigger language plpgsql as $$
begin
  if pg_current_xact_id()::text::bigint % 2 = 1 then
    raise exception 'could not serialize access' using errcode = 'serialization_failure';
  end if;
  return null;
end $$;
create constraint trigger serialized after insert or update on aggregator_jobs
  deferrable initially deferred for each row execute function serialized();
create constraint trigger serialized after insert or update on producer_jobs
  deferrable initially deferred for each row execute function serialized();
"""


def test_serialization_failures(running: Stage, operator: Session) -> None:
    """Transactions that the server ends at their commit are run again, whole, and each judgment counts once.

    By a trigger: at the level that we ask for, a server of one node has nothing of the kind to say by itself.
    """
    job = running.submit()
    operator.execute(SERIALIZED)
    running.reaches(job, FLOWING)
    again = "transactions of both keepers to be run again"
    wait_until(lambda: all(retries(running, service) > 0 for service in KEEPERS), PATIENCE, again)
    running.completes(job)
    assert "Traceback" not in "".join(line for service in KEEPERS for line in running.processes[service].log)


def retries(running: Stage, service: str) -> float:
    """How many transactions of a service had to be run again."""
    return running.metric(service, "manyhands_store_retries_total")


def test_read_only(running: Stage, operator: Session, store: str) -> None:
    """As after a failover to a replica: nothing can be written until it is promoted, and sessions do not end then."""
    job = running.submit()
    running.reaches(job, FLOWING)
    name = sql.Identifier(urlsplit(store).path[1:])
    operator.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))

    def told() -> bool:
        """Sessions are told as they begin; one that was just beginning may not be listed yet, and goes on writing."""
        end_sessions(operator)
        return all("store" in running.missing(service) for service in KEEPERS)

    wait_until(told, PATIENCE, "both keepers to miss the store", every=0.5)
    stays_unready(running, "read-only", job)
    refused = running.try_command("submit", str(running.job_file))
    assert refused.returncode != 0
    assert "read-only" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    operator.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    running.ready()
    running.completes(job)


def stays_unready(running: Stage, why: str, job: str) -> None:
    """Both keepers of a store say why they are not ready; what was delivered stays in hand, and nothing moves."""
    for service in KEEPERS:
        wait_until(lambda s=service: why in running.missing(s).get("store", ""), PATIENCE, f"{service} to say {why}")  # type: ignore[misc]
    wait_until(lambda: running.metric("aggregator", "manyhands_in_hand") > 0, PATIENCE, "deliveries in hand")
    assert running.get(f"/api/jobs/{job}")["state"] == "open"
    assert running.command("audit", job)["conserved"] is True


def test_sqlite_locked(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Somebody else writes to the files for longer than anybody waits: that is said, and waited for."""
    files = [tmp_path / f"m-{service}.db" for service in KEEPERS]
    with stage(tmp_path, rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        with ExitStack() as locked:
            for file in reversed(files):  # the aggregator's first, while the producer still sends out what it gets
                locked.enter_context(writing(file))
            stays_unready(running, "locked", job)
        running.ready()
        running.completes(job)
        for file in files:
            with closing(sqlite3.connect(file)) as found:
                assert found.execute("pragma integrity_check").fetchall() == [("ok",)]
