"""Two versions in one installation: a rolling upgrade under load and back again, with the schema before the code."""

from pathlib import Path

import pytest

from tests.fault import later
from tests.fault.stage import FLOWING, SERVICES, Stage, stage
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(480, func_only=True)  # nine processes start, two rounds of draining


def replace(running: Stage, service: str, **settings: str) -> None:
    """As a rolling upgrade does: another replica comes, and when it is ready the old one is stopped and drains."""
    before = running.processes[service]
    running.start(service, **settings)
    running.ready(service)
    assert before.terminate() == 0
    assert "Traceback" not in "".join(before.log)
    running.ready()


def test_versions_side_by_side(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """A later version comes service by service and goes again: nothing is lost, failed or set aside but its own event.

    This version passes over keys and headers that it does not know, in the job file too, and starts again on a schema
    that is newer than its own.
    """
    store = postgres.database()
    with stage(tmp_path, rabbitmq.url, store, namespace, MANYHANDS_GRACE="3") as running:
        running.start()
        running.ready()
        later.migrate(store)
        replace(running, "producer", **later.environment(tmp_path))
        job = running.submit()
        running.reaches(job, FLOWING)
        later.tell(rabbitmq.url, running.names, job)
        for service in ("worker", "aggregator"):
            replace(running, service, **later.environment(tmp_path))
        running.completes(job)
        running.close_gate()
        job = running.submit()
        running.reaches(job, FLOWING)
        for service in SERVICES:
            replace(running, service)
        running.completes(job)
        wait_until(lambda: len(running.command("dead", "list")["letters"]) == 2, 30, "the event, set aside by both")
        assert {letter["kind"] for letter in running.command("dead", "list")["letters"]} == {"events"}
