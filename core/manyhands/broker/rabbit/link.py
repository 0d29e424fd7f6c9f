"""A connection kept up: its I/O thread, reconnecting with back-off, declaring again, and closing in good order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from pika.adapters.select_connection import IOLoop
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByClient

from manyhands import backoff, logs, metrics
from manyhands.broker.rabbit import wire
from manyhands.errors import BrokerUnavailable

_log = logs.get(__name__)

#: Seconds of life after which a connection or channel counts as good, so that the next back-off starts anew.
GOOD = 10.0
#: Longest wait in seconds before the next attempt to connect: the work of everybody stands still meanwhile.
RECONNECT_CAP = 2.0
#: Seconds that an orderly end may take.
CLOSE_TIMEOUT = 5.0


class Link:
    """The base of publisher and consumer.

    Everything but :meth:`start`, :meth:`close` and :meth:`_wake` runs on the I/O thread.
    """

    def __init__(self, settings: wire.Settings) -> None:
        self._settings = settings
        self._parameters = settings.first
        self._connection: wire.Connection | None = None
        self._loop: Any = None
        self._wake_at: Any = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rabbit {settings.role}", daemon=True)

    # -- what a subclass does ------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        """There is a connection, and what is to be declared was declared."""

    def _lost(self, error: BrokerUnavailable) -> None:
        """There is no connection, or none any more."""

    def _work(self) -> None:
        """Do what other threads have handed over; called soon after :meth:`_wake`."""

    @property
    def _farewell(self) -> float:
        """Seconds to wait for the broker's answer at the end."""
        return CLOSE_TIMEOUT

    # -- from any thread -----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closing.is_set()

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self) -> None:
        """Finish the work handed over, end the connection, and wait for that."""
        self._closing.set()
        loop = self._loop
        if loop is not None:
            loop.add_callback_threadsafe(self._finish)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT * 2)

    def _wake(self) -> None:
        """Have :meth:`_work` called, once for however many calls came before it; what it needs must be in place."""
        loop = self._loop
        # the mark is the loop itself, so that one left by a connection that is gone cannot hold up the next
        if loop is not None and self._wake_at is not loop:
            self._wake_at = loop
            loop.add_callback_threadsafe(self._woken)

    # -- on the I/O thread ---------------------------------------------------------------------------------------------

    def _woken(self) -> None:
        self._wake_at = None
        self._work()

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        """Call something on this thread after a delay, unless the connection is gone by then."""
        if self._loop is not None:
            self._loop.call_later(delay, call)

    def _run(self) -> None:
        attempt, made = 0, 0
        while not self._closing.is_set():
            since, error = self._connect_once(made)
            if since is not None:
                made += 1
                attempt = 0 if time.monotonic() - since > GOOD else attempt
            failure = wire.unavailable(error, self._parameters)
            self._lost(failure)
            if self._closing.is_set():
                break
            attempt += 1
            delay = backoff.reconnect_delay(attempt, random.random, cap=RECONNECT_CAP)
            _log.warning("connecting again", role=self._settings.role, error=failure.detail, again_in=round(delay, 2))
            self._closing.wait(delay)
        self._lost(BrokerUnavailable(f"the {self._settings.role} is closed"))

    def _connect_once(self, made: int) -> tuple[float | None, BaseException | None]:
        """Connect and serve the connection until it ends; returns since when it was open, and why it ended."""
        loop = IOLoop()
        since: float | None = None
        reason: BaseException | None = None

        def opened(connection: wire.Connection) -> None:
            nonlocal since
            since = time.monotonic()
            self._settings.greeted(connection.server_properties or {})
            if made:
                metrics.RECONNECTS.labels(self._settings.role).inc()
                _log.info("connected again", role=self._settings.role)
            self._declare(self._opened)

        def ended(_connection: wire.Connection, why: BaseException) -> None:
            nonlocal reason
            reason = why
            loop.stop()

        try:
            self._parameters = self._settings.parameters()
            self._connection = wire.Connection(
                self._parameters,
                on_open_callback=opened,
                on_open_error_callback=ended,
                on_close_callback=ended,
                custom_ioloop=loop,
            )
            self._loop = loop
            if self._closing.is_set():  # in between: close() saw no loop to tell
                loop.add_callback_threadsafe(self._finish)
            loop.start()
        except Exception as error:  # noqa: BLE001  whatever pika trips over costs this connection and not the thread
            reason = error
            _log.warning("the connection failed", role=self._settings.role, error=f"{type(error).__name__}: {error}")
        finally:
            self._loop = self._connection = None
            loop.close()
        return since, reason

    def _finish(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closing or connection.is_closed:
            return
        self._work()
        connection.close()

        def give_up() -> None:
            # there is no public way to end a connection without the other side's answer
            connection._terminate_stream(ConnectionClosedByClient(200, "no answer to close"))

        self._later(self._farewell, give_up)

    def _declare(self, then: Callable[[], None]) -> None:
        """Declare what the broker object knows, on a channel of its own, and go on whether or not that worked."""
        connection = self._connection
        steps = list(wire.steps(self._settings.topology()))
        if connection is None or not connection.is_open:
            return
        if not steps:
            then()
            return

        def declare(channel: Any) -> None:
            # without callbacks pika asks for no answers: all of it takes one round trip, a refusal closes the channel
            for method, arguments in steps:
                getattr(channel, method)(**arguments)
            channel.close()

        def declared(_channel: Any, reason: BaseException) -> None:
            if isinstance(reason, ChannelClosedByBroker):
                _log.error("not declared", error=reason.reply_text)
            if connection.is_open:
                then()

        connection.channel(on_open_callback=declare).add_on_close_callback(declared)
