"""Producer and aggregator are killed with -9, or stopped by SIGTERM, in the middle of a job."""

import time
from pathlib import Path

import pytest

from tests.fault.stage import FLOWING, stage
from tests.services import RabbitMQ


def test_producer_killed(rabbitmq: RabbitMQ, store_url: str, namespace: str, tmp_path: Path) -> None:
    """What it had not confirmed is published again by the next one: the same answers, nothing counted twice."""
    killed(rabbitmq, store_url, namespace, tmp_path, "producer")


def test_aggregator_killed(rabbitmq: RabbitMQ, store_url: str, namespace: str, tmp_path: Path) -> None:
    """What it had not committed comes again to the next one: the same answers, nothing counted twice."""
    killed(rabbitmq, store_url, namespace, tmp_path, "aggregator")


def killed(rabbitmq: RabbitMQ, store_url: str, namespace: str, folder: Path, victim: str) -> None:
    """Kill one service twice in the middle of a job: in full flow, and while the other two are idle."""
    with stage(folder, rabbitmq.url, store_url, namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        for answered in (FLOWING, 2 * FLOWING):
            running.reaches(job, answered)
            running.processes[victim].kill()
            running.start(victim)
        running.ready()
        running.completes(job)


@pytest.mark.parametrize(
    "service", ["worker", *(pytest.param(keeper, marks=pytest.mark.drill) for keeper in ("producer", "aggregator"))]
)
def test_stopped_under_load(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path, service: str) -> None:
    """SIGTERM in full flow: it drains within its grace period and exits with 0; the next one goes on."""
    with stage(tmp_path, rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        began = time.monotonic()
        assert running.processes[service].terminate() == 0
        assert time.monotonic() - began < 15
        assert '"stopped"' in "".join(running.processes[service].log)
        assert "Traceback" not in "".join(running.processes[service].log)
        running.start(service)
        running.ready()
        running.completes(job)
