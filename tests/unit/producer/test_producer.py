"""The producer whole, with its threads, on the embedded broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from manyhands.broker import Broker, Delivery, Outgoing, Verdict, connect
from manyhands.codec import decode, encode
from manyhands.messages import Event, Suite
from manyhands_producer.leader import Leadership
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from tests.services import wait_until
from tests.unit.producer.support import job_spec


@contextmanager
def running(folder: Path, broker: Broker, republish_after: float = 0) -> Iterator[Producer]:
    """A producer that runs, with the store in this folder."""
    settings = ProducerSettings(
        store=SecretStr(f"sqlite:///{folder}/store.db"), source_roots=(str(folder),), republish_after=republish_after
    )
    producer = Producer(settings, broker)
    producer.start()
    try:
        wait_until(lambda: all(check() is None for check in producer.checks.values()), 10, "the producer", every=0.01)
        yield producer
    finally:
        producer.stop(5)


def aggregate(broker: Broker, job: str, suites: int) -> list[Suite]:
    """Take the suites of a job and say of each, twice, that it is settled; at last that the job is complete."""
    consumer, publisher = broker.consumer(["tasks.j"], prefetch=100), broker.publisher()
    done: dict[int, Suite] = {}

    def say(name: str, **data: object) -> None:
        encoded = encode(Event(name=name, job=job, data=data))
        publisher.publish(
            Outgoing(exchange="mh.events", key=name, body=encoded.body, type=encoded.type), lambda _: None
        )

    def take() -> bool:
        deliveries: list[Delivery] = consumer.receive(100, 0.2)
        for delivery in deliveries:
            message = decode(delivery.body, delivery.type, delivery.content_encoding)
            assert isinstance(message, Suite)
            done[message.suite] = message
            for _ in range(2):
                say("suites.settled", suites=[message.suite])
        consumer.settle(deliveries, Verdict.ACK)
        return len(done) == suites

    wait_until(take, 30, "the suites", every=0)
    say("job.completed", state="complete")
    publisher.flush(5)
    consumer.close()
    return [done[suite] for suite in sorted(done)]


def test_a_job_goes_through(tmp_path: Path) -> None:
    """A source is read, published and settled to its end, within the window, by the threads as they run."""
    (tmp_path / "a.csv").write_text("x\n" + "".join(f"{i}\n" for i in range(1000)))
    broker = connect("memory://")
    with running(tmp_path, broker) as producer:
        job = producer.submit(job_spec({"path": f"{tmp_path}/a.csv"}, suite=10, in_flight=4))
        suites = aggregate(broker, job, 100)
        assert [load for suite in suites for load in suite.payloads] == [str(i) for i in range(1000)]
        wait_until(lambda: producer.status(job)["state"] == "ended", 10, "the end", every=0.01)
        assert producer.audit(job)["settled"] == 100
    broker.close()


def test_a_pushed_task_leaves_within_milliseconds(tmp_path: Path) -> None:
    """An idle producer is woken by a push; nothing waits for a tick of any clock."""
    broker = connect("memory://")
    with running(tmp_path, broker) as producer:
        job = producer.submit(job_spec())
        consumer = None
        times = []
        for number in range(10):
            started = time.monotonic()
            producer.push(job, [{"payload": number}])
            consumer = consumer or broker.consumer(["tasks.j"], prefetch=10)
            assert consumer.receive(1, 10)
            times.append(time.monotonic() - started)
        assert sorted(times)[5] < 0.5  # an idle thread looks once a second by itself
    broker.close()


def test_a_restart_goes_on(tmp_path: Path) -> None:
    """A producer that is stopped in the middle of a job goes on with it when it is started again."""
    (tmp_path / "a.csv").write_text("x\n" + "".join(f"{i}\n" for i in range(2000)))
    broker = connect("memory://")
    with running(tmp_path, broker) as producer:
        job = producer.submit(job_spec({"path": f"{tmp_path}/a.csv"}, suite=1, in_flight=3))
        wait_until(lambda: (broker.depth("tasks.j") or (0, 0))[0] == 3, 10, "a full window", every=0.01)
    with running(tmp_path, broker) as producer:
        suites = aggregate(broker, job, 2000)
        assert [suite.payloads for suite in suites] == [[str(i)] for i in range(2000)]
        wait_until(lambda: producer.status(job)["state"] == "ended", 10, "the end", every=0.01)
    broker.close()


def test_stopping_before_anything_is_there(tmp_path: Path) -> None:
    """A producer that was never started, or stopped twice, stops without complaint."""
    broker = connect("memory://")
    producer = Producer(ProducerSettings(store=SecretStr(f"sqlite:///{tmp_path}/store.db")), broker)
    producer.stop(1)
    producer.start()
    producer.stop(1)
    producer.stop(1)
    broker.close()


def test_one_of_two_producers_of_a_store_leads(tmp_path: Path) -> None:
    """A second producer of the same store stands by, takes pushes all the same, and leads when the first is gone."""
    broker = connect("memory://")
    with running(tmp_path, broker) as first:
        second = Producer(ProducerSettings(store=SecretStr(f"sqlite:///{tmp_path}/store.db")), broker)
        second.start()
        job = second.submit(job_spec(), tasks=[{"payload": 1}])
        assert second.push(job, [{"payload": 2}]) == 2
        wait_until(lambda: first.status(job)["published"] == 2, 10, "the leader to publish", every=0.01)
        assert second.board.get(job) is None
    wait_until(lambda: second.board.get(job), 10, "the other to lead", every=0.01)
    second.stop(5)
    stop = threading.Event()
    leadership = Leadership(second.store.engine)
    assert leadership.acquire(stop)
    leadership.release()
    broker.close()
