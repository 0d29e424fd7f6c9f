"""SIGTERM drains, a second signal does not wait for it, and processes are replaced under load: nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.sqlite import writing
from tests.fault.stage import FLOWING, HELD, PATIENCE, TASKS, TIMES, Stage, children, stage
from tests.services import Postgres, RabbitMQ, wait_until
from tests.unit.worker.test_command import assert_gone

ONCE = dict.fromkeys(range(TASKS), TIMES)
GRACE = 15


@pytest.fixture
def running(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """The three services, ready."""
    with stage(tmp_path, rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace) as made:
        made.start()
        made.ready()
        yield made


def busy(running: Stage) -> str:
    """Have a job whose worker has tasks in its children's hands that do not end; its id."""
    job = running.submit()
    wait_until(lambda: any(task >= HELD for task in running.calls()), PATIENCE, "a task that does not end")
    return job


def test_a_busy_worker_drains(running: Stage) -> None:
    """Its handlers end within the grace period: what they judged is kept, the rest goes back, none is judged twice."""
    job = busy(running)
    worker = running.processes["worker"]
    worker.send(signal.SIGTERM)
    running.said("worker", '"stopping"')
    running.open_gate()
    assert worker.ends() == 0
    assert "handed back what was not finished in time" not in "".join(worker.log)
    running.start("worker")
    running.completes(job)
    assert running.calls() == ONCE


def test_a_handler_that_outlasts_the_grace(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """What it has is handed back, within the grace period, and judged by another worker."""
    store = f"sqlite:///{tmp_path / 'm.db'}"
    with stage(tmp_path, rabbitmq.url, store, namespace, MANYHANDS_GRACE="4") as running:
        running.start()
        running.ready()
        job = busy(running)
        worker, began = running.processes["worker"], time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - began < GRACE
        assert "handed back what was not finished in time" in "".join(worker.log)
        running.start("worker")
        running.completes(job)
        assert all(TIMES <= calls <= 2 * TIMES for task, calls in running.calls().items() if task >= HELD)
        assert all(calls == TIMES for task, calls in running.calls().items() if task < HELD)
        assert running.command("dead", "list")["letters"] == []


#: What the second signal is; one of them in make test.
SECOND = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.drill)]


@pytest.mark.parametrize("second", SECOND)
def test_a_worker_that_is_told_twice(running: Stage, second: signal.Signals) -> None:
    """It ends at once, with its children, in the middle of what they do; that is judged by another."""
    job = busy(running)
    worker = running.processes["worker"]
    judging = children(worker.pid)
    worker.send(signal.SIGTERM)
    running.said("worker", '"stopping"')
    worker.send(second)
    assert worker.ends() == 128 + second
    assert judging
    for child in judging:
        assert_gone(child)
    running.start("worker")
    running.completes(job)
    assert running.command("dead", "list")["letters"] == []


@pytest.mark.parametrize("service", ["producer", "aggregator"])
@pytest.mark.parametrize("second", SECOND)
def test_a_keeper_that_is_told_twice(running: Stage, service: str, second: signal.Signals) -> None:
    """It waits for its store, in which somebody writes: it ends at once, and the next one goes on where it was."""
    job = running.submit()
    running.reaches(job, FLOWING)
    process = running.processes[service]
    with writing(running.folder / f"m-{service}.db"):
        wait_until(lambda: waits(running, service), PATIENCE, f"the {service} to wait for its store")
        process.send(signal.SIGTERM)
        running.said(service, '"stopping"')
        process.send(second)
        assert process.ends() == 128 + second
    running.start(service)
    running.ready()
    running.completes(job)


def waits(running: Stage, service: str) -> bool:
    """Whether a service has something to write."""
    return service == "producer" or running.metric(service, "manyhands_in_hand") > 0


@pytest.mark.drill
@pytest.mark.timeout(300, func_only=True)
def test_every_process_is_replaced(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """One after the other, twice, under load: a new one comes and the old one drains; nothing is judged twice."""
    with stage(tmp_path, rabbitmq.url, postgres.database(), namespace, PACE="0.03") as running:
        running.start()
        running.ready()
        job = running.submit()
        for round_, service in enumerate(("worker", "aggregator", "producer", "aggregator", "producer"), 1):
            running.reaches(job, 100 * round_)
            running.replace(service)
        running.open_gate()  # or what is held there would be begun by one worker and by another once more
        running.replace("worker")
        running.completes(job)
        assert running.calls() == ONCE
        assert running.command("dead", "list")["letters"] == []
