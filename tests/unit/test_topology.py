"""The topology: every route leads to a queue, and queues have the arguments that keep messages safe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands import messages
from manyhands.backoff import LADDER
from manyhands.broker.amqp import matches
from manyhands.topology import DELIVERY_LIMIT, EVENTS, JUDGE_NAME, NO_LIMIT, Names, Queue, Topology, topology

JUDGES = ("svm", "near-est_2")
NAMES = Names(namespace="test", partitions=3)
WHOLE = topology(NAMES, JUDGES)
BY_NAME = {q.name: q for q in WHOLE.queues}


def taken_by(route: tuple[str, str], whole: Topology = WHOLE) -> set[str]:
    """The queues to which a route leads."""
    exchange, key = route
    kind = next(e.kind for e in whole.exchanges if e.name == exchange)
    return {b.queue for b in whole.bindings if b.exchange == exchange and matches(kind, b.key, key)}


@pytest.mark.parametrize("judge", JUDGES)
def test_suites(judge: str) -> None:
    """A suite goes to its judge's queue and nowhere else; from the retry ladder it comes back there."""
    assert taken_by(NAMES.to_judge(judge)) == {NAMES.tasks_queue(judge)}
    for rung in LADDER:
        exchange, key = NAMES.to_retry(judge, rung)
        (waits,) = taken_by((exchange, key))
        assert BY_NAME[waits].ttl == rung
        assert BY_NAME[waits].dead_letter == (NAMES.exchange("tasks"), None)
        assert taken_by((NAMES.exchange("tasks"), key)) == {NAMES.tasks_queue(judge)}


def test_a_suite_for_nobody() -> None:
    """A suite for a judge without a queue goes to dead.unrouted, through the alternate exchange."""
    tasks = next(e for e in WHOLE.exchanges if e.name == NAMES.exchange("tasks"))
    assert taken_by(NAMES.to_judge("nobody")) == set()
    assert tasks.alternate is not None
    assert taken_by((tasks.alternate, "nobody")) == {NAMES.queue("dead.unrouted")}


@given(job=st.text(), suite=st.integers(0, 10**9))
def test_judgments(job: str, suite: int) -> None:
    """All judgments of a suite go to one partition's queue, always the same."""
    (queue,) = taken_by(NAMES.to_aggregator(job, suite))
    assert queue in {NAMES.judgments_queue(p) for p in range(3)}
    assert NAMES.to_aggregator(job, suite) == Names(namespace="test", partitions=3).to_aggregator(job, suite)


def test_partitions_are_even() -> None:
    """The suites of a job spread over all partitions."""
    keys = [NAMES.to_aggregator("job", s)[1] for s in range(300)]
    assert all(keys.count(str(p)) > 60 for p in range(3))


def test_events() -> None:
    """Every event that is named in the contract goes to exactly one role."""
    named = {v for k, v in vars(messages).items() if k.isupper() and isinstance(v, str) and "." in v}
    assert named == {event for told in EVENTS.values() for event in told}
    for role, told in EVENTS.items():
        for event in told:
            assert taken_by(NAMES.to_roles(event)) == {NAMES.events_queue(role)}


@pytest.mark.parametrize("kind", ["tasks", "judgments", "events"])
def test_dead_letters(kind: str) -> None:
    """Dead letters go to the queue of their kind, whatever their name."""
    for name in ("svm", "job.opened", "none", "a.b.c"):
        assert taken_by(NAMES.to_dead(kind, name)) == {NAMES.queue(f"dead.{kind}")}
    assert NAMES.queue(f"dead.{kind}") in NAMES.dead_queues
    assert set(NAMES.dead_queues) <= BY_NAME.keys()


@pytest.mark.parametrize(
    "name", ["x" * 255, "\u00e9" * 127, "x" + "\u00e9" * 127, "\U0001f600" * 63, "a.b." * 70, "\0" * 255]
)
def test_dead_letters_of_long_names(name: str) -> None:
    """A key that a stranger chose as long as it may be is cut between two letters, so that the letter can be sent."""
    exchange, key = NAMES.to_dead("judgments", name)
    assert 251 < len(key.encode()) <= 255
    assert f"judgments.{name}".startswith(key)
    assert taken_by((exchange, key)) == {NAMES.queue("dead.judgments")}


def test_everything_has_its_place() -> None:
    """Queues and exchanges have names of their own, every queue a binding and a purpose, every binding both ends."""
    assert len(BY_NAME) == len(WHOLE.queues)
    assert {b.queue for b in WHOLE.bindings} == BY_NAME.keys()
    exchanges = {e.name for e in WHOLE.exchanges}
    assert {b.exchange for b in WHOLE.bindings} == exchanges
    assert {e.alternate for e in WHOLE.exchanges} - {None} <= exchanges
    assert all(q.purpose for q in WHOLE.queues)
    assert all(name.startswith("test.") for name in exchanges | BY_NAME.keys())


def test_what_is_set_aside_arrives() -> None:
    """Where a queue's dead letters go, a queue takes them; only the dead queues themselves have no such place."""
    for queue in WHOLE.queues:
        if queue.dead_letter is None:
            assert queue.name in NAMES.dead_queues
            continue
        exchange, key = queue.dead_letter
        if key is not None:
            (target,) = taken_by((exchange, key))
            assert target in NAMES.dead_queues


def test_arguments() -> None:
    """Queues are quorum queues that refuse when full and dead-letter at least once; limits are always stated."""
    for queue in WHOLE.queues:
        arguments = queue.arguments
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-delivery-limit"] in (DELIVERY_LIMIT, NO_LIMIT)
        assert arguments.get("x-single-active-consumer", False) == (
            ".judgments." in queue.name and "dead" not in queue.name
        )
        assert ("x-dead-letter-strategy" in arguments) == (queue.dead_letter is not None)
    assert BY_NAME["test.retry.5s"].arguments["x-message-ttl"] == 5000
    assert "x-dead-letter-routing-key" not in BY_NAME["test.retry.5s"].arguments
    assert BY_NAME["test.tasks.svm"].arguments["x-dead-letter-routing-key"] == "tasks.svm"
    assert Queue(name="q").arguments["x-delivery-limit"] == NO_LIMIT


def test_no_namespace() -> None:
    """Without a namespace the names are those of the design."""
    assert Names().to_judge("svm") == ("mh.tasks", "svm")
    assert Names().tasks_queue("svm") == "tasks.svm"


@pytest.mark.parametrize("name", ["a", "svm-2", "gpt_4o", "0", "a" * 64])
def test_judge_names(name: str) -> None:
    """A judge's name is one word of a routing key."""
    assert JUDGE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a b", "a*", "#", "a" * 65, "é"])
def test_no_judge_names(name: str) -> None:
    """What would part a routing key, or stand for others in it, is no judge's name."""
    assert not JUDGE_NAME.fullmatch(name)
