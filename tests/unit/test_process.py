"""How a process begins and ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from manyhands.errors import SettingsError
from manyhands.process import broker_of, live, shared_broker
from manyhands.settings import Settings
from manyhands_aggregator.main import serve as aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_producer.main import serve as producer
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.main import serve as worker
from manyhands_worker.settings import WorkerSettings

EMBEDDED = SecretStr("memory://")


def test_a_process_alone_has_a_broker_that_others_reach(tmp_path: Path) -> None:
    """Within itself it would wait for ever; refused in one sentence before anything is begun."""
    said = r"memory://; give an amqp:// URL"
    store = SecretStr(f"sqlite:///{tmp_path}/m.db")
    with pytest.raises(SettingsError, match=said):
        producer(ProducerSettings(broker=EMBEDDED, store=store))
    with pytest.raises(SettingsError, match=said):
        aggregator(AggregatorSettings(broker=EMBEDDED, store=store))
    with pytest.raises(SettingsError, match=said):
        worker(WorkerSettings(broker=EMBEDDED))
    assert not list(tmp_path.iterdir())


def test_a_broker_elsewhere_will_do() -> None:
    """It is made, and not connected to yet."""
    assert shared_broker(Settings(broker=SecretStr("amqp://localhost:1/")), "n").durable


class Thread:
    """A service that has one thread, which does what it is told."""

    def __init__(self, does: Callable[[], None]) -> None:
        self.stopped = False
        self._thread = threading.Thread(target=does, name="work", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Wait for its end."""
        self._thread.join(grace)
        self.stopped = True


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
def test_a_thread_that_dies_ends_the_process() -> None:
    """It drains and ends with 1, to be started again; alive and deaf it would stay for ever."""
    hook, closed = threading.excepthook, []

    def dies() -> None:
        raise RuntimeError("nobody thought of it")

    service = Thread(dies)
    settings = Settings(broker=EMBEDDED, grace=1)
    assert live("worker", settings, broker_of(settings, "n"), service, lambda: closed.append(True)) == 1
    assert (service.stopped, closed) == (True, [True])
    assert threading.excepthook is hook


@pytest.mark.usefixtures("_signals")
def test_a_signal_ends_the_process_well() -> None:
    """It drains and ends with 0."""
    service = Thread(lambda: os.kill(os.getpid(), signal.SIGTERM))
    settings = Settings(broker=EMBEDDED, grace=1)
    assert live("worker", settings, broker_of(settings, "n"), service, lambda: None) == 0
    assert service.stopped
