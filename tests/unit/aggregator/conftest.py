"""Stores for the aggregator's tests: every test that needs one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands_service.store import Store
from tests.services import Postgres
from tests.unit.aggregator.kit import Bench, open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.database()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A migrated store."""
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator's parts over a store, worked by hand."""
    return Bench(store)
