"""The producer as a process."""

from __future__ import annotations

from manyhands.process import shared_broker
from manyhands_producer.api import build
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from manyhands_service.process import serve_with_api


def serve(settings: ProducerSettings) -> int:
    """Run until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsError: the settings are not right; one sentence.
    """
    broker = shared_broker(settings, "manyhands-producer")
    producer = Producer(settings, broker)
    return serve_with_api("producer", settings, broker, producer, build(producer, settings))
