"""From the spool to the broker."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from manyhands.broker import Outgoing
from manyhands.codec import decode
from manyhands.errors import BrokerUnavailable, Refused, StoreUnavailable, Unroutable
from manyhands.messages import Suite
from manyhands.testing import FakePublisher
from manyhands_producer.publisher import ROUND, SAVE_EVERY
from tests.unit.commits import lost_in_the_commit
from tests.unit.producer.support import Bench, HeldPublisher, job_spec


def tasks(count: int) -> list[dict[str, Any]]:
    """Tasks to be pushed."""
    return [{"payload": i} for i in range(count)]


def test_every_judge_and_slot_gets_its_suite(tmp_path: Path) -> None:
    """A suite goes once to each judge and slot, with digest and expiry; no truth travels with it."""
    bench = Bench(tmp_path)
    spec = job_spec(stages=[{"judges": [{"a": 2}, "b"]}], deadline=60, max_attempts=5)
    job = bench.requests.submit(spec, tasks=[{"payload": "x", "id": "i", "truth": "t"}], seal=True)
    bench.publish()
    suites = bench.suites(job)
    assert [(s.judge, s.slot) for s in suites] == [("a", 0), ("a", 1), ("b", 0)]
    assert {(s.suite, tuple(s.positions), tuple(s.payloads), s.spec, s.attempt) for s in suites} == {
        (0, (0,), ("x",), spec.digest, 1)
    }
    assert {s.max_attempts for s in suites} == {5}
    assert suites[0].expires_at == pytest.approx(bench.live(job).opened + 60)
    assert {m.key for m in bench.publisher.published if m.type == "suite.v1"} == {"a", "b"}
    assert {"tasks.a", "tasks.b"} <= bench.broker.declared[0]


def test_one_suite_goes_ahead_of_the_news(tmp_path: Path) -> None:
    """Whoever waits for a single task waits for no message but its own; the news of all suites is the next."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(stages=[{"judges": [{"a": 2}]}]), tasks=tasks(6))
    bench.publish()
    bench.requests.push(job, tasks(1))
    bench.publish()
    said = [m.suite if isinstance(m, Suite) else m.name for m in bench.said]
    assert said == ["job.opened", 0, 0, "suites.opened", 1, 1, 2, 2, 3, 3, "suites.opened"]
    assert [told["suites"] for told in bench.told("suites.opened", job)] == [[0, 1, 2], [3]]


def test_a_cursor_waits_for_others_to_be_committed_with(tmp_path: Path) -> None:
    """What is confirmed is noted a moment later, in one commit with whatever is confirmed by then."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(2))
    bench.pump.round()
    bench.pump.round()
    assert bench.store.job(job).published == 0
    bench.requests.push(job, tasks(2))
    bench.pump.round()
    assert len(bench.suites(job)) == 2
    bench.clock.turn(SAVE_EVERY)
    bench.pump.round()
    assert bench.store.job(job).published == 2


def test_the_window_bounds_what_is_in_flight(tmp_path: Path) -> None:
    """Never more than in_flight suites are published and unsettled; news that comes twice makes no extra room."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=3), tasks=tasks(20))
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1, 2]
    for _ in range(3):
        bench.settle(job, [1])
    bench.settle(job, [99])
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1, 2, 3]


@pytest.mark.parametrize("through", [True, False], ids=["through", "undone"])
def test_settled_suites_of_which_the_commit_was_not_answered(tmp_path: Path, through: bool) -> None:
    """They make room in the window, whether the store had their end the first time or the second."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=3), tasks=tasks(20))
    bench.publish()
    with lost_in_the_commit(bench.store, through=through):
        bench.settle(job, [0, 1])
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1, 2, 3, 4]
    assert bench.store.job(job).settled == 2
    assert bench.requests.status(job)["in_flight"] == 3


def test_jobs_share_the_queue(tmp_path: Path) -> None:
    """A small job that comes behind a large one is published suite by suite with it."""
    bench = Bench(tmp_path)
    large = bench.requests.submit(job_spec(in_flight=10_000), tasks=tasks(4 * ROUND))
    bench.pump.round()
    small = bench.requests.submit(job_spec(in_flight=10_000), tasks=tasks(20))
    before = len(bench.suites())
    bench.pump.round()
    order = [s.job for s in bench.suites()][before:]
    assert order[:20].count(small) == 10
    assert {large, small} == set(order)


def test_the_cursor_follows_the_confirmed_prefix(tmp_path: Path) -> None:
    """The cursor stands before the first suite of which a slot or the news is not confirmed, and goes on later."""
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(), tasks=tasks(8))

    def number(message: Outgoing) -> int | None:
        decoded = decode(message.body, message.type, message.content_encoding)
        return decoded.suite if isinstance(decoded, Suite) else None

    bench.publish()
    publisher.confirm(lambda m: number(m) in (0, 1, 3))
    bench.publish()
    assert bench.store.job(job).published == 0  # the news of them is not confirmed
    publisher.confirm(lambda m: number(m) is None)
    bench.publish()
    assert bench.store.job(job).published == 2
    publisher.confirm()
    bench.publish()
    assert bench.store.job(job).published == 4


def test_a_crash_publishes_again_what_was_not_confirmed(tmp_path: Path) -> None:
    """After a crash suites beyond the cursor go out again, confirmed ones stay in the window, settled ones are gone."""
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(in_flight=4), tasks=tasks(20))
    bench.publish()
    publisher.confirm(lambda m: m.type == "event.v1" or decode(m.body, m.type).suite in (0, 1))  # type: ignore[union-attr]
    bench.publish()
    bench.settle(job, [0, 3])  # 3 was judged before its confirm came
    again = Bench(tmp_path)
    again.publish()
    assert [s.suite for s in again.suites(job)] == [2, 4, 5]
    assert set(again.live(job).unsettled) == {1, 2, 4, 5}
    assert again.told("job.opened", job) == []


def test_a_broker_that_forgets_is_told_everything_again(tmp_path: Path) -> None:
    """Where the broker is not durable all that is unsettled goes out again after a restart, the job's news too."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(6), seal=True)
    bench.publish()
    bench.settle(job, [1])
    assert bench.store.job(job).closed
    again = Bench(tmp_path, durable=False)
    again.publish()
    assert [s.suite for s in again.suites(job)] == [0, 2]
    assert len(again.told("job.opened", job)) == len(again.told("job.sealed", job)) == 1


def test_failed_publishes_are_published_again(tmp_path: Path) -> None:
    """Whatever a publish fails with, it goes out again after a back-off, and only what failed."""
    errors = [BrokerUnavailable("gone"), Refused("full"), None, Unroutable("nobody"), None, None]
    publisher = FakePublisher(errors)
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(), tasks=tasks(6), seal=True)
    bench.pump.round()
    assert bench.told("job.opened", job) == []
    bench.pump.round()
    assert [s.suite for s in bench.suites(job)] == [2]  # it waits
    bench.clock.turn(60)
    bench.publish()
    assert sorted(s.suite for s in bench.suites(job)) == [0, 1, 2]
    assert len(bench.told("job.opened", job)) == len(bench.told("suites.opened", job)) == 1
    assert bench.told("job.sealed", job) == [{"tasks": 6, "suites": 3}]
    assert bench.store.job(job).published == 3
    assert len(bench.broker.declared) == 2  # a queue was gone: declared once more


def test_what_failed_and_is_settled_by_now_is_let_go(tmp_path: Path) -> None:
    """A publish that seemed to fail may have arrived; once its suite is settled nobody sends it again."""
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(), tasks=tasks(4), seal=True)
    bench.publish()
    publisher.confirm(lambda m: m.type == "event.v1")
    publisher.confirm(error=BrokerUnavailable("gone"))
    bench.settle(job, [0, 1])
    bench.pump.round()
    bench.clock.turn(60)
    bench.publish()
    publisher.confirm()
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1]
    assert bench.told("job.sealed", job) == [{"tasks": 4, "suites": 2}]
    row = bench.store.job(job)
    assert (row.published, row.closed) == (2, True)


def test_sealed_comes_after_all_news_is_confirmed(tmp_path: Path) -> None:
    """The aggregator hears that a job is sealed when it can know of every suite."""
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(), tasks=tasks(2), seal=True)
    bench.publish()
    assert bench.told("job.sealed", job) == []
    publisher.confirm()
    bench.publish()
    assert bench.told("job.sealed", job) == [{"tasks": 2, "suites": 1}]
    again = Bench(tmp_path)  # a crash before its confirm
    again.publish()
    assert again.told("job.sealed", job) == [{"tasks": 2, "suites": 1}]
    assert Bench(tmp_path).live(job).closed


def test_cancelling_announces_the_rest_and_empties_the_spool(tmp_path: Path) -> None:
    """A cancelled job's unpublished tasks are announced, so that they can be counted, and judged by nobody."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(in_flight=2), tasks=tasks(20))
    bench.publish()
    bench.requests.cancel(job, "enough")
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1]
    assert [n for e in bench.told("suites.opened", job) for n in e["suites"]] == list(range(10))
    assert bench.told("job.cancelled", job) == [{"reason": "enough", "tasks": 20, "suites": 10}]
    assert bench.requests.audit(job)["spooled"] == 0
    assert bench.board.get(job) is None
    assert bench.requests.status(job)["state"] == "cancelled"


def test_a_sealed_job_can_be_cancelled(tmp_path: Path) -> None:
    """That a job was sealed is not the last word: a later cancellation is told too, also after a restart."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(4), seal=True)
    bench.publish()
    bench.requests.cancel(job)
    again = Bench(tmp_path)
    again.publish()
    assert again.told("job.cancelled", job) == [{"reason": "cancelled by request", "tasks": 4, "suites": 2}]
    bench.publish()
    assert len(bench.told("job.cancelled", job)) == 1


def test_much_news_is_parted(tmp_path: Path) -> None:
    """News of suites with long ids goes out in several events, each of a bounded size."""
    bench = Bench(tmp_path)
    pushed = [{"payload": i, "id": f"{i:0400}"} for i in range(2000)]
    job = bench.requests.submit(job_spec(suite=100, in_flight=1000), tasks=pushed)
    bench.publish()
    opened = bench.told("suites.opened", job)
    assert len(opened) == 4
    assert all(len(json.dumps(e)) < 300_000 for e in opened)
    assert [n for e in opened for n in e["suites"]] == list(range(20))


def test_unconfirmed_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many bytes unconfirmed nothing is published until confirms come, from another thread."""
    from manyhands_producer import courier

    monkeypatch.setattr(courier, "UNCONFIRMED_BYTES", 3000)
    publisher = HeldPublisher()
    bench = Bench(tmp_path, publisher)
    job = bench.requests.submit(job_spec(suite=1), tasks=[{"payload": "x" * 1000} for _ in range(50)], seal=True)
    most = 0

    def sleep(_rung: int, _timeout: float) -> None:
        nonlocal most
        most = max(most, sum(len(m.body) for m, _ in publisher.held))
        publisher.confirm()

    monkeypatch.setattr(bench.pump._courier, "sleep", sleep)
    bench.publish()
    publisher.confirm()
    bench.publish()
    assert len(bench.suites(job)) == 50
    assert 3000 < most < 6000


def two_jobs(bench: Bench) -> list[str]:
    """Two jobs of three suites each, for two judges."""
    spec = job_spec(stages=[{"judges": ["a", "b"]}])
    return [bench.requests.submit(spec, tasks=tasks(6), seal=True) for _ in range(2)]


def all_sent_once(bench: Bench, jobs: list[str]) -> None:
    """Every suite of the jobs went out once to each judge, was announced, and the jobs are closed."""
    for job in jobs:
        assert sorted((s.suite, s.judge) for s in bench.suites(job)) == [(n, j) for n in range(3) for j in "ab"]
        assert sorted(n for e in bench.told("suites.opened", job) for n in e["suites"]) == [0, 1, 2]
        row = bench.store.job(job)
        assert (row.published, row.closed) == (3, True)


def failing_once(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, call: int, error: Exception) -> None:
    """Let one call of a method, counted from 1, raise."""
    method, calls = getattr(target, name), itertools.count(1)

    def calling(*given: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise error
        return method(*given, **named)

    monkeypatch.setattr(target, name, calling)


def test_a_store_that_goes_between_two_jobs_costs_neither_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken out of the spool for the first job is sent, though the second job's could not be taken."""
    bench = Bench(tmp_path)
    jobs = two_jobs(bench)
    failing_once(monkeypatch, bench.store, "waiting", 2, StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        bench.pump.round()
    assert (len(bench.suites(jobs[0])), len(bench.suites(jobs[1]))) == (6, 0)
    bench.publish()
    all_sent_once(bench, jobs)


def test_rows_that_cannot_be_read_hold_up_their_own_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other job goes on; the one at fault is tried again after a back-off, from where it was."""
    bench = Bench(tmp_path)
    jobs = two_jobs(bench)
    failing_once(monkeypatch, bench.store, "waiting", 1, ValueError("not MessagePack"))
    bench.pump.round()
    assert (len(bench.suites(jobs[0])), len(bench.suites(jobs[1]))) == (0, 6)
    bench.clock.turn(60)
    bench.publish()
    all_sent_once(bench, jobs)


@pytest.mark.parametrize(("name", "call"), [("suite", 1), ("suite", 2), ("suite", 3), ("opened", 1), ("opened", 2)])
def test_what_stops_a_round_half_way_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    """Whatever is not sent when an error ends the round is sent by the next ones, and nothing is sent twice."""
    bench = Bench(tmp_path)
    jobs = two_jobs(bench)
    failing_once(monkeypatch, bench.pump._messages, name, call, StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        bench.pump.round()
    bench.publish()
    all_sent_once(bench, jobs)
