"""What a broker, or somebody at its controls, does in the middle of a job: the job completes all the same."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
import pytest

from tests.fault import stage
from tests.fault.stage import FLOWING, HELD, JUDGE, PATIENCE, SERVICES, TASKS, Stage
from tests.services import RabbitMQ, wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(300, func_only=True)]  # a broker takes its time to start


@pytest.fixture(scope="module")
def standing(own_rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The three services on it."""
    # what the broker loses for good is noticed after a short standstill
    with stage.standing(
        tmp_path_factory.mktemp("faults"), own_rabbitmq.url, "faults", MANYHANDS_REPUBLISH_AFTER="5"
    ) as made:
        yield made


@pytest.fixture
def running(own_rabbitmq: RabbitMQ, standing: Stage) -> Stage:
    """The same, ready, with nothing said yet and the gate closed."""
    standing.close_gate()
    standing.hush()
    for service in [service for service, process in standing.processes.items() if not process.alive]:
        standing.start(service)  # a test that failed left it so
    standing.ready()
    own_rabbitmq.settle()
    return standing


@contextlib.contextmanager
def channel(broker: RabbitMQ) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A channel of somebody at the controls."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        yield connection.channel()


def test_broker_restarted(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """Stopped in all order and started again."""
    job = running.submit()
    running.reaches(job, FLOWING)
    own_rabbitmq.stop()
    running.misses("broker", *SERVICES)
    own_rabbitmq.start()
    running.ready()
    running.completes(job)


def test_connections_closed_by_an_operator(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """Every connection is closed from the broker's side, twice: all of them are made again."""
    job = running.submit()
    for answered in (FLOWING, 2 * FLOWING):
        running.reaches(job, answered)
        own_rabbitmq.ctl("close_all_connections", "drill")
    for service in SERVICES:
        running.said(service, "connecting again")
    running.ready()
    running.completes(job)


def test_queue_deleted(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """A judge's queue is deleted with all that is in it: it is declared again, and its suites are published again.

    Suites that come while there is no queue are dead letters: replayed, they are judged.
    """
    job = deleted(own_rabbitmq, running, running.names.tasks_queue(JUDGE), "worker")
    completes_replayed(running, job)


def completes_replayed(running: Stage, job: str) -> None:
    """Wait for the job to end, replay what found no queue, and wait for every answer."""
    running.open_gate()
    wait_until(lambda: running.get(f"/api/jobs/{job}")["state"] != "open", PATIENCE, "the job to end")
    running.command("dead", "replay", "--job", job, "--code", "unroutable")
    wait_until(lambda: running.get(f"/api/jobs/{job}")["state"] == "complete", PATIENCE, "the replayed to be answered")
    running.completes(job, replayed=True)


def test_judgments_queue_deleted(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """A queue of judgments is deleted with all that is in it: what it held is judged again, and counts once."""
    running.completes(deleted(own_rabbitmq, running, running.names.judgments_queue(0), "aggregator"))


def deleted(broker: RabbitMQ, running: Stage, queue: str, consumer: str) -> str:
    """Delete a queue in full flow, and wait until it is consumed again; the job."""
    job = running.submit()
    running.reaches(job, FLOWING)
    with channel(broker) as at:
        at.queue_delete(queue)
    said = running.said(consumer, "cancelled by the broker")
    assert said["queue"] == queue
    running.ready()
    return job


def test_consumer_cancelled(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """The broker cancels consumers: whose they are says so and is not ready until it is registered again.

    Their queues are empty, so that nothing else is lost; and nobody may declare them for a while, as it would be over
    sooner than anybody can look.
    """
    cancelled = {"worker": running.names.tasks_queue(JUDGE), "aggregator": running.names.judgments_queue(0)}
    registered = {service: running.metric(service, "manyhands_consumers") for service in cancelled}
    with no_declaring(own_rabbitmq):
        for queue in cancelled.values():
            own_rabbitmq.ctl("delete_queue", queue)
        for service, queue in cancelled.items():
            assert running.said(service, "cancelled by the broker")["queue"] == queue
            running.misses("broker", service)
            assert running.metric(service, "manyhands_consumers") == registered[service] - 1
    running.ready()
    assert {service: running.metric(service, "manyhands_consumers") for service in cancelled} == registered
    running.completes(running.submit())


@contextlib.contextmanager
def no_declaring(broker: RabbitMQ) -> Iterator[None]:
    """Take the right from everybody to declare anything."""
    user = urlsplit(broker.url).username or ""
    broker.ctl("set_permissions", user, "^$", ".*", ".*")
    try:
        yield
    finally:
        broker.ctl("set_permissions", user, ".*", ".*", ".*")


def test_queue_of_another_kind(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """Somebody declares the queue with other arguments (PRECONDITION_FAILED): it is said until somebody mends it."""
    job = running.submit()
    running.reaches(job, FLOWING)
    queue = running.names.tasks_queue(JUDGE)
    running.processes["worker"].kill()
    with channel(own_rabbitmq) as at:
        at.queue_delete(queue)
    with channel(own_rabbitmq) as at:
        at.queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})
    running.start("worker")
    running.misses("broker", "worker")
    assert "PRECONDITION_FAILED" in json.dumps(running.said("worker", "PRECONDITION_FAILED"))
    with channel(own_rabbitmq) as at:
        at.queue_delete(queue)
    running.ready()
    completes_replayed(running, job)  # on a busy machine some suites come while there is no queue


#: What sets off an alarm, and what ends it.
MEMORY = ("set_vm_memory_high_watermark", "0.0001", "0.4")
DISK = ("set_disk_free_limit", "1000000GB", "50MB")


@contextlib.contextmanager
def alarmed(broker: RabbitMQ, limit: str, alarm: str, calm: str) -> Iterator[None]:
    """The broker is short of something; it says so to whoever publishes."""
    broker.ctl(limit, alarm)
    try:
        yield
    finally:
        broker.ctl(limit, calm)


def blocked(running: Stage, service: str) -> None:
    """Wait until a service may not publish, and says so."""
    wait_until(
        lambda: running.metric(service, "manyhands_publish_blocked") == 1, PATIENCE, f"the {service} to be blocked"
    )
    running.misses("broker", service)


@pytest.mark.parametrize("short", [MEMORY, DISK], ids=["memory", "disk"])
def test_alarm(own_rabbitmq: RabbitMQ, running: Stage, short: tuple[str, str, str]) -> None:
    """While the broker is short of memory or disk it blocks whoever publishes: that is said, and waited for.

    The worker, which has judgments, and the producer, which has the suites of another job.
    """
    job = running.submit()
    running.reaches(job, HELD)
    with alarmed(own_rabbitmq, *short):
        other = running.submit()
        running.open_gate()
        for service in ("producer", "worker"):
            blocked(running, service)
            running.said(service, "the broker blocks publishing")
        assert running.get(f"/api/jobs/{job}")["answered"] < TASKS
    running.ready()
    for service in ("producer", "worker"):
        running.said(service, "publishing is not blocked any more")
        assert running.metric(service, "manyhands_publish_blocked") == 0
    running.completes(job)
    running.completes(other)


def test_stopped_during_an_alarm(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """A worker whose children all have something to publish, and may not, ends in time; what it held is done again."""
    grace = 4
    running.processes["worker"].kill()
    running.start("worker", MANYHANDS_CHILDREN="4", MANYHANDS_GRACE=str(grace))
    running.ready()
    job = running.submit()
    running.reaches(job, HELD)
    with alarmed(own_rabbitmq, *MEMORY):
        running.open_gate()
        blocked(running, "worker")
        started = time.monotonic()
        assert running.processes["worker"].terminate() == 0
        took = time.monotonic() - started
    assert took < grace + 5
    running.said("worker", "handed back what was not finished in time")  # so that it had to be ended
    running.start("worker")
    running.ready()
    running.completes(job)


@pytest.mark.parametrize("queue", ["tasks", "judgments"])
def test_full_queue(own_rabbitmq: RabbitMQ, running: Stage, queue: str) -> None:
    """A queue that is full refuses what is published (reject-publish): it is published again until there is room."""
    name = running.names.tasks_queue(JUDGE) if queue == "tasks" else running.names.judgments_queue(0)
    who = "producer" if queue == "tasks" else "worker"
    definition = json.dumps({"max-length": 1, "overflow": "reject-publish"})
    own_rabbitmq.ctl("set_policy", "--apply-to", "queues", "--priority", "99", "full", f"^{name}$", definition)
    running.processes["worker" if queue == "tasks" else "aggregator"].kill()  # nobody empties it
    jobs = [running.submit(), running.submit()]  # what comes in one burst may slip in before 3.10 notices the limit
    wait_until(lambda: refused(running, who), PATIENCE, f"a publish of the {who} to be refused")
    own_rabbitmq.ctl("clear_policy", "full")
    running.start("worker" if queue == "tasks" else "aggregator")
    running.ready()
    for job in jobs:
        running.completes(job)


def refused(running: Stage, service: str) -> bool:
    """Whether the broker has refused something of this service."""
    return running.metric(service, 'manyhands_publish_failed_total{reason="refused"}') > 0


def test_overdue_delivery(own_rabbitmq: RabbitMQ, running: Stage) -> None:
    """What is held for too long is taken away, channel (PRECONDITION_FAILED) or consumer with it: it comes again."""
    own_rabbitmq.ctl("eval", "application:set_env(rabbit, consumer_timeout, 2000).")
    own_rabbitmq.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
    try:
        own_rabbitmq.ctl("close_all_connections", "for the new limit")  # a channel asks for it when it is opened
        running.ready()
        job = running.submit()
        running.reaches(job, HELD)  # the rest waits for the gate, in the worker's hands
        running.hush()
        wait_until(lambda: lost_patience(running), PATIENCE, "the broker to lose patience")
    finally:
        own_rabbitmq.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
    running.completes(job)


def lost_patience(running: Stage) -> bool:
    """Whether the worker was told that it is overdue."""
    said = ("cancelled by the broker", "consuming again")
    return any(words in line for line in list(running.processes["worker"].log) for words in said)
