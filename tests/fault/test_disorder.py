"""Messages that come twice, late and out of order: what a job comes to is the same as in a quiet run, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from manyhands.broker import Delivery, Outgoing, Verdict, connect
from manyhands.errors import BrokerError, BrokerUnavailable, UnknownJob
from manyhands.spec import parse
from manyhands.testing import FakeConsumer, FakePublisher
from manyhands.topology import Names, topology
from manyhands_aggregator import export
from manyhands_aggregator.service import Aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings
from tests.fault import disorderly
from tests.fault.disorderly import Disorderly, DisorderlyConsumer, DisorderlyPublisher
from tests.services import RabbitMQ, wait_until

#: Seconds that any of it may take on a busy machine.
PATIENCE = 100.0
TASKS, SIZE = 120, 4
#: Tasks that fail until the handlers are mended. (Others have no answer, or an error, when first asked.)
FAILING = {n for n in range(TASKS) if n % 29 == 5}
JOB = "disorder"

HANDLERS = """
import pathlib

from manyhands import Judgment, RejectTask, judge

HERE = pathlib.Path(__file__).parent


def first(number):
    try:
        (HERE / f"asked-{number}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def fail(number):
    if number % 29 == 5 and not (HERE / "mended").exists():
        raise RejectTask("not yet")


@judge("guess")
def guess(number):
    fail(number)
    if number % 23 == 7 and first(number):
        return Judgment("neither", 0.5)
    if number % 31 == 3 and first(number):
        raise RuntimeError("try again")
    return Judgment("abc"[number % 3], 1 / (1 + number % 5))


@judge("steady")
def steady(number):
    fail(number)
    return "abc"[number % 2]
"""

SPEC = {
    "name": JOB, "answer": {"type": "choice", "options": ["a", "b", "c"]}, "suite": SIZE, "in_flight": 8,
    "stages": [{"judges": [{"guess": 2}, "steady"]}], "max_attempts": 3,
}  # fmt: skip


class Installation:
    """A producer, an aggregator and two workers in this process, each behind the same broker or its double."""

    def __init__(self, folder: Path, broker: Any, namespace: str) -> None:
        folder.mkdir()
        (folder / "handlers.py").write_text(HANDLERS)
        self.folder = folder
        store = SecretStr(f"sqlite:///{folder}/store.db")
        self.producer = Producer(ProducerSettings(store=store, namespace=namespace), broker)
        self.aggregator = Aggregator(AggregatorSettings(store=store, namespace=namespace, hold=30), broker)
        self.workers = [
            Worker(
                WorkerSettings(handlers=[str(folder / "handlers.py")], children=1, namespace=namespace, prefetch=20),
                broker,
            )
            for _ in range(2)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """From its start to its end."""
        services: Sequence[Any] = (self.producer, self.aggregator, *self.workers)
        for service in services:
            service.start()
        try:
            yield
        finally:
            for service in services:
                service.stop(10)

    def comes_to(self, state: str, judgments: int) -> None:
        """Wait until the job has ended so, on so many judgments."""

        def look() -> bool:
            try:
                said = self.aggregator.progress(JOB)
            except UnknownJob:
                return False
            return bool(said["state"] == state and said["judgments"] == judgments)

        try:
            wait_until(look, PATIENCE, f"the job to be {state}")
        except TimeoutError as late:
            late.add_note(str(self.aggregator.progress(JOB)))
            raise

    def told(self) -> None:
        """Wait until the producer knows of the end, and has nothing more to say of the job."""
        wait_until(lambda: self.producer.audit(JOB)["settled"] == -(-TASKS // SIZE), PATIENCE, "all to be settled")
        wait_until(lambda: self.producer.status(JOB)["state"] == "ended", PATIENCE, "the producer to be told")

    def drained(self, broker: Any, names: Names) -> None:
        """Wait until nothing is on its way any more."""
        queues = [queue.name for queue in topology(names, ["guess", "steady"]).queues]

        def empty() -> bool:
            services: Sequence[Any] = (*self.workers, self.aggregator)
            in_hand = [s._runner.in_hand for s in services if s._runner is not None]
            return not any(in_hand) and not any((broker.depth(queue) or (0, 0))[0] for queue in queues)

        # held messages are in no queue: once is not enough
        for _ in range(5):
            wait_until(empty, PATIENCE, "the queues to be empty", every=disorderly.LONGEST)

    def outcome(self) -> bytes:
        """All that the job has come to, as bytes."""
        progress, audit = self.aggregator.progress(JOB), self.aggregator.audit(JOB)
        assert audit["conserved"] is True
        assert audit["difference"] == 0
        account = {key: progress[key] for key in progress.keys() - {"opened", "ended", "seconds", "rate"}}
        found = {"account": account, "audit": {key: audit[key] for key in audit.keys() - {"queues"}}}
        found["producer"] = self.producer.audit(JOB)
        answers = b"".join(export.csv_blocks(self.aggregator.answers(JOB)))
        return json.dumps(found, sort_keys=True).encode() + b"\n" + answers


def tasks() -> list[dict[str, Any]]:
    """The tasks of the job; of every third the truth is known."""
    return [
        {"payload": n, "id": f"t{n}", **({"truth": "abc"[n % 3]} if n % 3 == 0 else {})} for n in range(TASKS)
    ]  # fmt: skip


def run(folder: Path, broker: Any, namespace: str) -> bytes:
    """The job from its submission to its end: failures first, then the handler is mended and they are replayed."""
    installation, names = Installation(folder, broker, namespace), Names(namespace=namespace)
    values = 3 * TASKS
    with installation.running():
        every = tasks()
        installation.producer.submit(parse(SPEC), job=JOB, tasks=every[: TASKS // 2])
        installation.producer.push(JOB, every[TASKS // 2 :], first=TASKS // 2)
        installation.producer.seal(JOB)
        installation.comes_to("partial", values)
        installation.told()
        installation.drained(broker, names)
        before = installation.outcome()
        (folder / "mended").touch()

        def replayed() -> bool:
            installation.aggregator.office.replay_all()
            return bool(installation.aggregator.progress(JOB)["judgments"] == values + 3 * len(FAILING))

        wait_until(replayed, PATIENCE, "all that failed to be judged again", every=1)
        installation.comes_to("complete", values + 3 * len(FAILING))
        installation.drained(broker, names)
        after = installation.outcome()
        if isinstance(broker, Disorderly):
            assert broker.all_again() > 3 * TASKS // SIZE
            installation.drained(broker, names)
            assert installation.outcome() == after
    return before + after


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the job comes to when nothing is out of order."""
    broker = connect("memory://")
    try:
        return run(tmp_path_factory.mktemp("quiet") / "run", broker, "")
    finally:
        broker.close()


def check(broker: Disorderly, folder: Path, namespace: str, quiet: bytes) -> None:
    """The same job comes to the same, though its messages did not come as they were sent."""
    try:
        found = run(folder / "run", broker, namespace)
    finally:
        broker.broker.delete(topology(Names(namespace=namespace), ["guess", "steady"]))
        broker.close()
    assert found == quiet
    counted = broker.counted
    assert min(counted.repeated, counted.delayed, counted.given_twice) > 20, counted


#: One in make test, the others in make drills.
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.drill) for seed in (1, 2))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_disorder_on_rabbitmq(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path, quiet: bytes, seed: int) -> None:
    """Repeated, delayed and reordered between RabbitMQ and every service: answers, counts and accounts are the same."""
    check(Disorderly(connect(rabbitmq.url), seed), tmp_path, namespace, quiet)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_disorder_on_the_embedded_broker(namespace: str, tmp_path: Path, quiet: bytes, seed: int) -> None:
    """The same within one process."""
    check(Disorderly(connect("memory://"), seed), tmp_path, namespace, quiet)


# -- the double itself -------------------------------------------------------------------------------------------------


def test_a_confirm_is_the_real_ones() -> None:
    """Held or not, a message is confirmed once, when the broker has it; what it is refused with is passed on."""
    real = FakePublisher([BrokerUnavailable("gone")])
    publisher = DisorderlyPublisher(real, random.Random(1), disorderly.Counted(), [])
    told: list[BrokerError | None] = []
    for number in range(200):
        publisher.publish(Outgoing(exchange="e", key=str(number), body=b"", type="t"), told.append)
    assert publisher.flush(30)
    assert len(told) == 200
    assert {m.key for m in real.published} >= {str(n) for n in range(200) if told.count(None) == 200}
    keys = [int(message.key) for message in real.published]
    assert len(keys) > 200
    assert keys != sorted(keys)
    publisher.close()


def test_every_delivery_is_settled_once() -> None:
    """A copy is given out like any other, and its settling reaches nobody; what was not given goes back."""
    every = [Delivery(queue="q", key=str(number), body=b"", type="t") for number in range(200)]
    real = FakeConsumer(every)
    consumer = DisorderlyConsumer(real, random.Random(1), disorderly.Counted())
    given: list[Delivery] = []
    while len(given) < 100:
        some = consumer.receive(10, 0.01)
        given += some
        consumer.settle(some, Verdict.ACK)
    consumer.stop()
    real_ones = [delivery for delivery, _ in real.settled]
    assert len(real_ones) == len(set(real_ones))
    assert set(real_ones) <= set(every)
    assert len(given) > sum(verdict is Verdict.ACK for _, verdict in real.settled)
