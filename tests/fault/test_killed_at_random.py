"""Two of each service are running, and any of their processes is killed with -9 at random moments of one job."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import Process
from tests.fault.stage import HELD, PATIENCE, SERVICES, Stage, children, stage
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(300, func_only=True)]  # fourteen processes start
VICTIMS = (*SERVICES, "child")


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path, seed: int) -> None:
    """Each kind of process twice, and another is started: every answer is there, counted once, nothing is set aside."""
    chance = random.Random(seed)
    victims = chance.sample(2 * VICTIMS, 2 * len(VICTIMS))
    moments = sorted(chance.sample(range(20, HELD - 100), len(victims)))
    with stage(tmp_path, rabbitmq.url, postgres.database(), namespace, PACE="0.01") as running:
        pairs: dict[str, list[Process]] = {service: [] for service in SERVICES}
        for _ in range(2):
            running.start()
            for service in SERVICES:
                pairs[service].append(running.processes[service])
        running.ready()
        job = running.submit()
        for answered, victim in zip(moments, victims, strict=True):
            running.reaches(job, answered)
            strike(running, pairs, victim, chance)
        running.ready()
        running.completes(job)
        assert running.command("dead", "list")["letters"] == []


def strike(running: Stage, pairs: dict[str, list[Process]], victim: str, chance: random.Random) -> None:
    """Kill one of the victim's kind; another takes its place."""
    number = chance.randrange(2)
    if victim == "child":
        worker = pairs["worker"][number]
        # one that cannot load its handlers at its start ends, as with handlers that cannot be loaded
        wait_until(lambda: httpx.get(f"{worker.url}/readyz").status_code == 200, PATIENCE, "the worker to be ready")
        os.kill(chance.choice(wait_until(lambda: children(worker.pid), PATIENCE, "children")), signal.SIGKILL)
        return
    pairs[victim][number].kill()
    running.start(victim)
    pairs[victim][number] = running.processes[victim]
