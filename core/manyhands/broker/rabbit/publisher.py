"""Publishing with asynchronous confirms: a window of messages on their way, and word of each when it is settled."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, OrderedDict, deque
from typing import Any

from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from manyhands import backoff, logs, metrics
from manyhands.broker.protocol import Confirmed, Outgoing
from manyhands.broker.rabbit import wire
from manyhands.broker.rabbit.link import CLOSE_TIMEOUT, GOOD, Link
from manyhands.errors import BrokerError, BrokerUnavailable, Refused, Unroutable
from manyhands.measure import type_label

_log = logs.get(__name__)

_PERSISTENT = 2
_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED = 403, 404, 406
_REASONS: dict[type[BrokerError], str] = {Unroutable: "unroutable", Refused: "refused"}


class RabbitPublisher(Link):
    """A publisher with a window.

    A message waits in ``_waiting`` until the channel is open, then in ``_sent`` under its delivery tag until it is
    confirmed. ``_open`` counts both, and the callbacks that have not returned.
    """

    def __init__(self, settings: wire.Settings, window: int, user: str | None) -> None:
        super().__init__(settings)
        self._window, self._user = window, user
        self._room = threading.Condition(threading.Lock())
        self._open = 0
        self._measured = 0
        self._blocked = False
        self._waiting: deque[tuple[Outgoing, Confirmed]] = deque()
        self._sent: OrderedDict[int, tuple[Outgoing, Confirmed]] = OrderedDict()
        self._returned: dict[int, Unroutable] = {}
        self._done: list[tuple[Outgoing, Confirmed, BrokerError | None]] = []
        self._channel: Any = None
        self._channel_since = 0.0
        self._channel_attempts = 0
        self._tag = 0
        self._properties: dict[tuple[str, str | None], BasicProperties] = {}

    # -- from any thread -----------------------------------------------------------------------------------------------

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Send a message; waits for room in the window."""
        with self._room:
            # the I/O thread is what makes room: a callback that publishes goes over the window instead
            if self._full() and threading.current_thread() is not self._thread:
                self._room.wait_for(lambda: not self._full())
            if not self._closing.is_set():
                self._open += 1
                self._waiting.append((message, confirmed))
                confirmed = _ignore
        if confirmed is not _ignore:
            confirmed(BrokerUnavailable("the publisher is closed"))
            return
        self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is unconfirmed."""
        with self._room:
            return self._room.wait_for(lambda: not self._open, timeout)

    @property
    def ready(self) -> bool:
        """Whether the channel is open and the connection not blocked."""
        return self._channel is not None and not self._blocked

    def close(self) -> None:
        """End the connection; what is unconfirmed fails."""
        with self._room:
            self._closing.set()
            self._room.notify_all()
        super().close()

    def _full(self) -> bool:
        return (self._open >= self._window or self._blocked) and not self._closing.is_set()

    # -- the channel ---------------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        connection.add_on_connection_blocked_callback(lambda *_: self._block(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(False))
        self._open_channel()

    def _open_channel(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._confirming(channel))

    def _confirming(self, channel: Any) -> None:
        self._tag = 0
        self._channel, self._channel_since = channel, time.monotonic()
        self._work()

    def _channel_closed(self, _channel: Any, reason: BaseException) -> None:
        self._channel = None
        if not isinstance(reason, ChannelClosedByBroker):
            reason = wire.unavailable(reason, self._parameters)
        self._fail_sent(reason)
        if self._connection is None or not self._connection.is_open:
            return  # the connection went with it
        if time.monotonic() - self._channel_since > GOOD:
            self._channel_attempts = 0
        self._channel_attempts += 1
        delay = backoff.reconnect_delay(self._channel_attempts, random.random)
        _log.warning("publishing again", error=str(reason), again_in=round(delay, 2))
        self._later(delay, lambda: self._declare(self._open_channel))

    def _lost(self, error: BrokerUnavailable) -> None:
        self._channel = None
        self._block(False)
        self._fail_sent(error)
        if self._closing.is_set():
            with self._room:
                waiting, self._waiting = self._waiting, deque()
            self._done += [(message, confirmed, error) for message, confirmed in waiting]
        self._tell()

    def _block(self, blocked: bool) -> None:
        if blocked == self._blocked:
            return
        with self._room:
            self._blocked = blocked
            self._room.notify_all()
        metrics.BLOCKED.inc(1 if blocked else -1)
        _log.warning("the broker blocks publishing" if blocked else "publishing is not blocked any more")
        self._work()

    @property
    def _farewell(self) -> float:
        return 0.0 if self._blocked else CLOSE_TIMEOUT  # who blocks a connection does not read from it either

    # -- sending -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        channel, connection = self._channel, self._connection
        if channel is None or connection is None or not self._waiting or self._blocked:
            return
        waiting, sent, publish = self._waiting, self._sent, channel.basic_publish
        connection.gather()
        try:
            while waiting:
                entry = waiting.popleft()
                message = entry[0]
                self._tag += 1
                sent[self._tag] = entry
                try:
                    publish(message.exchange, message.key, message.body, self._properties_of(message), True)
                except Exception as error:  # noqa: BLE001  pika raises many kinds for what AMQP cannot carry
                    # nothing of it was sent, so its tag is the next one's
                    del sent[self._tag]
                    self._tag -= 1
                    self._settled(entry, Refused(f"it cannot be sent: {type(error).__name__}: {error}"))
        finally:
            connection.release()
            self._measure()

    def _properties_of(self, message: Outgoing) -> BasicProperties:
        if message.headers:
            return BasicProperties(
                type=message.type,
                content_encoding=message.content_encoding,
                delivery_mode=_PERSISTENT,
                user_id=self._user,
                headers=dict(message.headers),
            )
        key = message.type, message.content_encoding
        found = self._properties.get(key)
        if found is None:
            found = BasicProperties(type=key[0], content_encoding=key[1], delivery_mode=_PERSISTENT, user_id=self._user)
            self._properties[key] = found
        return found

    # -- confirms ------------------------------------------------------------------------------------------------------

    def _on_return(self, _channel: Any, method: Basic.Return, _properties: BasicProperties, body: bytes) -> None:
        # A return says no tag; it comes before the confirm of its message, and in the order of publishing. Messages
        # that are alike in route and body go the same way, so whichever of them is taken, the outcome is true.
        for tag, (message, _) in self._sent.items():
            if (
                message.key == method.routing_key
                and message.exchange == method.exchange
                and tag not in self._returned
                and message.body == body
            ):
                self._returned[tag] = Unroutable(f"{message.key!r} at {message.exchange!r}: {method.reply_text}")
                return

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tag, sent = method.delivery_tag, self._sent
        error = None if isinstance(method, Basic.Ack) else Refused("its queue is full or does not take it now")
        if not method.multiple:
            entry = sent.pop(tag, None)
            if entry is not None:
                self._settled(entry, error or self._returned.pop(tag, None))
            return
        while sent:
            first, entry = sent.popitem(last=False)
            if first > tag:
                sent[first] = entry
                sent.move_to_end(first, last=False)
                return
            self._settled(entry, error or self._returned.pop(first, None))

    def _settled(self, entry: tuple[Outgoing, Confirmed], error: BrokerError | None) -> None:
        if not self._done:
            # what one read from the socket settles is told in one go
            self._later(0, self._tell)
        self._done.append((entry[0], entry[1], error))

    def _fail_sent(self, reason: BaseException) -> None:
        sent, self._sent, self._returned = self._sent, OrderedDict(), {}
        for message, confirmed in sent.values():
            self._done.append((message, confirmed, _blame(reason, message)))
        self._tell()

    def _tell(self) -> None:
        done, self._done = self._done, []
        if not done:
            return
        kinds: Counter[str] = Counter()
        for message, confirmed, error in done:
            if error is None:
                kinds[message.type] += 1
            else:
                metrics.PUBLISH_FAILED.labels(_REASONS.get(type(error), "unavailable")).inc()
            try:
                confirmed(error)
            except Exception:  # noqa: BLE001  somebody else's fault must not end the I/O thread
                _log.exception("a confirm callback failed", type=message.type)
        for kind, count in kinds.items():
            metrics.PUBLISHED.labels(type_label(kind)).inc(count)
        with self._room:
            self._open -= len(done)
            self._room.notify_all()
        self._measure()

    def _measure(self) -> None:
        now = self._open
        metrics.UNCONFIRMED.inc(now - self._measured)
        self._measured = now


def _ignore(_error: BrokerError | None) -> None:
    """Stands for a callback that was handed over."""


def _blame(reason: BaseException, message: Outgoing) -> BrokerError:
    """What the end of its channel means for a message that was on its way.

    When the message may be what ended it, publishing it again would end the next channel too.
    """
    if isinstance(reason, ChannelClosedByBroker):
        said = reason.reply_text
        if f"'{message.exchange}'" in said and reason.reply_code == _NOT_FOUND:
            return Unroutable(said)
        if f"'{message.exchange}'" in said and reason.reply_code == _ACCESS_REFUSED:
            return Refused(said)
        if f" {len(message.body)} " in said and reason.reply_code == _PRECONDITION_FAILED:
            return Refused(said)
        return BrokerUnavailable(said)
    return reason if isinstance(reason, BrokerError) else BrokerUnavailable(str(reason))
