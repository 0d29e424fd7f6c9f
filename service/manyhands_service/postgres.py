"""Connections to PostgreSQL that end: neither side holds on to one on which the other is silent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa

#: A connection on which nothing comes and goes for about this many seconds is taken for dead, on both sides.
SILENT_SECONDS = 20
#: Seconds for which a statement may wait for a lock, and run; the server ends it then, and says why.
LOCK_SECONDS, STATEMENT_SECONDS = 10, 30
#: Seconds for which an answer is waited for. By then the server has ended the statement, if it hears and is heard.
ANSWER_SECONDS = 35.0
#: Seconds for which a transaction may be forgotten by its owner before the server ends it, and with it its locks.
FORGOTTEN_SECONDS = 60

#: What each session asks of the server. Without it a client that has gone without a word, with its machine or in a cut
#: network, would keep its locks for hours: of rows, and the one that says which producer leads.
_SESSION = {
    "lock_timeout": LOCK_SECONDS * 1000,
    "statement_timeout": STATEMENT_SECONDS * 1000,
    "idle_in_transaction_session_timeout": FORGOTTEN_SECONDS * 1000,
    "tcp_keepalives_idle": SILENT_SECONDS // 2,
    "tcp_keepalives_interval": SILENT_SECONDS // 4,
    "tcp_keepalives_count": 2,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
}

T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """A connection that waits for an answer only so long.

    Keepalives tell of a peer that has gone. A server, or a proxy before it, that takes what is sent and says nothing
    they do not tell of: the system on the other side answers them.
    """

    #: Seconds; None: without end.
    patience: float | None = ANSWER_SECONDS

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Run a step of the protocol, as its base does, unless nothing is heard for too long.

        Raises:
            psycopg.OperationalError: nothing was; the connection is closed.
        """
        return super().wait(self._impatient(gen), *args, **kwargs)

    def set_read_only(self, value: bool | None) -> None:
        """Have transactions only read; otherwise they are as the server has them, which may be read-only, too."""
        super().set_read_only(value or None)  # False would override a server that is to write nothing just now

    def _impatient(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        heard, said = time.monotonic(), None
        while True:
            try:
                wanted = gen.send(said)
            except StopIteration as done:
                result: T = done.value
                return result
            said = yield wanted
            if said:
                heard = time.monotonic()
            elif self.patience is not None and time.monotonic() - heard > self.patience:
                gen.close()
                self.pgconn.finish()
                raise psycopg.OperationalError(f"no answer from the server in {self.patience:g} seconds")


def engine(url: str) -> sa.Engine:
    """The engine of a store at ``postgresql+psycopg://…``; connects only when used.

    One isolation level whatever the server's default is: row locks are what writers rely on.
    """
    made = sa.create_engine(
        url, pool_pre_ping=True, pool_timeout=LOCK_SECONDS, isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": 10,
            "keepalives_idle": SILENT_SECONDS // 2,
            "keepalives_interval": SILENT_SECONDS // 4,
            "keepalives_count": 2,
            "tcp_user_timeout": SILENT_SECONDS * 1000,
        },
    )  # fmt: skip
    sa.event.listen(made, "do_connect", _connect)
    sa.event.listen(made, "connect", _ask)
    return made


def _connect(_dialect: Any, _record: Any, args: list[Any], options: dict[str, Any]) -> Connection:
    return Connection.connect(*args, **options)


def _ask(connection: Connection, _record: Any) -> None:
    # not as options of the connection: poolers such as PgBouncer refuse those
    connection.execute("; ".join(f"set {name} = {value}" for name, value in _SESSION.items()).encode())
    connection.commit()


@contextlib.contextmanager
def unhurried(connection: sa.Connection) -> Iterator[None]:
    """What is done within, in this transaction, may take its time, as a change of the schema does."""
    own = connection.connection.driver_connection
    if not isinstance(own, Connection):
        yield
        return
    own.patience = None
    try:
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(sa.text(f"set local {name} = 0"))
        yield
    finally:
        own.patience = ANSWER_SECONDS
