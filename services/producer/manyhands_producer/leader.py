"""One producer of a store reads and publishes at a time; the others stand by and answer requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manyhands import logs

try:
    import fcntl
except ImportError:  # there is none on Windows, where SQLite files are not watched over
    fcntl = None  # type: ignore[assignment]

_log = logs.get(__name__)

#: Seconds between two tries, and between two looks whether it is still held.
EVERY = 0.5


class Leadership:
    """The right to publish what is in a store: an advisory lock of PostgreSQL, or of a file beside an SQLite file.

    It ends with the process or its connection, however they end. Two who hold it for a moment, one of them without
    knowing that it is lost, publish some suites twice, which harms nobody.
    """

    def __init__(self, engine: sa.Engine, away: Callable[[Exception], None] = lambda _: None) -> None:
        self._engine, self._away = engine, away
        self._connection: sa.Connection | None = None
        self._file: IO[Any] | None = None

    def acquire(self, stop: threading.Event) -> bool:
        """Wait for it; False when told to stop before. While the store cannot be asked, ``away`` is told why."""
        said = ""
        while not stop.is_set():
            event = "standing by"
            try:
                if self._try():
                    return True
            except BlockingIOError:
                pass
            except (SQLAlchemyError, OSError) as error:  # OSError: the file beside an SQLite file
                event = "waiting for the store"
                self._away(error)
            if event != said:
                said = event
                _log.info(event)
            stop.wait(EVERY)
        return False

    def _try(self) -> bool:
        if self._engine.dialect.name == "sqlite":
            name = self._engine.url.database
            if fcntl is None or not name or name == ":memory:":
                return True
            file = Path(f"{name}.lock").open("w")  # noqa: SIM115  held until it is released
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise
            self._file = file
            return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.scalar(sa.text("select pg_try_advisory_lock(hashtext('manyhands-producer-leader'))")):
            self._connection = connection
            return True
        connection.close()
        return False

    def held(self) -> bool:
        """Whether it is still ours."""
        if self._connection is None:
            return self._file is not None or self._engine.dialect.name == "sqlite"
        try:
            self._connection.scalar(sa.text("select 1"))
        except SQLAlchemyError:
            return False
        return True

    def release(self) -> None:
        """Let somebody else have it."""
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.invalidate()  # its end frees the lock; back in the pool it would be kept
                self._connection.close()
            self._connection = None
        if self._file is not None:
            self._file.close()
            self._file = None
