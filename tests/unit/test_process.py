"""How a process begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from manyhands.errors import SettingsError
from manyhands.process import shared_broker
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
