"""What is known of a RabbitMQ without one: by its version, and by how it says no."""

from __future__ import annotations

import pika
import pytest
from pika.exceptions import (
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
)

from manyhands.broker import connect
from manyhands.broker.rabbit.wire import counts_hand_backs, unavailable
from manyhands.errors import AccessRefused, BrokerUnavailable


@pytest.mark.parametrize(
    ("version", "counts"),
    [
        ("RabbitMQ 3.10.8", True),
        ("RabbitMQ 4.2.9", True),
        ("RabbitMQ 4.3.0", False),
        ("RabbitMQ 4.3.0-rc.1", False),
        ("RabbitMQ 4.10.0", False),
        ("RabbitMQ 5.0.0", False),
        ("RabbitMQ", True),
        ("LavinMQ 9.0.0", True),
        ("", True),
    ],
)
def test_hand_backs_count_before_4_3(version: str, counts: bool) -> None:
    """And with whatever is not known, for innocent tasks are dearer than late convictions."""
    assert counts_hand_backs(version) is counts


def test_a_broker_that_was_not_connected_to() -> None:
    """Nothing is known of it yet."""
    broker = connect("amqp://localhost:1/")
    assert (broker.version, broker.counts_hand_backs) == ("", True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionClosedByBroker(403, "ACCESS_REFUSED - Login was refused"), AccessRefused),
        (ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost x not found"), AccessRefused),
        (ConnectionClosedByBroker(530, "NOT_ALLOWED - user connection limit (0) is reached"), BrokerUnavailable),
        (ConnectionClosedByBroker(320, "CONNECTION_FORCED"), BrokerUnavailable),
        (ProbableAuthenticationError(repr(ConnectionClosedByBroker(403, "ACCESS_REFUSED"))), AccessRefused),
        (ProbableAccessDeniedError(repr(ConnectionClosedByBroker(530, "vhost x not found"))), AccessRefused),
        (ProbableAccessDeniedError(repr(ConnectionClosedByBroker(530, "connection limit"))), BrokerUnavailable),
        (ProbableAuthenticationError(repr(StreamLostError("eof"))), BrokerUnavailable),
        (ProbableAccessDeniedError(repr(StreamLostError("eof"))), BrokerUnavailable),
    ],
)
def test_what_no_waiting_mends(error: Exception, kind: type[Exception]) -> None:
    """Only the broker's own word is a refusal: a connection lost while it is opened may come about the next time."""
    assert type(unavailable(error, pika.URLParameters("amqp://user:secret@host/"))) is kind
