"""What is known of a RabbitMQ by its version, without one."""

from __future__ import annotations

import pytest

from manyhands.broker import connect
from manyhands.broker.rabbit.wire import counts_hand_backs


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
