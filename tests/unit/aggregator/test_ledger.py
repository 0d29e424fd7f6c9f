"""The conservation law in the aggregator's store: where tasks stand, and what is not as it should be."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from manyhands.messages import Failure
from manyhands_aggregator import ledger, tables
from manyhands_aggregator.ledger import Ledger
from tests.unit.aggregator.kit import Bench, Job

#: A change of the store by hand, and in which state of the job it is tried.
DOCTORED: list[tuple[str, sa.Table, dict[str, Any]]] = [
    ("open", tables.jobs, {"answered": 3}),
    ("open", tables.jobs, {"tasks": 7}),
    ("open", tables.suites, {"failed": 1}),
    ("complete", tables.jobs, {"tasks": 7}),
    ("complete", tables.jobs, {"answered": 5, "failed": 1}),
    ("complete", tables.suites, {"answers": None}),
    ("partial", tables.jobs, {"failed": 0}),
    ("cancelled", tables.jobs, {"cancelled": 0}),
]


def job_in(bench: Bench, state: str) -> Job:
    """A job of three suites, some of them settled, in a state."""
    job = Job(count=6, more={"deadline": 10})
    bench.take(*job.news(), job.judged(0))
    if state == "complete":
        bench.take(job.judged(1), job.judged(2))
    elif state == "partial":
        bench.fake_clock.turn(11)
        bench.swept()
    elif state == "cancelled":
        bench.take(job.cancelled())
    assert bench.state(job) == state
    return job


@pytest.mark.parametrize("state", ["open", "complete", "partial", "cancelled"])
def test_the_law_holds(bench: Bench, state: str) -> None:
    """In every state of a job."""
    job_in(bench, state)
    assert Ledger(bench.store).look() == 0


@pytest.mark.parametrize(("state", "table", "change"), DOCTORED)
def test_what_is_changed_by_hand_is_found(bench: Bench, state: str, table: sa.Table, change: dict[str, Any]) -> None:
    """Whether in the counters or in the rows; and no longer when it is as it was."""
    job = job_in(bench, state)
    watching = Ledger(bench.store)
    assert watching.look() == 0
    (before,) = bench.store.read(lambda c: c.execute(sa.select(tables.jobs).where(tables.jobs.c.job == job.id)).all())
    mine = sa.update(table).where(table.c.job == job.id)
    if table is tables.suites:
        mine = mine.where(tables.suites.c.suite == 0)
        (before,) = bench.store.read(lambda c: c.execute(sa.select(table).where(table.c.suite == 0)).all())
    bench.store.write(lambda c: c.execute(mine.values(**change)))
    assert Ledger(bench.store).look() > 0
    assert state == "complete" or watching.look() > 0
    bench.store.write(lambda c: c.execute(mine.values(**{name: getattr(before, name) for name in change})))
    assert watching.look() == 0


def test_a_job_that_did_not_balance_is_looked_at_until_it_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many others: each look takes a few, in turn, and forgets none."""
    monkeypatch.setattr(ledger, "MOST", 0)
    jobs = [job_in(bench, "open") for _ in range(4)]
    bench.store.write(
        lambda c: c.execute(sa.update(tables.jobs).where(tables.jobs.c.job == jobs[2].id).values(answered=1))
    )
    watching = Ledger(bench.store)
    looks = [watching.look() for _ in range(4)]
    assert (looks[0], looks[-1]) == (0, 1)
    bench.store.write(
        lambda c: c.execute(sa.update(tables.jobs).where(tables.jobs.c.job == jobs[2].id).values(answered=2))
    )
    assert [watching.look() for _ in range(4)][-1] == 0


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose rows were counted, as it goes on."""
    counted, sums = [], ledger._sums

    def noted(connection: sa.Connection, job: str) -> dict[str, int]:
        counted.append(job)
        return sums(connection, job)

    monkeypatch.setattr(ledger, "_sums", noted)
    return counted


def test_a_job_that_has_ended_is_looked_at_once(bench: Bench, looked: list[str]) -> None:
    """After its end, by judgments or by the clock, and then no more; no trace of it is kept."""
    bench.upkeep.measure()
    ended = [job_in(bench, state).id for state in ("complete", "cancelled", "partial")]
    bench.upkeep.measure()
    assert sorted(looked) == sorted(ended)
    looked.clear()
    bench.upkeep.measure()
    assert looked == []
    watching = bench.upkeep._ledger
    assert (watching._over, watching._off) == (set(), {})


@pytest.mark.parametrize("right", [True, False])
def test_a_replay_opens_the_books_again(bench: Bench, looked: list[str], right: bool) -> None:
    """A job that had ended, and was found right, is looked at again when judgments come of it."""
    job = Job(count=6)
    bench.take(*job.news(), job.judged(0), job.judged(1), job.failed(2))
    bench.upkeep.measure()
    looked.clear()
    bench.take(job.judged(2))
    assert bench.state(job) == "complete"
    if not right:
        gone = sa.update(tables.suites).where(tables.suites.c.job == job.id, tables.suites.c.suite == 2)
        bench.store.write(lambda c: c.execute(gone.values(answered=1)))
    bench.upkeep.measure()
    assert looked == [job.id]
    found = REGISTRY.get_sample_value("manyhands_conservation_difference", {"process": "aggregator"})
    assert found == (0 if right else 1)


def test_the_jobs_of_before_are_looked_at_after_a_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, looked: list[str]
) -> None:
    """All that have ended, a page at a time, and each once; also when more of them are told of than it keeps."""
    monkeypatch.setattr(ledger, "PAGE", 2)
    jobs = [job_in(bench, "complete") for _ in range(5)]
    gone = sa.update(tables.suites).where(tables.suites.c.job == jobs[3].id, tables.suites.c.suite == 1)
    bench.store.write(lambda c: c.execute(gone.values(answered=0)))
    watching = Ledger(bench.store)
    assert [watching.look() for _ in range(4)][-1] == 2
    bench.store.write(lambda c: c.execute(gone.values(answered=2)))
    assert watching.look() == 0
    assert set(looked) == {job.id for job in jobs}
    looked.clear()
    assert watching.look() == 0
    assert looked == []
    monkeypatch.setattr(ledger, "NAMES", 4)
    watching.tell(job.id for job in jobs)
    assert watching._over == set()
    for _ in range(4):
        watching.look()
    assert sorted(looked) == sorted(job.id for job in jobs)


def test_the_metric(bench: Bench) -> None:
    """Upkeep brings it up to date."""
    job = job_in(bench, "open")
    bench.swept()
    assert REGISTRY.get_sample_value("manyhands_conservation_difference", {"process": "aggregator"}) == 0
    bench.store.write(lambda c: c.execute(sa.update(tables.jobs).where(tables.jobs.c.job == job.id).values(answered=0)))
    bench.upkeep.measure()
    assert REGISTRY.get_sample_value("manyhands_conservation_difference", {"process": "aggregator"}) == 2


def test_where_open_tasks_stand(bench: Bench) -> None:
    """Judged in part, whole slots, and what waits for news; refused tasks are judged by nobody."""
    job = Job(count=8, judges=["one", {"two": 2}], refused={7: Failure(code="bad-row", message="m")})
    bench.take(job.opened(), job.announced(0, 1, 3), job.sealed())
    bench.take(job.judged(0), job.judged(0, judge="two"), job.judged(0, judge="two", slot=1))
    bench.take(job.judged(1, judge="two", slot=1, positions=[2]), job.judged(3))
    bench.take(job.judged(2))
    said = ledger.audit(bench.store, job.id)
    assert {key: said[key] for key in ("judged", "slots", "unsettled", "whole", "held")} == {
        "judged": 2, "slots": 3, "unsettled": 2, "whole": 1, "held": 1,
    }  # fmt: skip
    assert (said["answered"], said["open"], said["conserved"]) == (2, 4, True)
