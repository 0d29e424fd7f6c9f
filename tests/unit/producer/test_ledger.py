"""The conservation law in the producer's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from manyhands.errors import StoreUnavailable
from manyhands_producer import tables
from manyhands_producer.ledger import LOOK, Ledger
from tests.unit.producer.support import Bench, job_spec
from tests.unit.producer.test_events import delivery, take


def difference() -> float | None:
    """What the metric says."""
    return REGISTRY.get_sample_value("manyhands_conservation_difference", {"process": "producer"})


def test_a_suite_is_spooled_until_it_is_settled(tmp_path: Path) -> None:
    """Cut, published, settled or ended: no suite is in two accounts or in none; what a hand takes away is told."""
    bench = Bench(tmp_path)
    ledger = Ledger(bench.store, bench.clock)

    def look() -> float | None:
        bench.clock.turn(LOOK)
        ledger.look()
        return difference()

    jobs = [bench.requests.submit(job_spec(in_flight=2), tasks=[{"payload": i} for i in range(6)]) for _ in range(2)]
    assert look() == 0
    bench.publish()
    take(bench, delivery("suites.settled", jobs[0], suites=[0, 1]))
    assert look() == 0
    take(bench, delivery("job.completed", jobs[1], state="partial"))
    assert look() == 0
    gone = sa.delete(tables.spool).where(tables.spool.c.suite == 2)
    with bench.store.engine.begin() as connection:
        connection.execute(gone)
    ledger.look()
    assert difference() == 0  # it is not time yet
    assert look() == 1
    ledger.close()
    assert difference() == 0


def test_a_store_that_is_away_is_asked_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer goes on meanwhile."""
    bench = Bench(tmp_path)

    def away() -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(bench.store, "difference", away)
    Ledger(bench.store, bench.clock).look()


def test_the_account_counts_the_spool(tmp_path: Path) -> None:
    """Suites and tasks, and of these the published ones."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=2), tasks=[{"payload": i} for i in range(5)], seal=True)
    bench.publish()
    said = bench.requests.audit(job)
    assert {key: said[key] for key in ("spooled", "spooled_tasks", "in_flight", "in_flight_tasks")} == {
        "spooled": 3, "spooled_tasks": 5, "in_flight": 2, "in_flight_tasks": 4,
    }  # fmt: skip
    take(bench, delivery("suites.settled", job, suites=[0]))
    said = bench.requests.audit(job)
    assert (said["spooled_tasks"], said["in_flight_tasks"], said["settled"]) == (3, 2, 1)
