"""Whatever a job file says and whatever happens: the laws hold, the job ends, and repeats change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.aggregator.kit import open_store
from tests.unit.aggregator.walk import Walk

#: How many walks are tried; by hand it may be thousands: ``WALKS=3000 pytest tests/unit/aggregator/test_walk.py``.
WALKS, STEPS = int(os.environ.get("WALKS", "16")), 80


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is migrated: to be copied, since that is quicker than to migrate each."""
    folder = tmp_path_factory.mktemp("empty")
    open_store(f"sqlite:///{folder / 'test.db'}").close()
    return folder


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_walk_ends(tmp_path: Path, empty: Path, seed: int) -> None:
    """What led to it is printed where something does not hold."""
    walk = Walk(tmp_path, seed, empty)
    try:
        walk.run(STEPS)
    except BaseException:
        print(walk.job, *walk.log, sep="\n")
        raise
    finally:
        walk.store.close()
