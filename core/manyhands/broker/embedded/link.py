"""The connection to one of kombu's virtual transports, and its one channel."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
from kombu.connection import Connection
from kombu.transport import memory, virtual

from manyhands import backoff
from manyhands.errors import BrokerUnavailable, SettingsError

#: Seconds between two looks at a queue of a server; in memory nobody polls.
POLL = 0.05
#: Seconds that connecting may take, and that closing waits for callbacks that are still running.
PATIENCE = 5.0


class _Channel(memory.Channel):
    """kombu's in-memory channel with queues of its own, where kombu shares them throughout the process."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        self.queues: dict[str, Any] = {}

    def _next_delivery_tag(self) -> int:
        return next(self._delivery_tags)  # where nobody else counts, no uuid is needed: it costs as much as the rest

    def _delete(self, queue: str, exchange: str, *meta: Any, **kwargs: Any) -> None:
        super()._delete(queue, exchange, *meta, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        table = self.get_table(exchange)  # type: ignore[no-untyped-call]  # which kombu leaves as it was
        table[:] = [binding for binding in table if binding[2] != queue]


class _Transport(memory.Transport):
    """kombu's in-memory transport with exchanges and bindings of its own."""

    Channel = _Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        self.state = virtual.BrokerState()


class Link:
    """A connection that is made when it is needed, and made again when it was lost.

    ``lock`` guards the channel, which is not made for threads, and everything that is kept about what is behind it.
    ``opened`` is called with every new channel. ``memory``: the transport is the one in memory.
    """

    def __init__(self, url: str, opened: Callable[[Any], None], *, memory: bool) -> None:
        self._url, self._opened, self.memory = url, opened, memory
        self.poll = None if self.memory else POLL
        # what is due is compared with what another process wrote only where there is another process
        self.now = time.monotonic if self.memory else time.time
        self.lock = threading.RLock()
        #: What was connected to last.
        self.version = ""
        self._connection: Any = None
        self._channel: Any = None
        # nothing is out of reach in memory, and to "reconnect" would be to lose what is there
        self._errors: tuple[type[BaseException], ...] = () if self.memory else (OSError,)
        self._attempts, self._again_at = 0, 0.0

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """The channel, locked; its library's errors become ``BrokerUnavailable``."""
        with self.lock:
            try:
                yield self._connected()
            except self._errors as error:
                self.disconnect()
                self._attempts += 1
                self._again_at = time.monotonic() + backoff.reconnect_delay(self._attempts, random.random)
                raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    @property
    def connected(self) -> bool:
        """Whether there is a channel; tries to get one."""
        with contextlib.suppress(BrokerUnavailable), self.channel():
            return True
        return False

    def disconnect(self) -> None:
        """Let the connection go; the lock is held."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*self._errors):
                connection.release()

    def _connected(self) -> Any:
        if self._channel is None:
            if time.monotonic() < self._again_at:
                raise BrokerUnavailable("it was away a moment ago")
            options = {"body_encoding": None} if self.memory else {}  # bytes stay bytes where no JSON is made of them
            transport = _Transport if self.memory else None
            try:
                connection = Connection(
                    self._url, transport=transport, transport_options=options, connect_timeout=PATIENCE
                )
                if not self.memory:
                    self._errors = (OSError, *connection.connection_errors, *connection.channel_errors)
                channel = connection.channel()
            except (ImportError, AttributeError) as error:  # kombu subclasses what it could not import
                extra = self._url.partition(":")[0].replace("rediss", "redis")
                raise SettingsError(f"{extra}:// needs another package; install kombu[{extra}]") from error
            self._connection, self._channel, self._attempts = connection, channel, 0
            self.version = f"kombu {kombu.__version__} {connection.transport.driver_type}"
            self._opened(channel)
        return self._channel
