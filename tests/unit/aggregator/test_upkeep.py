"""Upkeep goes on: what cannot be published, or a step that fails, costs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from manyhands.broker import Outgoing
from manyhands.broker.protocol import Confirmed
from manyhands.errors import BrokerError, BrokerUnavailable, Refused
from manyhands.testing import FakePublisher
from manyhands_aggregator import early, held
from manyhands_aggregator.confirms import publish_all, publish_each
from manyhands_aggregator.upkeep import Upkeep
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, letters, said

HOLD = 60.0
Refusal = Callable[[Outgoing], BrokerError | None]


class Picky(FakePublisher):
    """Confirms but what ``refusal`` has an error for."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Keep it, or not."""
        error = self.refusal(message)
        if error is None:
            super().publish(message, confirmed)
        else:
            confirmed(error)


def about(*jobs: Job) -> Refusal:
    """The broker has no place for a message about these."""
    names = [job.id.encode() for job in jobs]
    return lambda message: Refused("no place") if any(name in message.body for name in names) else None


def upkeep_of(bench: Bench, publisher: Picky) -> Upkeep:
    """Upkeep that publishes there."""
    return Upkeep(bench.store, bench.intake, publisher, NAMES, bench.clock, HOLD)


def waits(log: list[Any]) -> list[tuple[str, str]]:
    """What upkeep said of itself, and of which step."""
    return [(line["event"], line["step"]) for line in log if line["event"].startswith("upkeep")]


def still_held(bench: Bench) -> int:
    """How many messages are held."""
    return len(bench.store.read(lambda c: early.older(c, 1e12, 100)))


def test_a_letter_that_is_refused_stops_nothing(bench: Bench) -> None:
    """The other letters go out, deadlines are kept, ends are told; it stays held, said once, and goes when it can."""
    strange, other, late = Job(), Job(), Job(count=2, more={"deadline": 30})
    bench.take(*late.news(), strange.judged(0), other.judged(0))
    bench.fake_clock.turn(HOLD + 1)
    publisher = Picky(about(strange))
    upkeep = upkeep_of(bench, publisher)
    with capture_logs() as log:
        for _ in range(3):
            assert upkeep.round()
            bench.fake_clock.turn(1)
    assert waits(log) == [("upkeep waits", "held judgments that cannot be published")]
    assert sum(line["event"] == "set aside" for line in log) == 1, "the one that was"
    assert [letter.body for letter in letters(publisher.published)] == [delivery(other.judged(0)).body]
    assert [event.job for event in said(publisher.published)] == [late.id]
    assert bench.state(late) == "partial"
    publisher.refusal = about()
    bench.fake_clock.turn(held.STUCK_SECONDS)
    with capture_logs() as log:
        assert not upkeep.round()
    assert waits(log) == [("upkeep goes on", "held judgments that cannot be published")]
    assert letters(publisher.published)[-1].body == delivery(strange.judged(0)).body


def test_held_judgments_whose_news_is_refused_cost_no_others(bench: Bench) -> None:
    """Those of the same look are taken in one by one."""
    jobs = [Job(count=2) for _ in range(4)]
    bench.take(*(job.judged(0) for job in jobs))
    bench.take(*(news for job in jobs for news in job.news()))
    publisher = Picky(about(jobs[1]))
    upkeep = upkeep_of(bench, publisher)
    assert upkeep.round()
    assert {event.job for event in said(publisher.published)} == {job.id for job in jobs if job is not jobs[1]}
    assert still_held(bench) == 1
    publisher.refusal = about()
    bench.fake_clock.turn(held.STUCK_SECONDS)
    assert not upkeep.round()
    assert said(publisher.published)[-1].job == jobs[1].id


def test_however_many_are_refused_the_next_is_reached(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fill more than one look, and are older; between two tries of theirs nothing is published twice."""
    monkeypatch.setattr(held, "SOME", 2)
    jobs = [Job() for _ in range(7)]
    for job in jobs:
        bench.take(job.judged(0))
        bench.fake_clock.turn(0.001)
    bench.fake_clock.turn(HOLD + 1)
    tried: list[Outgoing] = []
    refused = about(*jobs[:6])

    def refusal(message: Outgoing) -> BrokerError | None:
        tried.append(message)
        return refused(message)

    upkeep = upkeep_of(bench, Picky(refusal))
    for _ in range(3):
        assert upkeep.round()
    assert len(tried) == len(jobs)
    assert still_held(bench) == 6


def test_a_broker_that_is_away_is_asked_once_a_round(bench: Bench) -> None:
    """It is no message's fault: all of them stay held, and none waits longer than until the broker is there."""
    for _ in range(5):
        bench.take(Job().judged(0))
    bench.fake_clock.turn(HOLD + 1)
    publisher = Picky(lambda _: BrokerUnavailable("gone"))
    upkeep = upkeep_of(bench, publisher)
    with capture_logs() as log:
        assert upkeep.round()
        assert upkeep.round()
    assert waits(log) == [("upkeep waits", "judgments held too long")]
    publisher.refusal = about()
    assert not upkeep.round()
    assert len(letters(publisher.published)) == 5


def test_ends_are_told_one_by_one(bench: Bench) -> None:
    """Of two jobs that ended by the clock, the one whose news is refused is told when it can be."""
    jobs = [Job(count=2, more={"deadline": 30}) for _ in range(2)]
    bench.take(*(news for job in jobs for news in job.news()))
    bench.fake_clock.turn(31)
    publisher = Picky(about(jobs[0]))
    upkeep = upkeep_of(bench, publisher)
    upkeep.round()
    upkeep.round()
    assert [event.job for event in said(publisher.published)] == [jobs[1].id]
    publisher.refusal = about()
    upkeep.round()
    assert [event.job for event in said(publisher.published)] == [jobs[1].id, jobs[0].id]


def test_a_step_with_a_bug_stops_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once, with its traceback, and the deadlines are kept."""

    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    job = Job(count=2, more={"deadline": 30})
    bench.take(*job.news(), Job().judged(0))
    monkeypatch.setattr(early, "older", faulty)
    bench.fake_clock.turn(HOLD + 1)
    with capture_logs() as log:
        bench.upkeep.round()
        bench.upkeep.round()
    (line,) = [line for line in log if line["event"] == "upkeep failed"]
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert bench.state(job) == "partial"


def test_each_confirm_is_told(bench: Bench) -> None:
    """In the order of the messages; a fault of one's own comes before a broker that is away."""
    jobs = [Job(count=1) for _ in range(3)]
    bench.take(*(news for job in jobs for news in job.news()))
    messages = [m for job in jobs for m in bench.take(job.judged(0)) if b"completed" in m.body]
    away, refused = BrokerUnavailable("gone"), Refused("no place")
    publisher = Picky(lambda m: {jobs[0].id.encode(): away, jobs[1].id.encode(): refused}.get(_job(m, jobs)))
    assert publish_each(publisher, messages) == [away, refused, None]
    with pytest.raises(Refused):
        publish_all(publisher, messages)


def _job(message: Outgoing, jobs: list[Job]) -> bytes:
    return next(name for job in jobs if (name := job.id.encode()) in message.body)


def test_a_confirm_that_never_comes_is_not_waited_for() -> None:
    """Nobody knows whether it arrived."""

    class Silent(FakePublisher):
        def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
            """Say nothing."""

    (error,) = publish_each(Silent(), [Outgoing(exchange="x", key="k", body=b"", type="t")], timeout=0.01)
    assert isinstance(error, BrokerUnavailable)
