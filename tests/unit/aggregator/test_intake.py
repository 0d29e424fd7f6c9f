"""What the aggregator makes of deliveries."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from manyhands.broker import Delivery
from manyhands.codec import decode, encode
from manyhands.deadletters import Cause, raw_letter, suite_letter
from manyhands.errors import BrokerUnavailable, StoreUnavailable
from manyhands.messages import Event, Failure, Judgments, Message, Suite
from manyhands.testing import FakePublisher
from manyhands_aggregator import deadfiles, deadlist, jobs, judging, replay
from manyhands_aggregator.judged import Said
from manyhands_aggregator.upkeep import Upkeep
from manyhands_service.store import Conflict
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, from_letter, letters, said

LARGE = Failure(code="too-large", message="too large")


def names(events: list[Event]) -> list[str]:
    """The names of events."""
    return [event.name for event in events]


def test_a_job_from_its_opening_to_its_end(bench: Bench) -> None:
    """Judgments settle suites, and the last of them ends the job."""
    job = Job(count=5, size=2)
    assert bench.events(*job.news()) == []
    assert bench.counts(job) == (5, 0, 0, 0, 5)
    assert bench.events(job.judged(0, ["a", "b"]), job.judged(1)) == [
        Event(name="suites.settled", job=job.id, data={"suites": [0, 1]})
    ]
    assert bench.state(job) == "open"
    settled, completed = bench.events(job.judged(2, "c"))
    assert settled.data == {"suites": [2]}
    assert completed.name == "job.completed"
    assert completed.data == {"state": "complete", "tasks": 5, "answered": 5, "failed": 0, "cancelled": 0}
    assert bench.counts(job) == (5, 5, 0, 0, 0)
    assert bench.answers(job).values == ["a", "b", "a", "a", "c"]


def test_all_in_one_batch(bench: Bench) -> None:
    """News is taken in before the judgments that came with it."""
    job = Job()
    events = bench.events(*(job.judged(s) for s in range(3)), *job.news())
    assert names(events) == ["suites.settled", "job.completed"]
    assert bench.counts(job) == (6, 6, 0, 0, 0)


def test_an_empty_job_is_complete_when_it_is_sealed(bench: Bench) -> None:
    """A source without items is a job with 0 tasks."""
    job = Job(count=0)
    bench.take(job.opened())
    (completed,) = bench.events(job.sealed())
    assert completed.data["state"] == "complete"
    assert completed.data["tasks"] == 0
    assert bench.answers(job).positions == []


def test_a_seal_before_the_opening_does_not_end_a_job(bench: Bench) -> None:
    """Nothing ends before its job file is known."""
    job = Job(count=0)
    assert bench.events(job.sealed()) == []
    assert names(bench.events(job.opened())) == ["job.completed"]


def test_the_seal_may_come_last(bench: Bench) -> None:
    """A job whose suites are all settled ends with its seal."""
    job = Job()
    bench.take(job.opened(), job.announced())
    assert names(bench.events(*(job.judged(s) for s in range(3)))) == ["suites.settled"]
    assert names(bench.events(job.sealed())) == ["job.completed"]


def test_the_same_again_says_the_same_again(bench: Bench) -> None:
    """Whatever comes twice changes nothing and leads to the same messages, for the first may have been lost."""
    job = Job(refused={0: LARGE, 1: LARGE})
    messages: list[Message] = [
        *job.news(),
        job.judged(1),
        job.judged(2, ["b", "nonsense"]),
        job.judged(2, ["b", "a"], attempt=2),
    ]
    first: list[Event] = []
    for message in messages:
        first = bench.events(message)
    assert names(first) == ["suites.settled", "job.completed"]
    counts, answers = bench.counts(job), bench.answers(job)
    assert bench.events(job.judged(1)) == [
        Event(name="suites.settled", job=job.id, data={"suites": [1]}), first[-1],
    ]  # fmt: skip
    assert names(bench.events(job.opened())) == ["job.completed"]
    assert bench.events(job.announced())[0].data == {"suites": [0, 1, 2]}
    assert names(bench.events(job.sealed())) == ["job.completed"]
    assert bench.events(*messages)[-1] == first[-1]
    assert (bench.counts(job), bench.answers(job)) == (counts, answers)


def test_an_invalid_value_is_asked_for_again_each_time_it_comes(bench: Bench) -> None:
    """The escalation of an invalid answer goes out again for a repeat, until there is an answer."""
    job = Job(count=2)
    bench.take(*job.news())
    wrong = job.judged(0, ["a", "z"])
    with capture_logs() as log:
        first = bench.take(wrong)
    assert [(line["judge"], line["code"]) for line in log if line["event"] == "set aside"] == [
        ("one", "invalid-answer")
    ]
    (escalated,) = said(first)
    assert escalated.name == "suite.escalated"
    assert escalated.data == {
        "suite": 0, "stage": 0, "judge": "one", "slot": 0, "positions": [1], "attempt": 2, "reason": "invalid-answer",
    }  # fmt: skip
    (letter,) = letters(first)
    assert letter.body == delivery(wrong).body
    assert letter.key.startswith("judgments.")
    assert letter.headers["mh-code"] == "invalid-answer"
    assert "position 1: 'z' is none of the options" in letter.headers["mh-error"]
    assert said(bench.take(wrong)) == [escalated]
    assert bench.counts(job) == (2, 0, 0, 0, 2)
    bench.take(job.judged(0, "b", positions=[1], attempt=2))
    assert letters(bench.take(wrong)) == []
    assert bench.answers(job).values == ["a", "b"]


def test_only_what_is_still_open_is_asked_for_again(bench: Bench) -> None:
    """A repeat of invalid answers asks for those alone that nobody has given since."""
    job = Job(count=2)
    bench.take(*job.news())
    wrong = job.judged(0, "z")
    assert bench.events(wrong)[0].data["positions"] == [0, 1]
    bench.take(job.judged(0, "a", positions=[0], attempt=2))
    (event,) = bench.events(wrong)
    assert event.data["positions"] == [1]
    assert bench.counts(job) == (2, 0, 0, 0, 2)


def test_invalid_until_the_attempts_are_used_up(bench: Bench) -> None:
    """The last attempt's invalid answers are failures, and repeats of earlier ones ask for nothing more."""
    job = Job(count=2, more={"max_attempts": 2})
    bench.take(*job.news())
    bench.take(job.judged(0, ["z", "a"]))
    out = bench.take(job.judged(0, "z", positions=[0], attempt=2))
    assert names(said(out)) == ["suites.settled", "job.completed"]
    assert len(letters(out)) == 1
    assert bench.state(job) == "partial"
    assert bench.codes(job) == {0: "invalid-answer"}
    again = bench.take(job.judged(0, ["z", "a"]), job.judged(0, "z", positions=[0], attempt=2))
    assert letters(again) == []
    assert "suite.escalated" not in names(said(again))
    assert bench.counts(job) == (2, 1, 1, 0, 0)


def test_all_values_invalid(bench: Bench) -> None:
    """Nothing is kept of a message without any valid value, and the whole of it is asked for again."""
    job = Job(count=2)
    bench.take(*job.news())
    (event,) = bench.events(job.judged(0, "z"))
    assert event.data["positions"] == [0, 1]
    assert bench.progress(job)["judgments"] == 0
    bench.take(job.judged(0, "a", attempt=2))
    assert bench.state(job) == "complete"


def test_a_failure_is_mended_by_a_value(bench: Bench) -> None:
    """A value beats an error, whenever it comes: a partial job becomes complete by a replay."""
    job = Job(count=4)
    bench.take(*job.news(), job.failed(0))
    (_, completed) = bench.events(job.judged(1))
    assert completed.data["state"] == "partial"
    assert bench.counts(job) == (4, 2, 2, 0, 0)
    assert bench.codes(job) == {0: "error", 1: "error"}
    (_, completed) = bench.events(job.judged(0, "b", positions=[1]))
    assert completed.data == {"state": "partial", "tasks": 4, "answered": 3, "failed": 1, "cancelled": 0}
    (_, completed) = bench.events(job.judged(0, "c", positions=[0]))
    assert completed.data == {"state": "complete", "tasks": 4, "answered": 4, "failed": 0, "cancelled": 0}
    bench.take(job.failed(0))
    assert bench.answers(job).values == ["c", "b", "a", "a"]
    assert bench.counts(job) == (4, 4, 0, 0, 0)


def test_judgments_wait_for_their_job_and_their_suite(bench: Bench) -> None:
    """What comes before the news of it is held, and taken in when the news is there."""
    job = Job(count=4)
    assert bench.take(job.judged(0), job.judged(1)) == []
    bench.take(job.opened())
    assert bench.swept() == []
    bench.take(job.announced(1), job.sealed())
    assert names(said(bench.swept())) == ["suites.settled"]
    assert bench.counts(job) == (2, 2, 0, 0, 0)
    bench.take(job.announced(0))
    assert names(said(bench.swept())) == ["suites.settled", "job.completed"]
    assert bench.counts(job) == (4, 4, 0, 0, 0)
    assert bench.swept() == []


def test_held_judgments_stay_held_until_what_they_lead_to_is_confirmed(bench: Bench) -> None:
    """A broker that is away costs nothing: the next round says it again."""
    job = Job(count=2)
    bench.take(job.judged(0))
    bench.take(*job.news())
    away = FakePublisher([BrokerUnavailable("gone")])
    upkeep = Upkeep(bench.store, bench.intake, away, NAMES, bench.clock, 60)
    assert upkeep.sweep()
    assert names(said(bench.swept())) == ["suites.settled", "job.completed"]
    assert bench.counts(job) == (2, 2, 0, 0, 0)


def test_what_is_held_too_long_is_set_aside(bench: Bench) -> None:
    """Judgments of a job that nobody announces become a dead letter."""
    job = Job()
    bench.take(job.judged(0))
    bench.fake_clock.turn(59)
    bench.take(job.judged(0))  # a repeat makes it no younger
    assert bench.swept() == []
    bench.fake_clock.turn(2)
    (letter,) = letters(bench.swept())
    assert letter.headers["mh-code"] == "stranger"
    assert letter.body == delivery(job.judged(0)).body
    assert bench.swept() == []


@pytest.mark.parametrize(
    "change",
    [{"judge": "two"}, {"slot": 1}, {"stage": 1}, {"positions": [2, 3]}, {"positions": [0]}],
    ids=["judge", "slot", "stage", "position", "refused"],
)
def test_strangers(bench: Bench, change: dict[str, Any]) -> None:
    """Judgments that nobody asked for are set aside with their bytes, and change nothing."""
    job = Job(count=4, refused={0: LARGE})
    bench.take(*job.news())
    known = job.judged(0, "a", positions=[1])
    fields = {name: getattr(known, name) for name in Judgments.__dataclass_fields__}
    strange = Judgments(**{**fields, **change, "values": ["a"] * len(change.get("positions", [1]))})
    (letter,) = bench.take(strange)
    assert letter.headers["mh-code"] == "stranger"
    assert letter.body == delivery(strange).body
    assert bench.counts(job) == (4, 0, 0, 0, 4)


def test_a_stranger_costs_no_other(bench: Bench) -> None:
    """The good judgments of its batch are taken in."""
    job = Job(count=2)
    bench.take(*job.news())
    out = bench.take(job.judged(0, judge="nobody"), job.judged(0))
    assert len(letters(out)) == 1
    assert bench.state(job) == "complete"


@pytest.mark.parametrize("body", [b"", b"\xc1", b"not msgpack", msgpack.packb([1]), msgpack.packb({"job": "x"})])
@pytest.mark.parametrize("queue", ["events", "judgments"])
def test_a_body_that_is_no_message(bench: Bench, body: bytes, queue: str) -> None:
    """It goes to the dead letters with its bytes and the reason."""
    name, type_ = ("events.aggregator", "event.v1") if queue == "events" else ("judgments.0", "judgments.v1")
    (letter,) = bench.take(Delivery(queue=name, key="k", body=body, type=type_))
    assert letter.body == body
    assert letter.key == f"{queue}.k"
    assert letter.headers["mh-code"] == "undecodable"


@pytest.mark.parametrize("type_", [None, "suite.v1", "judgments.v2", "event.v1"])
def test_a_message_in_the_wrong_place(bench: Bench, type_: str | None) -> None:
    """A wrong type or version, or a suite among the judgments, is set aside."""
    encoded = encode(Job().suite(0) if type_ == "suite.v1" else Job().opened())
    found = Delivery(queue="judgments.0", key="0", body=encoded.body, type=type_)
    (letter,) = bench.take(found)
    assert letter.headers["mh-code"] == "undecodable"


FORGED: list[dict[str, Any]] = [
    {"name": "job.sealed", "data": {}},
    {"name": "job.sealed", "data": {"tasks": -1}},
    {"name": "job.sealed", "data": {"tasks": "many"}},
    {"name": "job.sealed", "data": {"tasks": 1 << 60}},
    {"name": "job.opened", "data": {"spec": {}, "opened": 1.0}},
    {"name": "job.opened", "data": {"spec": None, "opened": 1.0}},
    {"name": "job.exploded", "data": {}},
    {"name": "suites.opened", "data": {"suites": [0]}},
    {"name": "job.cancelled", "data": {"tasks": None}},
    {"name": "job.sealed", "data": {"tasks": 1}, "job": "a\0b"},
    {"name": "job.sealed", "data": {"tasks": 1}, "job": "x" * 3000},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_an_event_with_garbage(bench: Bench, forged: dict[str, Any]) -> None:
    """It becomes a dead letter, and what came with it is taken in."""
    job = Job(count=2)
    event = Event(name=forged["name"], job=forged.get("job", job.id), data=forged["data"])
    out = bench.take(job.opened(), event, job.announced())
    (letter,) = letters(out)
    assert letter.headers["mh-code"] == "invalid-event"
    assert bench.counts(job) == (2, 0, 0, 0, 2)


SUITES: dict[str, dict[str, Any]] = {
    "lengths": {"counts": [2, 2]},
    "count": {"counts": [0]},
    "huge": {"counts": [1 << 40]},
    "float": {"firsts": [0.5]},
    "negative": {"suites": [-1]},
    "twice": {
        "suites": [0, 0], "firsts": [0, 0], "counts": [2, 2], "ids": [None] * 2, "truths": [None] * 2,
        "refused": [None] * 2,
    },
    "ids": {"ids": [["x"]]},
    "id": {"ids": [["x", 7]]},
    "truths": {"truths": ["ab"]},
    "refused-elsewhere": {"refused": [{9: {"code": "c", "message": "m"}}]},
    "refused-how": {"refused": [{0: "why"}]},
    "refused-list": {"refused": [[0]]},
}  # fmt: skip


@pytest.mark.parametrize("change", SUITES.values(), ids=SUITES.keys())
def test_suites_with_garbage(bench: Bench, change: dict[str, Any]) -> None:
    """An announcement that makes no sense announces nothing."""
    job = Job(count=2)
    data = {**job.announced().data, **change}
    bench.take(job.opened())
    (letter,) = bench.take(Event(name="suites.opened", job=job.id, data=data))
    assert letter.headers["mh-code"] == "invalid-event"
    assert bench.counts(job) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("name", ["a\0b", "", "x" * 3000, "../../etc"])
def test_a_forged_job_id(bench: Bench, name: str) -> None:
    """Judgments of a job that cannot be are set aside at once, on every store."""
    forged = Job(id=name).judged(0)
    (letter,) = bench.take(forged)
    assert letter.headers["mh-code"] == "stranger"


def test_one_message_that_cannot_be_taken_in_costs_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own on one message sets that one aside, with the traceback; the others are taken in."""
    job = Job(count=6)
    bench.take(*job.news())
    real = judging._row

    def faulty(said: Said, *args: Any) -> dict[str, Any]:
        if said.message.suite == 1:
            raise ZeroDivisionError("a bug")
        return real(said, *args)

    monkeypatch.setattr(judging, "_row", faulty)
    (letter,) = letters(bench.take(*(job.judged(s) for s in range(3))))
    assert letter.body == delivery(job.judged(1)).body
    assert letter.headers["mh-code"] == "error"
    assert "a bug" in letter.headers["mh-traceback"]
    assert bench.counts(job) == (6, 4, 0, 0, 2)


def test_a_store_that_is_away_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set aside and nothing is acked while the store is away."""
    job = Job()

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "write", away)
        with pytest.raises(StoreUnavailable):
            bench.take(*job.news())
    assert bench.take(*job.news()) == []


# -- refused tasks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["opened-first", "suites-first"])
def test_a_suite_of_refused_tasks_is_settled_without_any_judge(bench: Bench, order: str) -> None:
    """Nobody will judge it, so its announcement settles it, be the job known or not."""
    job = Job(count=4, refused={0: LARGE, 1: LARGE, 3: LARGE}, truths=["a", None, "a", "a"])
    messages = [job.opened(), job.announced()] if order == "opened-first" else [job.announced(), job.opened()]
    events = [event for message in messages for event in bench.events(message)]
    assert events == [Event(name="suites.settled", job=job.id, data={"suites": [0]})]
    bench.take(job.sealed())
    assert bench.counts(job) == (4, 0, 2, 0, 2)
    (_, completed) = bench.events(job.judged(1))
    assert completed.data == {"state": "partial", "tasks": 4, "answered": 1, "failed": 3, "cancelled": 0}
    assert bench.codes(job) == {0: "too-large", 1: "too-large", 3: "too-large"}
    assert bench.progress(job)["gold"] == 3
    assert bench.progress(job)["accuracy"] == pytest.approx(1 / 3, abs=1e-6)


def test_a_job_of_refused_tasks_only(bench: Bench) -> None:
    """It ends partial with its seal."""
    job = Job(count=2, refused={0: LARGE, 1: LARGE})
    assert names(bench.events(*job.news())) == ["suites.settled", "job.completed"]
    assert bench.counts(job) == (2, 0, 2, 0, 0)


def test_judgments_of_a_suite_that_was_never_sent_out(bench: Bench) -> None:
    """They are strangers, but only after the time in which news may come."""
    job = Job(count=2, refused={0: LARGE, 1: LARGE})
    bench.take(*job.news())
    assert letters(bench.take(job.judged(0, positions=[0, 1]))) == []
    bench.fake_clock.turn(61)
    assert len(letters(bench.swept())) == 1
    assert bench.counts(job) == (2, 0, 2, 0, 0)


# -- ends before the end -----------------------------------------------------------------------------------------------


def test_a_cancelled_job_counts_what_is_open_as_cancelled(bench: Bench) -> None:
    """What was answered stays; what comes later is dropped."""
    job = Job(count=6)
    bench.take(job.opened(), job.announced(0, 1), job.judged(0))
    (completed,) = bench.events(job.cancelled())
    assert completed.data == {"state": "cancelled", "tasks": 6, "answered": 2, "failed": 0, "cancelled": 4}
    assert bench.take(job.judged(1)) != []
    assert bench.counts(job) == (6, 2, 0, 4, 0)
    assert bench.codes(job) == {2: "cancelled", 3: "cancelled"}
    bench.take(job.announced(2), job.sealed(), job.cancelled())
    assert bench.counts(job) == (6, 2, 0, 4, 0)
    assert bench.codes(job) == dict.fromkeys(range(2, 6), "cancelled")


def test_a_job_cancelled_before_it_was_heard_of(bench: Bench) -> None:
    """News may come in any order; a refused suite that is announced last is cancelled like the rest."""
    job = Job(count=4, refused={0: LARGE, 1: LARGE})
    assert names(bench.events(job.cancelled())) == ["job.completed"]
    bench.take(job.opened(), job.announced())
    assert bench.counts(job) == (4, 0, 0, 4, 0)


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
def test_an_end_between_two_announcements(bench: Bench, how: str) -> None:
    """Suites that are announced out of turn leave a gap for a while, in which nothing is lost."""
    job = Job(count=6, more={"deadline": 10})
    bench.take(job.opened(bench.clock.now()), job.announced(1))
    bench.fake_clock.turn(11)
    assert bench.take(job.cancelled()) if how == "cancelled" else bench.swept()
    assert bench.audit(job)["announced"] == 2
    bench.take(job.announced(0, 2), job.sealed())
    assert bench.counts(job) == ((6, 0, 0, 6, 0) if how == "cancelled" else (6, 0, 6, 0, 0))


def test_a_deadline_ends_a_job_with_the_answers_there_are(bench: Bench) -> None:
    """Suites that were judged in part are decided on what there is; the rest has failed of the deadline."""
    job = Job(count=8, judges=["one", "two"], more={"deadline": 100})
    bench.take(job.opened(bench.clock.now()), job.announced(0, 1, 2))
    bench.take(job.judged(0), job.judged(0, judge="two"), job.judged(1, "b"), job.failed(1, judge="two"))
    bench.take(job.judged(2, "c", positions=[4]))
    bench.fake_clock.turn(99)
    assert bench.swept() == []
    bench.fake_clock.turn(1)
    (completed,) = said(bench.swept())
    assert completed.data == {"state": "partial", "tasks": 6, "answered": 5, "failed": 1, "cancelled": 0}
    assert bench.swept() == []
    assert bench.progress(job)["reason"] == "deadline"
    assert bench.codes(job) == {5: "deadline"}
    bench.take(job.announced(3), job.sealed())
    assert bench.counts(job) == (8, 5, 3, 0, 0)
    assert bench.codes(job) == {5: "deadline", 6: "deadline", 7: "deadline"}


def test_a_deadline_completes_a_job_of_which_every_task_is_answered(bench: Bench) -> None:
    """Some judges were missing and no answer is: the state is the one that a repeat would lead to, at once."""
    job = Job(count=2, judges=["one", "two"], more={"deadline": 10})
    bench.take(job.opened(bench.clock.now()), job.announced(), job.sealed(), job.judged(0))
    bench.fake_clock.turn(11)
    (completed,) = said(bench.swept())
    assert completed.data == {"state": "complete", "tasks": 2, "answered": 2, "failed": 0, "cancelled": 0}
    assert bench.events(job.sealed()) == [completed]
    assert "reason" not in bench.progress(job)


def test_values_that_come_after_the_deadline_still_mend(bench: Bench) -> None:
    """A value beats an error at any time: late judgments turn failures into answers, and the account stays right."""
    job = Job(count=4, more={"deadline": 10})
    bench.take(job.opened(bench.clock.now()), job.announced(), job.sealed(), job.judged(0, positions=[0]))
    bench.fake_clock.turn(11)
    bench.swept()
    assert bench.counts(job) == (4, 1, 3, 0, 0)
    bench.take(job.judged(1, positions=[2]))
    assert bench.counts(job) == (4, 2, 2, 0, 0)
    bench.take(job.judged(1, positions=[3]))
    (_, completed) = bench.events(job.judged(0, positions=[1]))
    assert completed.data["state"] == "complete"
    assert bench.counts(job) == (4, 4, 0, 0, 0)
    assert "reason" not in bench.progress(job)


def test_a_job_that_ends_while_judgments_are_taken_in_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica cancels between our look at the job and its lock: the transaction starts over, and conserves."""
    job = Job(count=2)
    bench.take(*job.news())
    other = Bench(bench.store, bench.clock)
    real, calls = jobs.states, []

    def states(*args: Any) -> dict[str, str]:
        found = real(*args)
        calls.append(found)
        return {job.id: "open"} if len(calls) == 1 else found

    other.take(job.cancelled())
    monkeypatch.setattr(jobs, "states", states)
    bench.take(job.judged(0))
    assert len(calls) == 2
    assert bench.counts(job) == (2, 0, 0, 2, 0)


def test_a_conflict_that_does_not_pass_is_a_store_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries the store counts as away, and nothing is set aside."""
    job = Job(count=2)
    bench.take(*job.news())

    def never(*_: Any, **__: Any) -> None:
        raise Conflict

    monkeypatch.setattr("manyhands_aggregator.jobs.lock", never)
    with pytest.raises(StoreUnavailable):
        bench.take(job.judged(0))


# -- dead letters ------------------------------------------------------------------------------------------------------


DEATHS = [
    ("dead.tasks", {"x-death": [{"queue": "tasks.one", "reason": "delivery_limit", "count": 1}]}, "delivery-limit"),
    ("dead.unrouted", {}, "unroutable"),
    ("dead.unrouted", {"x-death": [{"queue": "retry.1s", "reason": "expired", "count": 2}]}, "unroutable"),
]


@pytest.mark.parametrize(("queue", "headers", "code"), DEATHS, ids=["limit", "unrouted", "unrouted-retry"])
def test_a_suite_that_the_broker_set_aside(bench: Bench, queue: str, headers: dict[str, Any], code: str) -> None:
    """No worker speaks for it, so its tasks fail, the job ends partial, and its replay makes it complete."""
    job = Job(count=4)
    bench.take(*job.news(), job.judged(1))
    letter = delivery(job.suite(0), queue, headers)
    events = bench.events(letter)
    assert names(events) == ["suites.settled", "job.completed"]
    assert events[-1].data["state"] == "partial"
    assert bench.codes(job) == {0: code, 1: code}
    assert bench.events(letter) == events
    (filed,) = bench.store.read(lambda c: deadlist.listing(c, deadlist.Which(job=job.id)))
    assert (filed["kind"], filed["code"], filed["tasks"], filed["times"]) == ("tasks", code, 2, 2)
    assert bench.events(job.judged(0))[-1].data["state"] == "complete"


def test_a_suite_that_was_set_aside_before_its_job_was_heard_of(bench: Bench) -> None:
    """What follows from the letter waits for the job like any judgment."""
    job = Job(count=2)
    bench.take(delivery(job.suite(0), "dead.unrouted"))
    bench.take(*job.news())
    assert names(said(bench.swept())) == ["suites.settled", "job.completed"]
    assert bench.counts(job) == (2, 0, 2, 0, 0)


def test_judgments_that_the_broker_set_aside(bench: Bench) -> None:
    """Judgments that no aggregator could take in count as failures, so that the job ends."""
    job = Job(count=2)
    bench.take(*job.news())
    death = {"x-death": [{"queue": "judgments.0", "reason": "delivery_limit", "count": 1}]}
    bench.take(delivery(job.judged(0), "dead.judgments", death))
    assert bench.codes(job) == {0: "delivery-limit", 1: "delivery-limit"}
    assert bench.state(job) == "partial"


def test_a_workers_letter_is_filed_and_says_nothing_more(bench: Bench) -> None:
    """The worker has said itself which tasks failed."""
    job = Job(count=2)
    bench.take(*job.news())
    letter = suite_letter(NAMES, job.suite(0), Cause(code="error", error="it broke", at=5.0, told=True))
    assert bench.take(from_letter(letter)) == []
    assert bench.counts(job) == (2, 0, 0, 0, 2)
    bench.take(job.failed(0))
    assert bench.state(job) == "partial"


@pytest.mark.parametrize("kind", ["tasks", "judgments", "events", "unrouted"])
def test_whatever_lies_among_the_dead_is_filed(bench: Bench, kind: str) -> None:
    """Bytes that are nothing, and texts that a store would refuse, are filed as well."""
    wild = Delivery(queue=f"dead.{kind}", key="\0k", body=b"\xff\0", type="\0", headers={"mh-code": "\0", "mh-at": "?"})
    assert bench.take(wild, Delivery(queue=f"dead.{kind}", key="k", body=b"", type=None)) == []
    assert len(bench.store.read(lambda c: deadlist.listing(c))) == 2


def test_what_is_filed_is_no_longer_than_it_came(bench: Bench) -> None:
    """Key, type and encoding are short strings, and a replay must send them."""
    longest = Delivery(
        queue="dead.judgments", key="judgments." + "\0" * 245, body=b"?", type="\0" * 255, content_encoding="\0" * 255
    )
    bench.take(longest)
    (row,) = bench.store.read(lambda c: deadlist.listing(c))
    found = bench.store.read(lambda c: deadlist.get(c, row["id"]))
    assert found is not None
    assert [len(text.encode()) for text in (found.key, found.type, found.encoding)] == [255, 255, 255]


def test_a_letter_that_leads_to_an_error_is_filed_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would go to the dead letters is there already: it must not go round for ever."""
    job = Job(count=2)
    bench.take(*job.news())

    def faulty(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(judging, "judge", faulty)
    assert bench.take(delivery(job.suite(0), "dead.unrouted")) == []
    assert len(bench.store.read(lambda c: deadlist.listing(c))) == 1


def test_our_own_letters_come_back_to_be_filed(bench: Bench) -> None:
    """An invalid answer's letter can be decoded from the file, with its cause."""
    job = Job(count=2)
    bench.take(*job.news())
    (letter,) = letters(bench.take(job.judged(0, ["a", "z"])))
    bench.take(from_letter(letter))
    (filed,) = bench.store.read(lambda c: deadlist.listing(c))
    shown = bench.store.read(lambda c: deadlist.show(c, filed["id"]))
    assert shown["code"] == "invalid-answer"
    assert shown["message"]["values"] == ["a", "z"]
    json.dumps(shown)
    restored = bench.store.read(lambda c: replay.outgoing(c, NAMES, filed["id"], 0.0))
    assert restored is not None
    assert decode(restored[0].body, restored[0].type) == job.judged(0, ["a", "z"])


def test_metrics_count_what_was_committed(bench: Bench) -> None:
    """A transaction that is tried again counts once."""
    job = Job(count=2)

    def metric(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"manyhands_{name}_total", labels) or 0.0

    before = metric("dead_letters", kind="tasks", code="unroutable"), metric("judgments", fate="kept")
    bench.take(*job.news())
    real, calls = deadfiles.file, []

    def twice(*args: Any) -> Any:
        calls.append(real(*args))
        if len(calls) == 1:
            raise Conflict
        return calls[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deadfiles, "file", twice)
        bench.take(delivery(job.suite(0), "dead.unrouted"))
    assert len(calls) == 2
    after = metric("dead_letters", kind="tasks", code="unroutable"), metric("judgments", fate="kept")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 2)


def test_raw_letters_keep_the_bytes(bench: Bench) -> None:
    """Also those of a compressed body."""
    job = Job(count=3000, size=3000)
    bench.take(*job.news())
    wrong = job.judged(0, [f"wrong {i}" for i in range(3000)])
    found = delivery(wrong)
    assert found.content_encoding == "zstd"
    (letter,) = letters(bench.take(found))
    assert (letter.body, letter.content_encoding) == (found.body, "zstd")
    again = raw_letter(NAMES, "judgments", found, Cause(code="x", error="y", at=0.0))
    assert again.body == found.body
    assert isinstance(decode(letter.body, letter.type, letter.content_encoding), Judgments)
    assert not isinstance(decode(letter.body, letter.type, letter.content_encoding), Suite)
