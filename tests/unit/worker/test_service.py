"""The worker as a whole, on the embedded broker: from the queue of a judge to the judgments."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from manyhands import metrics
from manyhands.broker import Consumer, Outgoing, Verdict
from manyhands.broker.embedded import EmbeddedBroker
from manyhands.codec import decode, encode
from manyhands.errors import BrokerUnavailable, SettingsError
from manyhands.messages import Judgments, Suite
from manyhands.settings import load
from manyhands.spec import Command
from manyhands.topology import Topology, topology
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import Sources
from tests.services import wait_until
from tests.unit.worker.harness import NAMES, PATIENCE, PLAIN, TROUBLE, suite


@contextmanager
def worker(broker: EmbeddedBroker, *handlers: str, sources: Sources | None = None, **given: Any) -> Iterator[Worker]:
    """A running worker; stopped at the end."""
    settings = load(WorkerSettings, **{"handlers": list(handlers), "children": 1, **given})
    made = Worker(settings, broker, sources=sources)
    made.start()
    try:
        yield made
    finally:
        made.stop(5)


@contextmanager
def embedded() -> Iterator[EmbeddedBroker]:
    """A broker with the queues of the aggregator."""
    broker = EmbeddedBroker("memory://")
    broker.declare(topology(NAMES))
    try:
        yield broker
    finally:
        broker.close()


def send(broker: EmbeddedBroker, *suites: Suite, suspect: bool = False) -> None:
    """Publish suites to their judges, or to be tried by them."""
    publisher = broker.publisher()
    errors: list[Any] = []
    for one in suites:
        exchange, key = NAMES.to_suspects(one.judge) if suspect else NAMES.to_judge(one.judge)
        encoded = encode(one)
        publisher.publish(
            Outgoing(
                exchange=exchange, key=key, body=encoded.body, type=encoded.type,
                content_encoding=encoded.content_encoding,
            ),
            errors.append,
        )  # fmt: skip
    assert publisher.flush(PATIENCE)
    assert errors == [None] * len(suites)
    publisher.close()


def receive(consumer: Consumer, count: int) -> list[Judgments]:
    """So many judgments, settled."""
    found: list[Judgments] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline
        for delivery in consumer.receive(100, 0.5):
            message = decode(delivery.body, delivery.type, delivery.content_encoding)
            assert isinstance(message, Judgments)
            found.append(message)
            consumer.settle([delivery], Verdict.ACK)
    return found


def aggregator(broker: EmbeddedBroker) -> Consumer:
    """A consumer of all judgments."""
    return broker.consumer([NAMES.judgments_queue(p) for p in range(NAMES.partitions)], prefetch=100)


def test_serves_all_its_judges(tmp_path: Path) -> None:
    """Handlers, and a program from a file; ready when registered; nothing is left on the queues."""
    config = tmp_path / "worker.yaml"
    shell = 'while read -r line; do echo "{\\"value\\": 1}"; done'
    config.write_text(f"commands:\n  one: {{command: [sh, -c, '{shell}']}}\n")
    with embedded() as broker, worker(broker, PLAIN, config=config, children=2) as made:
        assert made.judges == ("echo", "one", "sure", "upper")
        wait_until(lambda: not any(check() for check in made.checks.values()), PATIENCE, "ready")
        send(broker, *[suite("echo", [n], suite=n) for n in range(200)], suite("one", ["a"]), suite("sure", ["a"]))
        said = receive(aggregator(broker), 202)
        assert sorted(j.values[0] for j in said if j.judge == "echo") == list(range(200))
        assert [j.values for j in said if j.judge == "one"] == [[1]]
        for judge in made.judges:
            assert broker.depth(NAMES.tasks_queue(judge)) == (0, 1)


def test_serves_only_the_judges_it_is_told() -> None:
    """Of what the handlers offer, only what the settings name; what is passed in is served as well."""
    given = Sources(commands={"none": Command(command=["cat"])})
    with embedded() as broker, worker(broker, PLAIN, judges=["sure", "none"], sources=given) as made:
        assert made.judges == ("none", "sure")


def test_a_task_that_fails_comes_again_until_it_is_set_aside() -> None:
    """Through the ladder of the broker, attempt by attempt; then judgments with the error and a dead letter."""
    with embedded() as broker, worker(broker, TROUBLE, judges=["one"]):
        send(broker, suite("one", ["a", "raise"], max_attempts=2))
        first, second = receive(aggregator(broker), 2)
        assert (list(first.positions), list(first.values), first.attempt) == ([100], ["A"], 1)
        assert (list(second.positions), second.errors[101].code, second.attempt) == ([101], "error", 2)
        dead = broker.consumer([NAMES.queue("dead.tasks")], prefetch=1)
        (letter,) = dead.receive(1, PATIENCE)
        assert letter.headers["mh-attempts"] == 2
        assert "attempt 1" in letter.headers["mh-history"][0]


def test_stopping_finishes_what_is_in_hand(tmp_path: Path) -> None:
    """What a child has is judged or handed back within the grace; what no child has goes back untouched."""
    begun = tmp_path / "begun"
    with embedded() as broker:
        with worker(broker, TROUBLE, judges=["file", "one"], prefetch=10) as made:
            send(broker, suite("file", [str(begun)]), *[suite("one", ["a"], suite=n) for n in range(2, 6)])
            wait_until(begun.exists, PATIENCE, "the suite begun")
            made.stop(1)
            assert not made.children
        assert broker.depth(NAMES.tasks_queue("file")) == (1, 0)
        judged = sum((broker.depth(NAMES.judgments_queue(p)) or (0, 0))[0] for p in range(NAMES.partitions))
        left, _ = broker.depth(NAMES.tasks_queue("one")) or (0, 0)
        assert left + judged == 4


def test_waits_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not there yet: the worker runs, says so, is not ready, and goes on when it comes."""
    with embedded() as broker:
        there, asked = threading.Event(), threading.Event()
        declare = broker.declare

        def declared(wanted: Topology) -> None:
            asked.set()
            if not there.is_set():
                raise BrokerUnavailable("nobody listens")
            declare(wanted)

        monkeypatch.setattr(broker, "declare", declared)
        with worker(broker, PLAIN) as made:
            assert asked.wait(PATIENCE)
            wait_until(lambda: "nobody listens" in (made.checks["broker"]() or ""), PATIENCE, "told")
            there.set()
            wait_until(lambda: made.checks["broker"]() is None, PATIENCE, "ready")
            send(broker, suite("echo", ["a"]))
            assert receive(aggregator(broker), 1)[0].values == ["a"]


def test_the_prefetch_follows_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cheap suites: soon more of them are held."""
    monkeypatch.setattr("manyhands_worker.service.ADAPT", 0.0)
    with embedded() as broker, worker(broker, PLAIN, judges=["echo"]):
        send(broker, *[suite("echo", [n], suite=n) for n in range(50)])
        receive(aggregator(broker), 50)
        send(broker, suite("echo", [0]))
        held = metrics.PREFETCH.labels("echo")
        wait_until(lambda: held._value.get() > 10, PATIENCE, "a larger prefetch")


@pytest.mark.parametrize(("queue", "counts", "code"), [
    ("tasks", False, None), ("suspects", True, None), ("suspects", False, "worker-died")
])  # fmt: skip
def test_what_came_back_five_times(monkeypatch: pytest.MonkeyPatch, queue: str, counts: bool, code: str | None) -> None:
    """From the judge's queue it is tried and judged as ever: the count is no evidence. From the suspects' it is.

    Where hand-backs count, five are not enough: restarts convict nobody.
    """
    monkeypatch.setattr(EmbeddedBroker, "counts_hand_backs", counts)
    with embedded() as broker:
        broker.declare(topology(NAMES, ["one"]))
        send(broker, suite("one", ["a"]), suspect=queue == "suspects")
        consumer = broker.consumer([NAMES.queue(f"{queue}.one")], prefetch=1)
        for _ in range(5):
            consumer.settle(consumer.receive(1, PATIENCE), Verdict.FAILED)
        consumer.close()
        with worker(broker, TROUBLE, judges=["one"]):
            (said,) = receive(aggregator(broker), 1)
    assert {p: f.code for p, f in said.errors.items()} == ({100: code} if code else {})


def test_a_worker_has_one_user() -> None:
    """With a user for each judge, a worker of two judges is refused with a sentence; one of one judge is not."""
    with embedded() as broker:
        with pytest.raises(SettingsError, match="echo, sure"):
            Worker(
                load(WorkerSettings, handlers=[PLAIN], children=1, judges="sure,echo", worker_user="mh-{judge}"), broker
            ).start()
        with worker(broker, PLAIN, judges="echo", worker_user="mh-{judge}") as one:
            assert one.judges == ("echo",)
        with worker(broker, PLAIN, judges="sure,echo", worker_user="mh-worker") as two:
            assert two.judges == ("echo", "sure")
