"""The database is not there, is killed or stopped in the middle of a job, says nothing, or has no room."""

import re
from pathlib import Path

import pytest

from tests.fault.stage import FLOWING, stage
from tests.fault.tablespace import NAME, small
from tests.services import Postgres, RabbitMQ

pytestmark = pytest.mark.timeout(180, func_only=True)  # a database takes its time to recover
KEEPERS = ("producer", "aggregator")


@pytest.mark.drill
def test_store_away_at_start(private_postgres: Postgres, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Producer and aggregator say that they wait, are alive and not ready, at the start and when idle."""
    store = private_postgres.database()
    private_postgres.stop()
    with stage(tmp_path, rabbitmq.url, store, namespace) as running:
        running.start()
        for service in KEEPERS:
            assert running.said(service, "waiting for the store")["level"] == "warning"
            assert "store" in running.missing(service)
        running.ready("worker")
        private_postgres.start()
        running.ready()
        running.completes(running.submit())
        private_postgres.kill()  # now that nobody has anything to do
        running.misses("store", *KEEPERS)
        private_postgres.start()
        running.ready()


def test_store_gone_and_back(private_postgres: Postgres, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Killed in the middle of a job and started again: the same answers, each judgment counted once."""
    with stage(tmp_path, rabbitmq.url, private_postgres.database(), namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        private_postgres.kill()
        running.misses("store", *KEEPERS)
        private_postgres.start()
        running.ready()
        running.completes(job)


def test_store_restarted(private_postgres: Postgres, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Stopped in all order in the middle of a job and started again: the same answers, each judgment counted once."""
    with stage(tmp_path, rabbitmq.url, private_postgres.database(), namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        private_postgres.stop()
        running.misses("store", *KEEPERS)
        private_postgres.start()
        running.ready()
        running.completes(job)


@pytest.mark.drill
def test_store_says_nothing(private_postgres: Postgres, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """A black hole: it takes what is sent and answers nothing. That is said, nobody waits for ever, and all comes back.

    A service that is told to stop meanwhile stops, and leaves nothing half done.
    """
    with stage(tmp_path, rabbitmq.url, private_postgres.database(), namespace, MANYHANDS_GRACE="3") as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        private_postgres.freeze()
        try:
            running.misses("store", *KEEPERS)
            for service in KEEPERS:
                assert re.search("no answer|timeout", running.missing(service)["store"])
            assert running.metric("aggregator", "manyhands_in_hand") > 0
            assert re.search("no answer|timeout", running.said("aggregator", '"waiting"')["error"])
            assert running.metric("aggregator", "manyhands_in_hand") > 0
            assert running.processes["aggregator"].terminate() == 0
            running.start("aggregator")
        finally:
            private_postgres.thaw()
        running.ready()
        running.completes(job)


@pytest.mark.drill
def test_no_room_for_a_database(private_postgres: Postgres, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """The disk of the database is full: that is said, and waited for with deliveries in hand; then jobs complete."""
    with (
        small(private_postgres) as disk,
        stage(tmp_path, rabbitmq.url, private_postgres.database(NAME), namespace) as running,
    ):
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        disk.fill()
        running.misses("store", "aggregator")
        assert "No space left on device" in running.missing("aggregator")["store"]
        assert running.metric("aggregator", "manyhands_in_hand") > 0
        another = running.submit()  # of which there is room for the name
        running.misses("store", "producer")
        assert running.command("audit", job)["conserved"] is True
        disk.free()
        running.ready()
        running.completes(job)
        running.completes(another)
