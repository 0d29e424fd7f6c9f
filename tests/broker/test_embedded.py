"""The embedded broker, held to what every broker does."""

from collections.abc import Iterator

import pytest

from manyhands.broker import Broker
from manyhands.broker.embedded import EmbeddedBroker
from tests.broker.conformance import Conformance


class TestEmbedded(Conformance):
    """The conformance suite on the embedded broker."""

    @pytest.fixture
    def broker(self) -> Iterator[Broker]:
        """A broker in this process."""
        broker = EmbeddedBroker("memory://")
        yield broker
        broker.close()

    def test_not_durable(self, broker: Broker) -> None:
        """What the embedded broker confirms ends with its process, and it says so."""
        assert not broker.durable
