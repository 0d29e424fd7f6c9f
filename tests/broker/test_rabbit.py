"""RabbitMQ, held to what every broker does."""

from collections.abc import Iterator

import pytest

from manyhands.broker import Broker
from manyhands.broker.rabbit import RabbitBroker
from tests.broker.conformance import Conformance
from tests.services import RabbitMQ


class TestRabbit(Conformance):
    """The conformance suite on RabbitMQ."""

    @pytest.fixture
    def broker(self, rabbitmq: RabbitMQ) -> Iterator[Broker]:
        """The shared server."""
        broker = RabbitBroker(rabbitmq.url, name="conformance")
        yield broker
        broker.close()
