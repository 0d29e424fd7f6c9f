"""Somebody else who writes to an SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tests.fault.stage import PATIENCE


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Write to it, and keep everybody else from it meanwhile."""
    with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as store:
        store.execute("begin exclusive")
        yield
        store.execute("rollback")
