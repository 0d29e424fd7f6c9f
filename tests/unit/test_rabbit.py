"""What is known of a RabbitMQ without one: by its version, and by how it says no."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pika
import pytest
from pika.exceptions import (
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
)

from manyhands.broker import Outgoing, connect
from manyhands.broker.rabbit.wire import counts_hand_backs, parameters, unavailable
from manyhands.errors import AccessRefused, BrokerError, BrokerUnavailable, SettingsError
from manyhands.tls import Files
from tests.unit.certificates import Authority


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


@pytest.mark.parametrize("query", ["", "?heartbeat=5", "?ca={ca}"])
def test_the_broker_is_always_verified(authority: Authority, query: str) -> None:
    """Whatever else the URL says, over TLS the broker's certificate and name are looked at."""
    url = f"amqps://u:hunter2@rabbit/{query.format(ca=authority.pem)}"
    context = parameters(url, "test", 1.0, Files()).ssl_options.context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("options", ["{'cafile':'/etc/ca.pem','cert_reqs':0}", "{}", "None", "hunter2"])
def test_nothing_in_the_url_switches_verification_off(options: str) -> None:
    """What pika would take from the URL is refused, in one sentence that does not quote it."""
    with pytest.raises(SettingsError, match="MANYHANDS_BROKER_CA") as caught:
        connect(f"amqps://u:hunter2@rabbit/?ssl_options={options}")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that nobody else knows."""
    return Authority(tmp_path / "pki")


def test_files_that_are_torn_later_cost_a_connection(authority: Authority) -> None:
    """Certificates that are being renewed, and half of them written, are a reason to wait and not to end."""
    own = authority.issue("us", name="client")
    broker = connect("amqps://u:hunter2@localhost:1/", tls=replace(own, ca=authority.pem))
    assert own.cert is not None
    own.cert.write_text("half of it")
    with pytest.raises(BrokerUnavailable, match=r"client\.pem"):
        broker.depth("some")
    publisher = broker.publisher()
    failed: list[BrokerError | None] = []
    publisher.publish(Outgoing(exchange="e", key="k", body=b"", type="t"), failed.append)
    authority.issue("us", name="client")
    with pytest.raises(BrokerUnavailable, match="refused"):
        broker.depth("some")
    assert failed == []
    broker.close()
    assert [type(error) for error in failed] == [BrokerUnavailable]
