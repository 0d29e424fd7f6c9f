"""Brokers: one protocol, two adapters, chosen by URL."""

from __future__ import annotations

from manyhands.broker.protocol import Broker, Confirmed, Consumer, Delivery, Outgoing, Publisher, Puller, Verdict
from manyhands.errors import SettingsError
from manyhands.tls import Files

__all__ = ["Broker", "Confirmed", "Consumer", "Delivery", "Outgoing", "Publisher", "Puller", "Verdict", "connect"]


def connect(url: str, *, name: str = "manyhands", tls: Files | None = None) -> Broker:
    """The broker at ``url``: ``amqp(s)://`` is RabbitMQ, ``memory://`` is embedded in this process.

    ``redis://`` and ``sqs://`` are carried by kombu's transports of these names, for small installations. ``name`` is
    how the connections show up in the broker's management; ``tls`` are the files for ``amqps://``.
    """
    scheme = url.partition("://")[0]
    # each adapter is imported only when used: a RabbitMQ installation never loads kombu, nor the other way round
    if scheme in ("amqp", "amqps"):
        from manyhands.broker.rabbit import RabbitBroker

        return RabbitBroker(url, name=name, tls=tls)
    if scheme in ("memory", "redis", "rediss", "sqs"):
        from manyhands.broker.embedded import EmbeddedBroker

        return EmbeddedBroker(url)
    raise SettingsError(f"broker {scheme}:// is not known; use amqp://, amqps://, memory://, redis:// or sqs://")
