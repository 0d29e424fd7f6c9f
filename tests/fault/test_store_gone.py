"""The database is not there, or is killed with -9 in the middle of a job."""

from pathlib import Path

import pytest

from tests.fault.stage import FLOWING, stage
from tests.services import Postgres, RabbitMQ

pytestmark = pytest.mark.timeout(180, func_only=True)  # a database takes its time to recover
KEEPERS = ("producer", "aggregator")


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
