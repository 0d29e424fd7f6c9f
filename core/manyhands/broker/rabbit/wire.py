"""What both kinds of connection share: parameters, the steps of declaring, errors in words, and a frugal connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika
from pika.spec import Basic, BasicProperties

from manyhands import logs, tls
from manyhands.broker.protocol import Delivery
from manyhands.broker.rabbit.properties import text
from manyhands.errors import AccessRefused, BrokerUnavailable, SettingsError
from manyhands.headers import number
from manyhands.topology import Topology

#: Seconds between heartbeats, unless the URL says otherwise: a half-open connection is found in twice that.
HEARTBEAT = 20
#: Bytes gathered before they are given to the socket: enough to save system calls, little enough to copy cheaply.
CHUNK = 64 * 1024

_RABBITMQ = re.compile(r"RabbitMQ (\d+)\.(\d+)")
_ACCESS_REFUSED, _NOT_ALLOWED = 403, 530
#: The code and the text with which the broker closed a connection.
_BROKERS_WORD = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a link is given by its broker: how to connect, as what, what to declare, and whom to tell of the server.

    ``parameters`` is asked for every connection, since certificates are renewed; ``first`` is what it said at first.
    """

    first: pika.connection.Parameters
    parameters: Callable[[], pika.connection.Parameters]
    role: str
    topology: Callable[[], Topology]
    greeted: Callable[[Mapping[str, Any]], None]


def counts_hand_backs(version: str) -> bool:
    """Whether a broker of this name and version may count a nack, or a closed channel, as a delivery that failed.

    RabbitMQ does not from 4.3 on. Source: its documentation of quorum queues, "poison message handling".
    """
    found = _RABBITMQ.match(version)
    return found is None or (int(found[1]), int(found[2])) < (4, 3)


def parameters(url: str, name: str, timeout: float, files: tls.Files) -> pika.connection.Parameters:
    """Connection parameters from a URL; ``name`` is how the connection shows up in the broker's management.

    Raises:
        SettingsError: the URL is not right, or a file for TLS is not.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        ca = query.pop("ca", None)
        unverified = query.pop("ssl_options", None) is not None
        found = pika.URLParameters(urlunsplit(parts._replace(query=urlencode(query))))
    except (ValueError, TypeError, OSError):
        # what the parser says of a torn URL may quote the password
        raise SettingsError(
            f"the broker URL {logs.mask(url)} must be like amqp://user:password@host:5672/vhost"
        ) from None
    if unverified:  # pika's own, with which one can leave the certificate and the host's name unlooked at
        raise SettingsError(
            "ssl_options in the broker's URL are not taken; name files with MANYHANDS_BROKER_CA, _CERT, _KEY"
        )
    if ca is not None:
        files = replace(files, ca=Path(ca))
    if found.ssl_options is None:
        if files != tls.Files():
            raise SettingsError("there are certificates for the broker, but its URL is amqp://; make it amqps://")
    else:
        found.ssl_options = pika.SSLOptions(tls.client_context(files, "broker"), found.host)
    found.client_properties = {"connection_name": name}
    found.connection_attempts = 1
    found.socket_timeout = found.stack_timeout = timeout
    if found.heartbeat is None:
        found.heartbeat = HEARTBEAT
    return found


def steps(topology: Topology) -> Iterator[tuple[str, dict[str, Any]]]:
    """The methods of a channel that declare a topology, with their arguments, in order."""
    for exchange in topology.exchanges:
        alternate = {"alternate-exchange": exchange.alternate} if exchange.alternate else {}
        yield (
            "exchange_declare",
            {"exchange": exchange.name, "exchange_type": exchange.kind, "durable": True, "arguments": alternate},
        )
    for queue in topology.queues:
        yield "queue_declare", {"queue": queue.name, "durable": True, "arguments": queue.arguments}
    for bound in topology.bindings:
        yield "queue_bind", {"queue": bound.queue, "exchange": bound.exchange, "routing_key": bound.key}


def delivery(
    queue: str, method: Basic.Deliver | Basic.GetOk, properties: BasicProperties, body: bytes, token: object
) -> Delivery:
    """A message as it came from a queue."""
    headers = properties.headers or {}
    return Delivery(
        queue=queue,
        key=text(method.routing_key) or "",
        body=body,
        type=text(properties.type),
        content_encoding=text(properties.content_encoding),
        headers=headers,
        delivery_count=number(headers.get("x-delivery-count")) or 0 if headers else 0,
        redelivered=method.redelivered,
        user=properties.user_id,
        token=token,
    )


def unavailable(error: BaseException | None, to: pika.connection.Parameters) -> BrokerUnavailable:
    """What happened to a connection, in words that say what to look at; never with a password."""
    cause = _innermost(error)
    where = f"{to.host}:{to.port}"
    user = getattr(to.credentials, "username", "")
    # while a connection is opened, pika takes any end of it for a refusal, and keeps but the text of what was said
    told = _BROKERS_WORD.search(str(cause.args[0]) if len(cause.args) == 1 else repr(cause))
    code, words = (int(told[1]), told[2]) if told else (0, "")
    if code == _ACCESS_REFUSED:
        return AccessRefused(f"{where} refused the user {user!r}; check the user and password in the URL")
    if code == _NOT_ALLOWED and "limit" not in words:
        return AccessRefused(f"{where} did not let {user!r} into the virtual host {to.virtual_host!r}")
    said = tls.words(cause) or logs.mask(str(cause)) or type(cause).__name__
    if said.endswith("to trust"):
        said += " with MANYHANDS_BROKER_CA"
    return BrokerUnavailable(f"{where}: {said}")


def _innermost(error: BaseException | None) -> BaseException:
    """What pika wrapped: the last attempt's own exception."""
    while error is not None:
        inner = getattr(error, "exception", None) or next(iter(reversed(getattr(error, "exceptions", ()))), None)
        if inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None or inner is error:
            return error
        error = inner
    return ConnectionError("the connection ended")


class Connection(pika.SelectConnection):  # type: ignore[misc]  # pika ships no types
    """A connection that can gather frames and send them together.

    pika gives every frame to the socket by itself: three system calls for each small message, a third of its cost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._gathering = False
        self._gathered = bytearray()
        super().__init__(*args, **kwargs)

    def gather(self) -> None:
        """Keep frames back until :meth:`release`."""
        self._gathering = True

    def release(self) -> None:
        """Send what was kept back."""
        self._gathering = False
        if self._gathered:
            self._send_gathered()

    def _output_marshaled_frames(self, marshaled_frames: list[bytes]) -> None:
        gathered = self._gathered
        for frame in marshaled_frames:
            gathered += frame
        self.frames_sent += len(marshaled_frames)
        if not self._gathering or len(gathered) >= CHUNK:
            self._send_gathered()

    def _send_gathered(self) -> None:
        chunk = bytes(self._gathered)
        self._gathered.clear()
        self.bytes_sent += len(chunk)
        self._adapter_emit_data(chunk)
