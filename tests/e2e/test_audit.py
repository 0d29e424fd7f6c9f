"""The audit of a live system: where each task stands in the middle of a job, and what it says of a doctored store."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from manyhands.settings import store_url
from tests.fault.stage import FLOWING, HELD, PATIENCE, SIZE, TASKS, TIMES, Stage, standing
from tests.services import RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(240, func_only=True)  # processes take their time to start on a busy machine


def balanced(running: Stage, job: str) -> dict[str, Any]:
    """The account at this moment, which must balance at the first look."""
    said: dict[str, Any] = running.command("audit", job, "--patience", "0")
    assert said["conserved"] is True
    assert sum(said["stands"].values()) == said["tasks"]
    return said


def difference(running: Stage, service: str) -> float:
    """What a service's metric says; it must say something."""
    name = f'manyhands_conservation_difference{{process="{service}"}}'
    text = httpx.get(f"{running.url(service)}/metrics", timeout=30).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@contextlib.contextmanager
def held_up(rabbitmq: RabbitMQ, namespace: str, folder: Path) -> Iterator[tuple[Stage, str]]:
    """The three services with a job of which some tasks are answered, and the rest held up; the stage and the job."""
    with standing(folder, rabbitmq.url, namespace) as running:
        running.ready()
        job = running.submit()
        running.reaches(job, HELD)
        yield running, job


def opened(folder: Path, service: str) -> contextlib.closing[sqlite3.Connection]:
    """A service's store under its feet."""
    file = store_url(f"sqlite:///{folder / 'm.db'}", service).removeprefix("sqlite:///")
    return contextlib.closing(sqlite3.connect(file, timeout=30))


def spooled(spool: sqlite3.Connection) -> int:
    """Suites that are not settled, as far as the producer has heard."""
    return int(spool.execute("SELECT count(*) FROM producer_spool").fetchone()[0])


def test_where_each_task_stands(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """In full flow, with everything held up in the workers' hands, with the worker killed, and at the end."""
    with standing(tmp_path, rabbitmq.url, namespace) as running:
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        for _ in range(3):
            assert balanced(running, job)["state"] == "open"

        running.reaches(job, HELD)

        def still() -> dict[str, Any] | None:
            said = balanced(running, job)
            stands, messages = said["stands"], said["messages"]
            in_hands = stands["answered"] == HELD and messages["delivered"] >= 2 and not messages["judged"]
            return said if in_hands else None

        said = wait_until(still, PATIENCE, "the rest to be held up") or {}
        assert said["stands"]["published"] > 0
        assert said["stands"]["published"] + said["stands"]["unpublished"] == TASKS - HELD
        in_flight = said["stands"]["published"] // SIZE * TIMES
        assert said["messages"]["in_queue"] + said["messages"]["delivered"] == in_flight
        assert [difference(running, service) for service in ("producer", "worker", "aggregator")] == [0, 0, 0]

        running.processes["worker"].kill()

        def back() -> bool:
            messages = balanced(running, job)["messages"]
            return (messages["in_queue"], messages["delivered"]) == (in_flight, 0)

        wait_until(back, PATIENCE, "what the worker had to be in the queue again")
        printed = running.try_command("audit", job)
        assert printed.returncode == 0
        assert all(word in printed.stdout for word in ("unpublished", "in queue", "delivered", "retried", "judged"))
        running.start("worker")
        running.completes(job)
        said = balanced(running, job)
        assert said["stands"] == {
            "unpublished": 0, "published": 0, "judged": 0, "answered": TASKS, "failed": 0, "cancelled": 0,
        }  # fmt: skip
        assert said["messages"]["delivered"] == 0


def test_a_store_that_lost_a_suite(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Exit code 1 when the difference lasts, and the metric says so; both are well again when it is back."""
    with held_up(rabbitmq, namespace, tmp_path) as (running, job), opened(tmp_path, "producer") as spool:
        # a suite that is answered, and of which the producer has not heard so yet, would be missed by nobody
        wait_until(lambda: spooled(spool) == (TASKS - HELD) // SIZE, PATIENCE, "what is answered to leave the spool")
        row = spool.execute("SELECT * FROM producer_spool ORDER BY suite LIMIT 1").fetchone()
        with spool:
            spool.execute("DELETE FROM producer_spool WHERE suite = (SELECT min(suite) FROM producer_spool)")
        done = running.try_command("audit", job, "--patience", "2", "--json")
        assert done.returncode == 1
        assert "looking again for 2 seconds" in done.stderr
        said = json.loads(done.stdout)
        assert (said["conserved"], said["difference"], said["missing_suites"]) == (False, SIZE, 1)
        wait_until(lambda: difference(running, "producer") == 1, PATIENCE, "the metric")
        with spool:
            spool.execute("INSERT INTO producer_spool VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        balanced(running, job)
        wait_until(lambda: difference(running, "producer") == 0, PATIENCE, "the metric")
        running.completes(job)


def test_counters_that_were_changed(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """What the aggregator counted is not what its rows have: exit code 1, and the metric says so."""
    with held_up(rabbitmq, namespace, tmp_path) as (running, job), opened(tmp_path, "aggregator") as answers:
        with answers:
            answers.execute("UPDATE aggregator_jobs SET answered = answered - 3")
        assert running.try_command("audit", job, "--patience", "0").returncode == 1
        wait_until(lambda: difference(running, "aggregator") == 3, PATIENCE, "the metric")
        with answers:
            answers.execute("UPDATE aggregator_jobs SET answered = answered + 3")
        wait_until(lambda: difference(running, "aggregator") == 0, PATIENCE, "the metric")
        running.completes(job)
