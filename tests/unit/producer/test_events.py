"""What the aggregator says to the producer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manyhands.broker import Delivery
from manyhands.codec import decode, encode
from manyhands.messages import Event, Judgments, Suite
from manyhands.runner import Outcome
from tests.unit.producer.support import Bench, job_spec


def delivery(name: str, job: str, **data: Any) -> Delivery:
    """An event as it is delivered."""
    encoded = encode(Event(name=name, job=job, data=data))
    return Delivery(queue="events.producer", key=name, body=encoded.body, type=encoded.type)


def take(bench: Bench, *deliveries: Delivery) -> Outcome:
    """What the handler says of some deliveries; it must finish all of them."""
    outcomes: list[Outcome] = []
    bench.events.handle(list(deliveries), outcomes.append)
    assert [d for o in outcomes for d in o.deliveries] == list(deliveries)
    (outcome,) = outcomes
    return outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A producer with nothing to do yet."""
    return Bench(tmp_path)


def submit(bench: Bench, **more: Any) -> str:
    """A job of three suites, the task at position 1 refused, published."""
    spec = job_spec(**({"in_flight": 2} | more))
    tasks = [{"payload": "x" * (1 << 20) if i == 1 else i} for i in range(6)]
    job = bench.requests.submit(spec, tasks=tasks, seal=True)
    bench.publish()
    return job


def test_settled_suites_leave_the_spool_once(bench: Bench) -> None:
    """News that suites are settled frees the window; coming twice, early or for strangers it changes nothing."""
    job = submit(bench)
    event = delivery("suites.settled", job, suites=[0])
    assert not take(bench, event, event, delivery("suites.settled", "nobody", suites=[1])).publish
    take(bench, event)
    assert set(bench.live(job).unsettled) == {1}
    audit = bench.requests.audit(job)
    assert (audit["settled"], audit["spooled"]) == (1, 2)
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1, 2]


def test_suites_settled_while_they_are_loaded_take_no_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite that is settled between its reading from the spool and its publishing does not leak from the window."""
    job = submit(bench)
    real = bench.store.waiting

    def slow(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        take(bench, delivery("suites.settled", job, suites=[2]))
        return found

    monkeypatch.setattr(bench.store, "waiting", slow)
    take(bench, delivery("suites.settled", job, suites=[0, 1]))
    bench.publish()
    assert not bench.live(job).unsettled
    assert [s.suite for s in bench.suites(job)] == [0, 1]


def test_an_escalated_suite_goes_to_that_slot_again(bench: Bench) -> None:
    """The positions that are asked for go to the judge's slot with the next attempt; refused ones are left out."""
    job = submit(bench)
    data = {"suite": 0, "stage": 0, "judge": "j", "slot": 0, "positions": [0, 1, 77], "attempt": 2, "reason": "invalid"}
    outcome = take(bench, delivery("suite.escalated", job, **data), delivery("suite.escalated", job, **data))
    for message in outcome.publish:
        suite = decode(message.body, message.type, message.content_encoding)
        assert isinstance(suite, Suite)
        assert (suite.suite, suite.attempt, list(suite.positions), list(suite.payloads)) == (0, 2, [0], [0])
        assert message.key == "j"
    assert len(outcome.publish) == 2


def test_escalations_of_what_is_gone_are_passed_over(bench: Bench) -> None:
    """A settled suite, a refused task, an ended job: nobody is asked again."""
    job = submit(bench)
    data: dict[str, Any] = {"suite": 0, "stage": 0, "judge": "j", "slot": 0, "positions": [0], "attempt": 2}
    take(bench, delivery("suites.settled", job, suites=[2]))
    for changed in ({"suite": 2, "positions": [4]}, {"positions": [1]}, {"suite": 99}):
        assert list(take(bench, delivery("suite.escalated", job, **(data | changed))).publish) == []
    assert list(take(bench, delivery("suite.escalated", "nobody", **data)).publish) == []
    take(bench, delivery("job.completed", job, state="partial"))
    assert list(take(bench, delivery("suite.escalated", job, **data)).publish) == []


def test_a_rating_is_noted(bench: Bench) -> None:
    """Nothing goes out of it; one that makes no sense is set aside."""
    job = submit(bench)
    rated = delivery("worker.rated", job, worker="people/eve", action="retire", reasons=["spams"])
    assert list(take(bench, rated, delivery("worker.rated", job, worker="people/eve", action=None)).publish) == []
    (letter,) = take(bench, delivery("worker.rated", job, worker=7)).publish
    assert letter.exchange.endswith("mh.dead")


def test_a_retired_judge_is_asked_no_more(bench: Bench) -> None:
    """Suites to come go to the others of the first stage; to it only when there are none, or all is published again."""
    stages = [{"judges": ["j", "k"], "accept": {"margin": 1}}, {"judges": ["l"]}]
    job = submit(bench, stages=stages, in_flight=1)
    take(bench, delivery("worker.rated", job, worker="k", action="pause"))
    take(bench, delivery("worker.rated", job, worker="j", action="retire"), delivery("suites.settled", job, suites=[0]))
    bench.publish()
    assert [(s.suite, s.judge) for s in bench.suites(job)] == [(0, "j"), (0, "k"), (1, "k")]
    take(bench, delivery("worker.rated", job, worker="k", action="retire"), delivery("suites.settled", job, suites=[1]))
    bench.publish()
    assert [(s.suite, s.judge) for s in bench.suites(job)][3:] == [(2, "j"), (2, "k")]
    bench.requests.republish(job)
    bench.publish()
    assert not bench.live(job).retired


def test_without_a_next_stage_all_are_asked(bench: Bench) -> None:
    """Nobody could be asked in the place of who is retired: an answer is made of what all of them say."""
    job = submit(bench, stages=[{"judges": ["j", "k"]}], in_flight=1)
    take(bench, delivery("worker.rated", job, worker="j", action="retire"), delivery("suites.settled", job, suites=[0]))
    bench.publish()
    assert [(s.suite, s.judge) for s in bench.suites(job)][2:] == [(1, "j"), (1, "k")]


def test_an_escalation_to_the_next_stage(bench: Bench) -> None:
    """At first only the judges of the first stage are sent anything; the others what the aggregator asks them for."""
    stages = [{"judges": ["j"], "accept": {"confidence": 0.9}}, {"judges": ["k", "l"]}]
    job = submit(bench, stages=stages)
    bench.publish()
    assert {s.judge for s in bench.suites(job)} == {"j"}
    data = {"suite": 0, "stage": 1, "judge": "l", "slot": 0, "positions": [0], "attempt": 1, "reason": "unsure"}
    (message,) = take(bench, delivery("suite.escalated", job, **data)).publish
    suite = decode(message.body, message.type, message.content_encoding)
    assert isinstance(suite, Suite)
    assert (suite.stage, suite.judge, suite.slot, list(suite.positions), suite.attempt) == (1, "l", 0, [0], 1)


@pytest.mark.parametrize("wrong", [{"judge": "stranger"}, {"stage": 1}, {"judge": "k"}])
def test_an_escalation_to_a_judge_that_the_stage_has_not(bench: Bench, wrong: dict[str, Any]) -> None:
    """It is set aside with its reason."""
    job = submit(bench)
    data: dict[str, Any] = {"suite": 0, "stage": 0, "judge": "j", "slot": 0, "positions": [0], "attempt": 2}
    (letter,) = take(bench, delivery("suite.escalated", job, **(data | wrong))).publish
    assert "has no judge" in str(letter.headers["mh-error"])


def test_a_completed_job_is_purged(bench: Bench) -> None:
    """When the aggregator has ended a job its spool goes and its state is ended; a repeat changes nothing."""
    job = submit(bench, in_flight=10)
    event = delivery("job.completed", job, state="complete", tasks=6, answered=5, failed=1, cancelled=0)
    for _ in range(2):
        take(bench, delivery("suites.settled", job, suites=[0, 1]), event)
        assert bench.board.get(job) is None
    audit = bench.requests.audit(job)
    assert (audit["state"], audit["spooled"], audit["settled"]) == ("ended", 0, 3)


def test_a_job_that_ends_early_still_announces_its_tasks(bench: Bench) -> None:
    """A job ended by its deadline tells of the tasks that were not published, so that each is accounted for."""
    job = submit(bench)
    take(bench, delivery("job.completed", job, state="partial", tasks=4, answered=0, failed=4, cancelled=0))
    bench.publish()
    assert [s.suite for s in bench.suites(job)] == [0, 1]
    assert [n for e in bench.told("suites.opened", job) for n in e["suites"]] == [0, 1, 2]
    assert bench.told("job.sealed", job) == [{"tasks": 6, "suites": 3}]
    assert bench.board.get(job) is None
    assert bench.requests.audit(job)["spooled"] == 0


def test_a_cancelled_job_stays_cancelled(bench: Bench) -> None:
    """The end of a cancelled job is no other state."""
    job = submit(bench)
    bench.requests.cancel(job)
    bench.publish()
    take(bench, delivery("job.completed", job, state="cancelled"))
    assert bench.requests.status(job)["state"] == "cancelled"


def strange() -> list[Delivery]:
    """Deliveries that are no events for the producer."""
    judgments = encode(Judgments(job="j", suite=0, stage=0, judge="j", slot=0, worker="w", positions=[0], values=[1]))
    base = delivery("suites.settled", "j", suites=[0])
    return [
        Delivery(queue="q", key="k", body=b"\xc1", type="event.v1"),
        Delivery(queue="q", key="k", body=base.body, type="event.v9"),
        Delivery(queue="q", key="k", body=judgments.body, type=judgments.type),
        delivery("job.exploded", "j"),
        delivery("suites.settled", "j", suites="all"),
        delivery("suites.settled", "j", suites=[-1]),
        delivery("suite.escalated", "j", suite=0),
        delivery("suite.escalated", "j", suite=0, stage=0, judge=5, slot=0, positions=[0], attempt=2),
        delivery("suite.escalated", "j", suite=True, stage=0, judge="j", slot=0, positions=[0], attempt=2),
    ]


@pytest.mark.parametrize("number", range(9))
def test_strange_events_are_set_aside(bench: Bench, number: int) -> None:
    """What is no event for the producer is set aside with its bytes and the reason, and acked; others are handled."""
    job = submit(bench)
    bad = strange()[number]
    outcome = take(bench, bad, delivery("suites.settled", job, suites=[0]))
    (letter,) = outcome.publish
    assert (letter.exchange, letter.body) == ("mh.dead", bad.body)
    assert letter.headers["mh-code"] == "undecodable"
    assert set(bench.live(job).unsettled) == {1}


def test_complete_is_the_last_word(bench: Bench) -> None:
    """A partial job that becomes complete by a replay is told anew; older news that comes again changes nothing."""
    job = submit(bench)
    for state, outcome in (("partial", "partial"), ("complete", "complete"), ("partial", "complete")):
        take(bench, delivery("job.completed", job, state=state))
        assert bench.requests.status(job)["outcome"] == outcome
    other = submit(bench)
    take(bench, *(delivery("job.completed", other, state=state) for state in ("complete", "partial")))
    assert bench.requests.status(other)["outcome"] == "complete"
