"""Whatever is set aside, its tasks have an end: they are judged again, or they have failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from manyhands.broker import Delivery, Outgoing
from manyhands.codec import encode
from manyhands.deadletters import Cause, raw_letter
from manyhands.messages import Event, Failure, Suite
from manyhands_aggregator import deadlist, judging
from manyhands_aggregator.held import KEEP_SECONDS
from manyhands_worker.findings import Findings, Problem
from manyhands_worker.report import Report, Station, messages
from manyhands_worker.report import raw_letter as workers_raw_letter
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, from_letter, letters, said

LARGE = Failure(code="too-large", message="too large")
STATION = Station(names=NAMES, worker="w", host="h")


def names(events: list[Event]) -> list[str]:
    """The names of events."""
    return [event.name for event in events]


def damaged(found: Delivery, **changes: Any) -> Delivery:
    """A delivery with columns changed, or left out where the change is `...`."""
    columns = msgpack.unpackb(found.body, strict_map_key=False) | changes
    body = msgpack.packb({key: value for key, value in columns.items() if value is not ...})
    return replace(found, body=body, content_encoding=None)


def read_back(bench: Bench, out: list[Outgoing]) -> list[Event]:
    """The letters among what went out are filed; the events that this leads to."""
    found = letters(out)
    assert len(found) == 1
    return bench.events(*map(from_letter, found))


def filed(bench: Bench, job: Job) -> list[tuple[str, int, int]]:
    """Code, tasks and times of the job's letters on file."""
    rows = bench.store.read(lambda c: deadlist.listing(c, deadlist.Which(job=job.id)))
    return [(row["code"], row["tasks"], row["times"]) for row in rows]


# -- letters that nobody else speaks for -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["undecodable", "child-died"])
def test_a_suite_that_a_worker_could_not_use(bench: Bench, code: str) -> None:
    """It is over the worker's limit, or could not be examined: its tasks fail, and a replay mends them."""
    job = Job(count=4)
    bench.take(*job.news(), job.judged(1))
    letter = from_letter(workers_raw_letter(delivery(job.suite(0), "tasks.one"), "why", STATION, 1.0, code))
    events = bench.events(letter)
    assert names(events) == ["suites.settled", "job.completed"]
    assert events[-1].data["state"] == "partial"
    assert bench.codes(job) == {0: code, 1: code}
    assert bench.events(letter) == events
    assert bench.events(job.judged(0))[-1].data["state"] == "complete"
    assert bench.events(letter) == bench.events(job.judged(0))
    assert bench.counts(job) == (4, 4, 0, 0, 0)


def test_a_suite_that_is_no_suite(bench: Bench) -> None:
    """A column is wrong, but it can be read which tasks it was about."""
    job = Job(count=2)
    bench.take(*job.news())
    found = damaged(delivery(job.suite(0), "tasks.one"), payloads=["one too few"])
    bench.take(from_letter(workers_raw_letter(found, "why", STATION, 1.0)))
    assert bench.codes(job) == {0: "undecodable", 1: "undecodable"}
    assert bench.state(job) == "partial"
    assert filed(bench, job) == [("undecodable", 2, 1)]


def test_a_workers_letter_for_failed_tasks_is_told(bench: Bench) -> None:
    """Its judgments say what failed; the letter alone, which may come first, changes nothing."""
    job = Job(count=2)
    bench.take(*job.news())
    problems = {1: Problem(code="error", message="it broke")}
    findings = Findings(values=["a", None], confidences=None, problems=problems)
    report = Report(suite=job.suite(0), findings=findings, version="1", started=1.0, finished=2.0, headers={})
    judgments, letter = messages(report, STATION)
    assert bench.take(from_letter(letter)) == []
    assert bench.counts(job) == (2, 0, 0, 0, 2)
    exchange = NAMES.to_aggregator(job.id, 0)[0]
    assert judgments.exchange == exchange
    bench.take(Delivery(queue="judgments.0", key="0", body=judgments.body, type=judgments.type))
    assert bench.codes(job) == {1: "error"}


def test_judgments_that_we_gave_up_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own over one message: its tasks fail, with what happened."""
    job = Job(count=2)
    bench.take(*job.news())

    def faulty(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(judging, "judge", faulty)
        out = bench.take(job.judged(0))
    assert "mh-told" not in letters(out)[0].headers
    assert names(read_back(bench, out)) == ["suites.settled", "job.completed"]
    assert bench.codes(job) == {0: "error", 1: "error"}


@pytest.mark.parametrize("spoil", [False, True], ids=["judgments", "undecodable"])
@pytest.mark.parametrize("late", [10.0, 100_000.0])
def test_news_that_comes_when_its_judgments_are_set_aside(bench: Bench, spoil: bool, late: float) -> None:
    """However late the news of a suite comes, its tasks end: they failed as strangers, until a replay."""
    job = Job(count=2)
    found = delivery(job.judged(0))
    bench.take(damaged(found, values=["a"]) if spoil else found)
    bench.fake_clock.turn(61)
    assert read_back(bench, bench.swept()) == []
    bench.fake_clock.turn(late)
    assert bench.swept() == []  # what we conclude ourselves leads to no letter of its own
    bench.take(*job.news())
    assert names(said(bench.swept())) == ["suites.settled", "job.completed"]
    assert bench.codes(job) == {0: "stranger", 1: "stranger"}
    assert bench.events(job.judged(0))[-1].data["state"] == "complete"
    assert bench.swept() == []


def test_what_is_held_of_a_job_that_never_comes_is_dropped_in_the_end(bench: Bench) -> None:
    """Its letter stays on file; nothing goes round."""
    job = Job(count=2)
    bench.take(job.judged(0))
    bench.fake_clock.turn(61)
    read_back(bench, bench.swept())
    bench.fake_clock.turn(KEEP_SECONDS + 1)
    assert bench.swept() == []
    bench.take(*job.news())
    assert bench.swept() == []
    assert filed(bench, job) == [("stranger", 2, 1)]


# -- judgments that are none, of tasks that are ours -------------------------------------------------------------------


DAMAGES: dict[str, dict[str, Any]] = {
    "short": {"values": ["a"]},
    "long": {"values": ["a", "a", "a"]},
    "none": {"values": ...},
    "map": {"values": {}},
    "confidences": {"confidences": [2, 0]},
    "errors": {"errors": {77: {"code": "c", "message": "m"}}},
    "failure": {"errors": {0: "why"}},
    "worker": {"worker": 7},
    "started": {"started": float("nan")},
}


def spoiled(job: Job, change: dict[str, Any], **more: Any) -> Delivery:
    """Judgments with a wrong column."""
    return damaged(delivery(job.judged(0, **more)), **change)


def strange(job: Job, change: dict[str, Any], **more: Any) -> Delivery:
    """Judgments that name positions of others."""
    positions = [0, 1, *change["positions"]]
    return delivery(job.judged(0, positions=positions, **more))


STRANGE: dict[str, dict[str, Any]] = {"next": {"positions": [2]}, "far": {"positions": [999, 1 << 52]}}
Make = Callable[..., Delivery]
BAD: list[Any] = [
    *(pytest.param(spoiled, change, "undecodable", id=name) for name, change in DAMAGES.items()),
    *(pytest.param(strange, change, "stranger", id=name) for name, change in STRANGE.items()),
]


@pytest.mark.parametrize(("make", "change", "code"), BAD)
def test_bad_judgments_count_as_invalid_answers(bench: Bench, make: Make, change: dict[str, Any], code: str) -> None:
    """Set aside with their bytes, and judged again until the attempts are used up; then the tasks have failed."""
    job = Job(count=4, more={"max_attempts": 2})
    bench.take(*job.news(), job.judged(1))
    out = bench.take(make(job, change))
    (event,) = said(out)
    assert event == Event(
        name="suite.escalated",
        job=job.id,
        data={
            "suite": 0, "stage": 0, "judge": "one", "slot": 0, "positions": [0, 1], "attempt": 2,
            "reason": "invalid-answer",
        },
    )  # fmt: skip
    (letter,) = letters(out)
    assert (letter.headers["mh-code"], letter.headers["mh-told"]) == (code, True)
    assert letter.body == make(job, change).body
    assert read_back(bench, out) == []
    assert bench.counts(job) == (4, 2, 0, 0, 2)
    assert bench.events(make(job, change)) == [event]
    out = bench.take(make(job, change, attempt=2))
    assert names(said(out)) == ["suites.settled", "job.completed"]
    assert letters(out)[0].headers["mh-told"] is True
    assert bench.codes(job) == {0: "invalid-answer", 1: "invalid-answer"}
    assert bench.counts(job) == (4, 2, 2, 0, 0)
    again = bench.take(make(job, change))  # out of turn: it is set aside, and asks for nothing any more
    assert "suite.escalated" not in names(said(again))
    assert len(letters(again)) == 1
    assert bench.events(job.judged(0))[-1].data["state"] == "complete"
    assert bench.answers(job).values == ["a"] * 4


def test_only_what_is_still_open_of_bad_judgments_is_asked_for_again(bench: Bench) -> None:
    """What was answered stays."""
    job = Job(count=2)
    bench.take(*job.news(), job.judged(0, "b", positions=[1]))
    (event,) = bench.events(spoiled(job, {"values": []}))
    assert event.data["positions"] == [0]
    (event,) = bench.events(strange(job, {"positions": [9]}))
    assert event.data["positions"] == [0]
    bench.take(job.judged(0, "a", positions=[0], attempt=2))
    assert bench.answers(job).values == ["a", "b"]


def test_refused_positions_are_nobodys(bench: Bench) -> None:
    """Judgments that name one as well are judged again for the others."""
    job = Job(count=2, refused={0: LARGE})
    bench.take(*job.news())
    out = bench.take(job.judged(0, positions=[0, 1]))
    assert said(out)[0].data["positions"] == [1]
    assert letters(out)[0].headers["mh-code"] == "stranger"


def test_bad_judgments_wait_for_their_news(bench: Bench) -> None:
    """They may come early like any others."""
    job = Job(count=2)
    assert bench.take(spoiled(job, {"values": []})) == []
    bench.take(*job.news())
    out = bench.swept()
    assert names(said(out)) == ["suite.escalated"]
    assert letters(out)[0].body == spoiled(job, {"values": []}).body
    assert bench.swept() == []


@pytest.mark.parametrize("make", [spoiled, strange])
@pytest.mark.parametrize("change", [{"judge": "two"}, {"slot": 1}], ids=["judge", "slot"])
def test_bad_judgments_of_nobody_change_nothing(bench: Bench, make: Make, change: dict[str, Any]) -> None:
    """Who is not in the plan is asked for nothing, and its letter fails nothing."""
    job = Job(count=2)
    bench.take(*job.news())
    out = bench.take(make(job, {"positions": [5], "values": []}, **change))
    assert said(out) == []
    assert "mh-told" not in letters(out)[0].headers
    assert read_back(bench, out) == []
    assert bench.counts(job) == (2, 0, 0, 0, 2)


def test_bad_judgments_of_a_cancelled_job(bench: Bench) -> None:
    """They are too late for anything, but they are set aside."""
    job = Job(count=2)
    bench.take(job.opened(), job.announced(), job.cancelled())
    (letter,) = letters(bench.take(spoiled(job, {"values": []})))
    assert letter.headers["mh-code"] == "undecodable"
    assert bench.counts(job) == (2, 0, 0, 2, 0)


def test_bad_judgments_cost_no_other(bench: Bench) -> None:
    """The good ones of their batch are taken in."""
    job = Job(count=4)
    bench.take(*job.news())
    out = bench.take(spoiled(job, {"values": []}), job.judged(1))
    assert sorted(names(said(out))) == ["suite.escalated", "suites.settled"]


@pytest.mark.parametrize("kind", ["suite", "judgments"])
def test_a_forged_told_is_no_more_than_it_says(bench: Bench, kind: str) -> None:
    """Only the boolean counts; whatever else stands in the header, the tasks fail."""
    job = Job(count=2)
    bench.take(*job.news())
    message = job.suite(0) if kind == "suite" else job.judged(0)
    encoded = encode(message)
    found = Delivery(queue="tasks.one", key="one", body=encoded.body, type=encoded.type)
    letter = raw_letter(NAMES, "tasks", found, Cause(code="x", error="y", at=0.0))
    assert isinstance(message, Suite) is (kind == "suite")
    bench.take(replace(from_letter(letter), headers={**letter.headers, "mh-told": "yes"}))
    assert bench.codes(job) == {0: "x", 1: "x"}
