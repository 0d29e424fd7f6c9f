"""The aggregator as a process."""

from __future__ import annotations

from manyhands.errors import SettingsError
from manyhands.process import shared_broker
from manyhands_aggregator.api import build
from manyhands_aggregator.service import Aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_service.process import serve_with_api


def serve(settings: AggregatorSettings) -> int:
    """Run until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsError: the settings are not right; one sentence.
    """
    broker = shared_broker(settings, "manyhands-aggregator")
    if settings.worker_user and not settings.broker.get_secret_value().startswith("amqp"):
        raise SettingsError("MANYHANDS_WORKER_USER needs RabbitMQ, which vouches for who sends a message")
    aggregator = Aggregator(settings, broker)
    return serve_with_api("aggregator", settings, broker, aggregator, build(aggregator, settings))
