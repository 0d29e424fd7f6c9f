"""The line to the broker: cut, cut in one direction, a black hole, slow. The job completes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.fault import stage
from tests.fault.proxy import Proxy, Way
from tests.fault.stage import FLOWING, SERVICES, Stage
from tests.services import RabbitMQ

pytestmark = pytest.mark.drill

#: A heartbeat so short that a dead line is noticed within the test.
HEARTBEAT = "?heartbeat=2"
#: Bytes a second of a slow line.
SLOW = 20_000.0


@pytest.fixture(scope="module")
def line(rabbitmq: RabbitMQ) -> Iterator[Proxy]:
    """The line to the broker."""
    with Proxy(rabbitmq.url + HEARTBEAT) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def standing(line: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The three services, with the broker behind the line."""
    with stage.standing(tmp_path_factory.mktemp("lines"), line.url, f"t-{uuid.uuid4().hex[:8]}") as made:
        yield made
        line.mend()


@pytest.fixture
def running(line: Proxy, standing: Stage) -> Stage:
    """The same, ready, with the line mended and the gate closed."""
    line.mend()
    standing.close_gate()
    standing.ready()
    return standing


def test_line_cut(line: Proxy, running: Stage) -> None:
    """Every connection is reset and none can be made: the services say so, and go on when it is mended."""
    dead(line, running, line.cut)


def test_line_cut_towards_the_broker(line: Proxy, running: Stage) -> None:
    """Nothing reaches the broker, while what it says is heard: heartbeats tell."""
    dead(line, running, lambda: line.stall(Way.UP))


def test_line_cut_from_the_broker(line: Proxy, running: Stage) -> None:
    """Nothing is heard of the broker, while it hears everything: heartbeats tell."""
    dead(line, running, lambda: line.stall(Way.DOWN))


def test_black_hole(line: Proxy, running: Stage) -> None:
    """Connections stand, new ones can be made, and nothing comes through either way: heartbeats tell."""
    dead(line, running, line.stall)


def dead(line: Proxy, running: Stage, fault: Callable[[], None]) -> None:
    """A line that is dead long enough to be noticed by everybody."""
    job = running.submit()
    running.reaches(job, FLOWING)
    fault()
    running.misses("broker", *SERVICES)
    line.mend()
    running.ready()
    running.completes(job)


def test_line_reset(line: Proxy, running: Stage) -> None:
    """Every connection is reset, again and again."""
    job = running.submit()
    for answered in (FLOWING, 2 * FLOWING, 3 * FLOWING):
        running.reaches(job, answered)
        line.reset()
    running.completes(job)


def test_slow_line(line: Proxy, running: Stage) -> None:
    """A few kilobytes a second: slow, and nobody gives up."""
    line.slow(SLOW)
    job = running.submit()
    running.reaches(job, FLOWING)
    line.mend()
    running.completes(job)
