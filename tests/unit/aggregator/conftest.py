"""Stores for the aggregator's tests: every test that needs one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from manyhands_aggregator.tables import metadata
from manyhands_service.store import Store
from tests.services import Postgres
from tests.unit.aggregator.kit import Bench, open_store

_TABLES = ", ".join(table.name for table in metadata.sorted_tables)


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """A database of the server that the aggregator's tests share."""
    return postgres.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store that is migrated and empty."""
    store = open_store(store_url)
    if store.engine.dialect.name == "postgresql":
        store.write(lambda c: c.execute(sa.text(f"TRUNCATE {_TABLES}")))
    yield store
    store.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator's parts over a store, worked by hand."""
    return Bench(store)
