"""Stores and shelves for the tests of what is made of a job's record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands_service.store import Store
from tests.unit.aggregator.kit import open_store
from tests.unit.cli.bundles import Shelf


@pytest.fixture(scope="session")
def shelf_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that the tests share: each has jobs of its own."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'shelf.db'}")
    yield store
    store.close()


@pytest.fixture
def shelf(shelf_store: Store, tmp_path: Path) -> Shelf:
    """A store, and room for bundles."""
    return Shelf(shelf_store, tmp_path)
