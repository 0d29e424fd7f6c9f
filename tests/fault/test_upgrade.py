"""Two versions in one installation: a rolling upgrade under load and back again, with the schema before the code.

Once with an earlier version as it was, and once with a later one, as far as its neighbours can tell.
"""

from pathlib import Path

import pytest

from tests.fault import before, later
from tests.fault.stage import FLOWING, SERVICES, stage
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(480, func_only=True)  # nine processes start, two rounds of draining


@pytest.mark.drill
def test_an_earlier_version_and_this_one(
    rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path
) -> None:
    """A job that an earlier version began ends in this one, and a job that this one began ends in the earlier one.

    The schema comes first, while the earlier version works on; it starts again on the later schema, too. In both
    directions every order of versions works together for a while, and nothing fails or is set aside.
    """
    earlier = before.environment(tmp_path)
    store = postgres.database()
    with stage(tmp_path, rabbitmq.url, store, namespace, MANYHANDS_GRACE="3") as running:
        running.start(**earlier)
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        migrated = running.try_command("migrate").stdout
        assert "producer: 0001 to " in migrated, migrated
        for service in ("worker", "aggregator", "producer"):
            running.replace(service, MANYHANDS_MIGRATE="false")
        running.completes(job)
        running.close_gate()
        job = running.submit()
        running.reaches(job, FLOWING)
        for service in ("producer", "aggregator", "worker"):
            running.replace(service, MANYHANDS_MIGRATE="false", **earlier)
        running.completes(job)
        assert running.command("dead", "list")["letters"] == []


@pytest.mark.drill
def test_this_version_and_a_later_one(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """A later version comes service by service and goes again: nothing is lost, failed or set aside but its own event.

    This version passes over keys and headers that it does not know, in the job file too, and starts again on a schema
    that is newer than its own.
    """
    store = postgres.database()
    with stage(tmp_path, rabbitmq.url, store, namespace, MANYHANDS_GRACE="3") as running:
        running.start()
        running.ready()
        later.migrate(store)
        running.replace("producer", **later.environment(tmp_path))
        job = running.submit()
        running.reaches(job, FLOWING)
        later.tell(rabbitmq.url, running.names, job)
        for service in ("worker", "aggregator"):
            running.replace(service, **later.environment(tmp_path))
        running.completes(job)
        running.close_gate()
        job = running.submit()
        running.reaches(job, FLOWING)
        for service in SERVICES:
            running.replace(service)
        running.completes(job)
        wait_until(lambda: len(running.command("dead", "list")["letters"]) == 2, 30, "the event, set aside by both")
        assert {letter["kind"] for letter in running.command("dead", "list")["letters"]} == {"events"}
