"""Dead letters on file: grouped by cause, replayed for some versions, kept for so long."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from manyhands import replays
from manyhands.codec import decode
from manyhands.deadletters import Cause, suite_letter
from manyhands.messages import Suite
from manyhands_aggregator import deadfiles, deadlist, replay, tables
from manyhands_aggregator.deadlist import ALL, Which
from manyhands_aggregator.replay import Versions
from manyhands_aggregator.upkeep import Upkeep
from tests.unit.aggregator.kit import NAMES, Bench, Job, from_letter
from tests.unit.commits import lost_in_the_commit

DAY = 86_400.0


def file(bench: Bench, job: Job, suite: int, error: str = "it broke", **more: Any) -> str:
    """File a letter of a suite that a worker has set aside; its id."""
    cause = Cause(**{"code": "error", "error": error, "at": bench.clock.now(), "version": "1", "told": True, **more})
    bench.take(from_letter(suite_letter(NAMES, job.suite(suite), cause)))
    rows = bench.store.read(deadlist.listing)
    return str(next(row["id"] for row in rows if row["job"] == job.id and row["error"] == error))


def test_letters_of_one_cause_stand_together(bench: Bench) -> None:
    """Counted with their tasks and jobs, with the first and last time and the versions; the most letters first."""
    job, other = Job(count=20), Job(count=2)
    start = bench.clock.now()
    file(bench, job, 0, "no row 1", version="1")
    bench.fake_clock.turn(5)
    file(bench, job, 1, "no row 22", version="2")
    bench.fake_clock.turn(5)
    file(bench, other, 0, "no row 333", version="2")
    file(bench, job, 3, "KeyError: 'width'", version="")
    first, second = bench.store.read(deadlist.groups)
    assert first == {
        "cause": first["cause"], "kind": "tasks", "code": "error", "error": "no row #", "letters": 3, "tasks": 6,
        "jobs": 2, "first": start, "last": start + 10, "filed": start + 10, "versions": ["1", "2"],
        "example": first["example"],
    }  # fmt: skip
    assert (second["error"], second["versions"]) == ("KeyError: 'width'", [])
    assert bench.store.read(lambda c: deadlist.show(c, first["example"]))["cause"] == first["cause"]
    chosen = Which(cause=first["cause"])
    assert {row["error"] for row in bench.store.read(lambda c: deadlist.listing(c, chosen))} == {
        "no row 1", "no row 22", "no row 333",
    }  # fmt: skip
    assert bench.store.read(lambda c: deadlist.groups(c, chosen)) == [first]
    both = Which(cause=first["cause"], job=other.id)
    (alone,) = bench.store.read(lambda c: deadlist.groups(c, both))
    assert (alone["letters"], alone["versions"]) == (1, ["2"])


def test_a_replay_may_be_for_other_versions_only(bench: Bench) -> None:
    """It says which, and since when; a letter without a version is for whoever comes."""
    job = Job(count=4)
    failed, unversioned = file(bench, job, 0), file(bench, job, 1, "lost", version="")
    bench.fake_clock.turn(9)

    def headers(letter: str, versions: Versions) -> dict[str, Any]:
        found = bench.store.read(lambda c: replay.outgoing(c, NAMES, letter, bench.clock.now(), versions))
        assert found is not None
        message = decode(found[0].body, found[0].type, found[0].content_encoding)
        assert isinstance(message, Suite)
        assert message.attempt == 1
        return dict(found[0].headers)

    since = {replays.REPLAYED_AT: repr(bench.clock.now())}
    assert headers(failed, Versions()) == {}
    assert headers(failed, Versions(changed=True)) == {replays.NOT_VERSION: "1", **since}
    assert headers(failed, Versions(only="3")) == {replays.ONLY_VERSION: "3", **since}
    assert headers(unversioned, Versions(changed=True)) == {}


def test_a_letter_that_somebody_else_took_is_passed_over(bench: Bench) -> None:
    """Of two replays at once, the second finds what the first has left."""
    assert bench.store.read(lambda c: replay.outgoing(c, NAMES, "0" * 16, 0.0)) is None


def test_letters_expire(bench: Bench) -> None:
    """After so many days they leave the file, counted and logged; what came again meanwhile stays, by our own clock."""
    job = Job(count=8)
    bench.take(*job.news())
    upkeep = keeping(bench)
    bench.take(job.failed(0))
    file(bench, job, 0, at=5.0)  # a worker whose clock stands in 1970
    again = file(bench, job, 1, "again")
    bench.fake_clock.turn(60 * DAY)
    assert file(bench, job, 1, "again") == again
    young = file(bench, job, 2, "young")
    bench.fake_clock.turn(30 * DAY)
    upkeep.round()
    assert len(bench.store.read(deadlist.listing)) == 3  # exactly 90 days
    bench.fake_clock.turn(20)
    before = expired()
    with capture_logs() as said:
        upkeep.round()
    (line,) = [line for line in said if line["event"] == "dead letters expired"]
    assert (line["letters"], line["kinds"]) == (1, {"tasks": 1})
    assert {row["id"] for row in bench.store.read(deadlist.listing)} == {again, young}
    assert expired() - before == 1
    bench.fake_clock.turn(90 * DAY)
    upkeep.round()
    assert bench.store.read(deadlist.listing) == []
    assert expired() - before == 3
    assert bench.progress(job)["failed"] == 2  # as before
    bench.audit(job)


def expired() -> float:
    """Letters of tasks that have expired."""
    return REGISTRY.get_sample_value("manyhands_dead_letters_expired_total", {"kind": "tasks"}) or 0.0


def test_letters_may_be_kept_for_ever(bench: Bench) -> None:
    """With 0 days none expires."""
    job = Job(count=2)
    file(bench, job, 0)
    bench.fake_clock.turn(10_000 * DAY)
    bench.swept()
    assert len(bench.store.read(deadlist.listing)) == 1


def test_two_replicas_count_an_expiry_once(bench: Bench) -> None:
    """Who has removed a letter counts it."""
    file(bench, Job(count=2), 0)
    until = bench.clock.now() + 1
    found = bench.store.read(lambda c: deadlist.old(c, until, 9))
    assert [*found.values()] == ["tasks"]
    assert bench.store.write(lambda c: deadlist.expire(c, found, until)) == {*found}
    assert bench.store.write(lambda c: deadlist.expire(c, found, until)) == set()
    assert bench.store.read(lambda c: deadlist.old(c, until, 9)) == {}


@pytest.mark.parametrize("through", [True, False], ids=["went through", "did not"])
def test_an_expiry_of_which_the_commit_was_not_answered(bench: Bench, through: bool) -> None:
    """It is counted and logged once: by the next try, which finds the letters gone or takes them itself."""
    job = Job(count=6)
    for suite in range(3):
        file(bench, job, suite, f"broken {'abc'[suite]}")
    bench.fake_clock.turn(91 * DAY)
    upkeep, before = keeping(bench), expired()
    with lost_in_the_commit(bench.store, through=through), capture_logs() as said:
        upkeep.expire()
    assert [line["letters"] for line in said if line["event"] == "dead letters expired"] == [3]
    assert expired() - before == 3
    assert bench.store.read(deadlist.listing) == []


def test_a_letter_that_came_again_in_a_lost_commit_is_not_counted(bench: Bench) -> None:
    """The first try removed it in vain; by the second one it has come again, and stays."""
    job = Job(count=2)
    letter = file(bench, job, 0)
    bench.fake_clock.turn(91 * DAY)
    upkeep, before = keeping(bench), expired()

    def again() -> None:
        with bench.store.engine.begin() as connection:
            connection.execute(sa.update(tables.dead).values(filed=bench.clock.now()))

    with lost_in_the_commit(bench.store, through=False, meanwhile=again):
        upkeep.expire()
    assert expired() == before
    assert [row["id"] for row in bench.store.read(deadlist.listing)] == [letter]


def keeping(bench: Bench) -> Upkeep:
    """Upkeep that keeps letters for 90 days."""
    return Upkeep(bench.store, bench.intake, bench.publisher, NAMES, bench.clock, 60, keep=90 * DAY)


def test_what_an_earlier_version_filed_is_completed(bench: Bench) -> None:
    """It knew nothing of causes; until upkeep comes to its letters they are listed, and none of them expires."""
    job = Job(count=4)
    letter = file(bench, job, 0, "no row 1")
    unknown: dict[str, Any] = {"cause_id": None, "version": None, "filed": None}
    bench.store.write(lambda c: c.execute(sa.update(tables.dead).values(unknown)))
    (group,) = bench.store.read(deadlist.groups)
    assert (group["cause"], group["letters"], group["versions"]) == (None, 1, [])
    assert bench.store.read(lambda c: deadlist.ids(c, Which(until=0), after="", limit=9)) == [letter]
    assert not bench.store.read(lambda c: deadlist.old(c, 1e12, 9))
    bench.swept()
    (group,) = bench.store.read(deadlist.groups)
    other = file(bench, job, 1, "no row 2")
    assert bench.store.read(deadlist.groups)[0] == {
        **group, "letters": 2, "tasks": 4, "example": min(letter, other),
    }  # fmt: skip
    assert group["versions"] == ["1"]
    assert {row["id"] for row in bench.store.read(deadlist.listing)} == {letter, other}
    assert bench.store.write(lambda c: deadfiles.complete(c, 0.0, 9)) == 0


def test_a_question_is_about_what_there_was(bench: Bench) -> None:
    """Letters that are filed after a time are not among those up to it."""
    job = Job(count=4)
    old = file(bench, job, 0, "old")
    until = bench.store.read(lambda c: deadlist.newest(c, ALL))
    bench.fake_clock.turn(1)
    file(bench, job, 1, "new", at=1.0)  # whatever it says of itself
    which = replace(ALL, until=until)
    assert bench.store.read(lambda c: deadlist.ids(c, which, after="", limit=9)) == [old]
    assert bench.store.read(lambda c: deadlist.newest(c, Which(job="none"))) is None


def test_a_letter_shows_its_cause(bench: Bench) -> None:
    """Payload, version and cause, as JSON."""
    job = Job(count=2)
    letter = file(bench, job, 0, traceback="line 1")
    shown = bench.store.read(lambda c: deadlist.show(c, letter))
    assert (shown["version"], shown["traceback"], shown["message"]["payloads"]) == ("1", "line 1", ["task 0", "task 1"])
    assert shown["cause"] == bench.store.read(deadlist.groups)[0]["cause"]
    json.dumps(shown)
