"""The broker is not there, or is killed with -9 in the middle of a job."""

from pathlib import Path

import pytest

from tests.fault.stage import FLOWING, SERVICES, stage
from tests.services import RabbitMQ

pytestmark = pytest.mark.timeout(240, func_only=True)  # a broker takes its time to start


@pytest.mark.drill
def test_broker_away_at_start(private_rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Each service says that it waits, is alive and not ready; when the broker comes, a job taken before completes."""
    private_rabbitmq.stop()
    with stage(tmp_path, private_rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace) as running:
        running.start()
        for service in SERVICES:
            assert running.said(service, "waiting for the broker")["level"] == "warning"
            assert "broker" in running.missing(service)
            assert "store" not in running.missing(service)
        job = running.submit()
        private_rabbitmq.start()
        running.ready()
        running.completes(job)


def test_broker_gone_and_back(private_rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Killed in the middle of a job and started again: the same answers, each judgment counted once."""
    with stage(tmp_path, private_rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace) as running:
        running.start()
        running.ready()
        private_rabbitmq.settle()
        job = running.submit()
        running.reaches(job, FLOWING)
        private_rabbitmq.kill()
        running.misses("broker", *SERVICES)
        private_rabbitmq.start()
        running.ready()
        running.completes(job)
