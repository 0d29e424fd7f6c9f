"""What workers have shown in jobs that have ended: kept once, whatever repeats and dies, and told by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from manyhands_aggregator import reputations, tables, workers
from manyhands_aggregator.fitting import Fitting
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job

TASKS = 6
#: By whom these jobs are judged: ann is right, bob is wrong in every third task.
TRUTHS = ["a"] * TASKS
SAID: Mapping[str, list[str]] = {"ann": ["a"] * TASKS, "bob": ["a", "a", "b"] * (TASKS // 3)}


def job_of(**more: Any) -> Job:
    """A job of a suite that two people and a machine judge, whose truths are known."""
    return Job(count=TASKS, size=TASKS, judges=["one", {"people": 2}], truths=TRUTHS, more=more)


def judge(bench: Bench, job: Job) -> None:
    """All that is said of it."""
    bench.take(*job.news(), job.judged(0, "a"))
    for slot, (worker, values) in enumerate(SAID.items()):
        bench.take(job.judged(0, values, judge="people", slot=slot, worker=worker))


def kept(store: Store) -> list[tuple[Any, ...]]:
    """The rows there are."""
    of = tables.reputations
    query = sa.select(of.c.job, of.c.worker, of.c.type, of.c.judgments, of.c.right, of.c.compared, of.c.ended)
    return [tuple(row) for row in store.read(lambda c: c.execute(query.order_by(of.c.job, of.c.worker)).all())]


def told(store: Store, **which: Any) -> list[dict[str, Any]]:
    """A page of reputations."""
    return store.read(lambda c: reputations.page(c, **which))[0]


def test_a_job_that_has_ended_is_counted_once(bench: Bench) -> None:
    """What it measures is kept when it ends, not before; repeats of everything change nothing."""
    job = job_of()
    bench.take(*job.news(), job.judged(0, "a"))
    bench.swept()
    assert kept(bench.store) == []
    judge(bench, job)
    bench.swept()
    rows = kept(bench.store)
    assert [row[:4] for row in rows] == [
        (job.id, "one", "choice", TASKS),
        (job.id, "people/ann", "choice", TASKS),
        (job.id, "people/bob", "choice", TASKS),
    ]
    by_hand = {row["worker"]: row for row in workers.of_job(bench.store, job.id).shown()}
    assert {row[1]: row[4:6] for row in rows} == {
        name: (row["right"], row["compared"]) for name, row in by_hand.items()
    }
    assert {row[6] for row in rows} == {bench.progress(job)["ended"]}
    judge(bench, job)
    bench.fake_clock.turn(60)
    bench.swept()
    assert kept(bench.store) == rows


def test_it_comes_to_what_the_job_says(bench: Bench) -> None:
    """Of one small job the reputation is what `workers JOB` has; a second one adds to it; types are told apart."""
    job, other = job_of(), job_of()
    judge(bench, job)
    bench.swept()
    own = {row["worker"]: row for row in workers.rated(bench.store, job.id)}
    for row in told(bench.store):
        assert row["accuracy"] == pytest.approx(own[row["worker"]]["accuracy"], abs=1e-3)
        assert row["kind"] == own[row["worker"]]["kind"]
        assert (row["jobs"], row["judgments"], row["compared"]) == (1, TASKS, TASKS)
    before = {row["worker"]: row["accuracy"] for row in told(bench.store)}
    bench.fake_clock.turn(60)
    judge(bench, other)
    numbers = Job(count=2, truths=[1, 2], more={"answer": {"type": "number"}})
    bench.take(*numbers.news(), numbers.judged(0, [1, 2]))
    bench.swept()
    (ann,) = told(bench.store, worker="ann")
    assert told(bench.store, worker="people/ann") == [ann]
    assert (ann["jobs"], ann["judgments"], ann["last"]) == (2, 2 * TASKS, bench.progress(other)["ended"])
    assert ann["accuracy"] > before["people/ann"]
    assert [(row["worker"], row["type"]) for row in told(bench.store, worker="one")] == [
        ("one", "choice"), ("one", "number"),
    ]  # fmt: skip
    assert [row["worker"] for row in told(bench.store, type_="number")] == ["one"]
    assert told(bench.store, worker="nobody") == []


def test_pages(bench: Bench) -> None:
    """By name, whole workers, until there are no more."""
    for _ in range(2):
        judge(bench, job_of())
    bench.swept()
    first, after = bench.store.read(lambda c: reputations.page(c, limit=2))
    assert [row["worker"] for row in first] == ["one", after] == ["one", "people/ann"]
    last, end = bench.store.read(lambda c: reputations.page(c, after="people/ann", limit=2))
    assert ([row["worker"] for row in last], end) == (["people/bob"], None)
    assert bench.store.read(lambda c: reputations.page(c, after="people/bob")) == ([], None)


def test_it_may_be_killed_between(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the job's end and this, or within the transaction: the next one comes to the same, once."""
    lived, died = job_of(), job_of()
    judge(bench, lived)
    judge(bench, died)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reputations, "_rows", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bench.upkeep.go_over()
    monkeypatch.undo()
    assert kept(bench.store) == []
    replica = Bench(bench.store, bench.clock)
    for one in (bench, replica, bench):
        one.upkeep.go_over()
    rows = kept(bench.store)
    assert [row[1:] for row in rows if row[0] == lived.id] == [row[1:] for row in rows if row[0] == died.id]
    assert len(rows) == 6


def test_replicas_that_measured_at_the_same_time(bench: Bench) -> None:
    """The slower one writes the same; what it measured before more was judged it does not write."""
    job = Job(count=2, size=2, judges=["one"], truths=["a", "a"])
    bench.take(*job.news(), job.judged(0, ["a"], positions=[0]), job.failed(0, positions=[1]))
    slow = reputations.measured(bench.store, job.id)
    bench.upkeep.go_over()
    rows = kept(bench.store)
    bench.store.write(lambda c: reputations.note(c, job.id, slow, 1))
    assert kept(bench.store) == rows
    assert rows[0][3] == 1
    bench.take(job.judged(0, ["a"], positions=[1], attempt=2))  # a dead letter that was replayed
    bench.store.write(lambda c: reputations.note(c, job.id, slow, 1))
    bench.upkeep.go_over()
    ((*_, judgments, right, compared, ended),) = kept(bench.store)
    assert (judgments, round(right), round(compared), ended) == (2, 2, 2, rows[0][6])


def test_where_the_end_measures_nothing_is_measured_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job with rules whose method weighs voters: its end writes them in the transaction that ends it."""
    job = job_of(method="one-coin", quality={})
    judge(bench, job)
    calls: list[str] = []
    monkeypatch.setattr(reputations, "measured", lambda _, job: calls.append(job))
    Fitting(bench.store, bench.clock.now, rate=bench.upkeep._oversight.rate).round()
    assert bench.state(job) == "complete"
    rows = kept(bench.store)
    assert [row[1] for row in rows] == ["one", "people/ann", "people/bob"]
    bench.swept()
    assert kept(bench.store) == rows
    assert calls == []


def test_a_job_that_cannot_be_measured_holds_up_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in the log, and not tried again and again."""
    bad, good = sorted((job_of(), job_of()), key=lambda job: job.id)
    judge(bench, bad)
    judge(bench, good)
    right, tried = reputations.measured, []

    def measured(store: Store, job: str) -> list[dict[str, Any]]:
        tried.append(job)
        if job == bad.id:
            raise ZeroDivisionError
        return right(store, job)

    monkeypatch.setattr(reputations, "measured", measured)
    for _ in range(2):
        bench.swept()
    assert tried == [bad.id, good.id]
    assert {row[0] for row in kept(bench.store)} == {good.id}


def test_judgments_that_go_on_to_come_cost_little(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that took long to measure is left for a while, though more of it is judged; then it is measured again."""
    job = Job(count=3, size=3, judges=["one"], truths=["a"] * 3)
    bench.take(*job.news(), job.judged(0, ["a"], positions=[0]), job.failed(0, positions=[1, 2]))
    right, tried = reputations.measured, []

    def slowly(store: Store, name: str) -> list[dict[str, Any]]:
        tried.append(name)
        bench.fake_clock.turn(2)
        return right(store, name)

    monkeypatch.setattr(reputations, "measured", slowly)
    bench.upkeep.go_over()
    bench.take(job.judged(0, ["a"], positions=[1], attempt=2))
    bench.upkeep.go_over()
    assert len(tried) == 1
    bench.fake_clock.turn(2 / reputations.EFFORT)
    for _ in range(2):
        bench.upkeep.go_over()
    assert len(tried) == 2
    assert [row[3] for row in kept(bench.store)] == [2]


def test_where_there_is_nothing_to_compare(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One judgment a task, and no truth: the most frequent of the large jobs is not read again."""
    job = Job(count=2, size=1, judges=["one"])
    bench.take(*job.news(), job.judged(0, "a"), job.judged(1, "a"))
    monkeypatch.setattr(workers, "of_job", lambda *_, **__: pytest.fail("it was measured"))
    bench.upkeep.go_over()
    assert bench.state(job) == "complete"
    assert kept(bench.store) == []
    assert bench.store.read(lambda c: c.scalar(sa.select(tables.jobs.c.measured))) == 2


def test_cancelled_jobs_count_too(bench: Bench) -> None:
    """What was judged by then was judged; of a job that nobody judged there is nothing to say."""
    job, idle = job_of(method="one-coin"), job_of()
    bench.take(job.opened(), job.announced(), job.judged(0, "a"), *idle.news())
    bench.take(job.cancelled(), idle.cancelled())
    bench.swept()
    assert [row[:2] for row in kept(bench.store)] == [(job.id, "one")]


def test_out_of_a_store_that_nobody_works_on(bench: Bench) -> None:
    """A run ends with its job, before its workers are measured: then it is done by whoever asks, and not kept."""
    job = job_of()
    judge(bench, job)
    found = reputations.of_store(bench.store)
    assert [row["worker"] for row in found] == ["one", "people/ann", "people/bob"]
    assert kept(bench.store) == []
    assert reputations.of_store(bench.store, worker="bob") == [found[2]]
    assert reputations.of_store(bench.store, type_="text") == []
    bench.swept()
    assert reputations.of_store(bench.store) == told(bench.store) == found


#: Rules by which whoever is right in less than 60 % is retired.
STRICT: Mapping[str, Any] = {"warn": False, "pause": False, "retire": {"accuracy": 0.6}}


def exposed(bench: Bench, rules: Mapping[str, Any], opened: float) -> str | None:
    """What is done about one who was wrong about sixty tasks in an earlier job, after two judgments in this one."""
    bad = Job(count=60, size=60, judges=["one"], truths=["b"] * 60)
    bench.take(*bad.news(), bad.judged(0, "a"))
    bench.swept()
    job = Job(count=4, size=2, judges=["one", "two"], truths=["b"] * 4, more={"quality": rules})
    bench.take(job.opened(opened), job.announced(), job.sealed(), job.judged(0, ["b", "a"]))
    bench.take(job.judged(0, "b", judge="two"))
    bench.swept()
    found = {row["worker"]: row for row in workers.rated(bench.store, job.id)}
    assert (found["one"]["judgments"], found["two"]["action"]) == (2, None)
    assert found["one"]["acted"] == found["one"]["action"]
    if found["one"]["action"]:
        (reason,) = found["one"]["reasons"]
        assert reason.endswith("earlier jobs included")
    return found["one"]["action"]  # type: ignore[no-any-return]


def test_rules_may_count_them(bench: Bench) -> None:
    """Whoever is known to be bad is out at once; by default, or with little weight, it begins as a newcomer does."""
    later = bench.clock.now() + 1
    assert exposed(bench, STRICT, later) is None
    assert exposed(bench, {**STRICT, "reputation": 1}, later) is None
    assert exposed(bench, {**STRICT, "reputation": 50}, later) == "retire"


def test_what_counts_in_a_job_is_of_before_it_was_opened(bench: Bench) -> None:
    """Of the same type of answers, each no more than the rules allow; and what comes later changes nothing."""
    rules = {"quality": {**STRICT, "reputation": 4}}
    first, job = job_of(), Job(count=2, size=2, judges=["one"], more=rules)
    other = Job(count=2, size=2, more={"answer": {"type": "number"}, **rules})
    judge(bench, first)
    bench.swept()
    bench.fake_clock.turn(60)
    bench.take(job.opened(bench.clock.now()), other.opened(bench.clock.now()))
    names = ["one", "people/ann", "people/bob", "people/new"]
    before = bench.store.read(lambda c: reputations.earlier(c, job.id, names))
    assert list(before) == names[:3]
    assert all(compared == 4 for _, compared in before.values())
    assert before["people/ann"][0] == pytest.approx(4)
    assert before["people/bob"][0] == pytest.approx(4 * 2 / 3, abs=0.1)
    assert bench.store.read(lambda c: reputations.earlier(c, other.id, names)) == {}
    assert bench.store.read(lambda c: reputations.earlier(c, first.id, names)) == {}
    bench.fake_clock.turn(60)
    judge(bench, job_of())
    bench.swept()
    assert bench.store.read(lambda c: reputations.earlier(c, job.id, names)) == before


def test_somebody_is_forgotten(bench: Bench) -> None:
    """All that is kept of them beside the jobs themselves; everybody else stays, and they do not come back."""
    for _ in range(2):
        judge(bench, job_of())
    bench.swept()
    assert bench.store.write(lambda c: reputations.forget(c, "bob")) == 2
    bench.swept()
    assert [row["worker"] for row in told(bench.store)] == ["one", "people/ann"]
    assert bench.store.write(lambda c: reputations.forget(c, "bob")) == 0


def test_jobs_that_ended_before_the_migration_are_left(bench: Bench) -> None:
    """Measuring them all would take long; those that a version before ends beside this one are measured."""
    before, beside = job_of(), job_of()
    judge(bench, before)
    bench.take(beside.opened(), beside.announced())
    migration = importlib.import_module("manyhands_aggregator.migrations.versions.0008_reputations")

    def migrate(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            migration.downgrade()
            migration.upgrade()

    bench.store.write(migrate)
    judge(bench, beside)
    bench.swept()
    assert {row[0] for row in kept(bench.store)} == {beside.id}
