"""Fixtures that every tier may use; a real server starts only when a test first asks for it."""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import services

# how long an example takes says how busy the machine is; figures belong into the benchmarks
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# the same examples each time, or a change would be blamed for what it has not done; to look for others:
# pytest --hypothesis-profile explore
settings.register_profile("manyhands", settings.get_profile("explore"), derandomize=True)
settings.load_profile("manyhands")

# a shell that starts the tests in the background has them, and so what they start, ignore Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: starting (or installing) a server may take longer than any test may: it does not count as the test's time
SLOW_FIXTURES = {"rabbitmq", "postgres", "own_rabbitmq", "own_postgres", "private_rabbitmq", "private_postgres"}


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[services.RabbitMQ]:
    """The RabbitMQ that all tests share; leave it running."""
    with services.rabbitmq() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres() -> Iterator[services.Postgres]:
    """The PostgreSQL that all tests share; take a `database()` of it and leave it running."""
    with services.postgres() as server:
        yield server


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[services.RabbitMQ]:
    """A fresh RabbitMQ for the tests of one module, which may set it up as they like, kill it and start it."""
    with services.private_rabbitmq() as broker:
        yield broker


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[services.Postgres]:
    """A fresh PostgreSQL for the tests of one module, which may set it up as they like, kill it and start it."""
    with services.private_postgres() as server:
        yield server


@pytest.fixture
def private_rabbitmq() -> Iterator[services.RabbitMQ]:
    """A fresh RabbitMQ for one test, to be killed and started at will."""
    with services.private_rabbitmq() as broker:
        yield broker


@pytest.fixture
def private_postgres() -> Iterator[services.Postgres]:
    """A fresh PostgreSQL for one test, to be killed and started at will."""
    with services.private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store: a test that takes it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    server: services.Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def namespace() -> str:
    """Queues of this test alone."""
    return f"t-{uuid.uuid4().hex[:8]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Time the tests that need a server without the time the server needs to start."""
    limit = float(config.getini("timeout") or 0)
    for item in items:
        needs_server = SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if needs_server and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(limit, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers the tests ran on, and how they were got."""
    for line in sorted({str(service) for service in services.Service.known}):
        terminalreporter.write_line(f"ran on {line}")
