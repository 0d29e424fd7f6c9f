"""Publishing: into the queues at once, confirmed from a thread of its own."""

from __future__ import annotations

import threading
from collections import Counter, deque

from manyhands import logs, metrics
from manyhands.broker.embedded.link import PATIENCE, Link
from manyhands.broker.embedded.queues import Queues
from manyhands.broker.protocol import Confirmed, Outgoing
from manyhands.errors import BrokerError, BrokerUnavailable
from manyhands.measure import type_label

_log = logs.get(__name__)


class EmbeddedPublisher:
    """A publisher; its thread is there because a caller may hold a lock that its callback takes."""

    def __init__(self, link: Link, queues: Queues, window: int) -> None:
        self._link, self._queues, self._window = link, queues, window
        self._room = threading.Condition()
        self._settled: deque[tuple[Confirmed, str, BrokerError | None]] = deque()
        self._unconfirmed = 0
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._confirm, name="confirms", daemon=True)
        self._thread.start()

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Put the message into its queues."""
        with self._room:
            self._room.wait_for(lambda: self._unconfirmed < self._window or self._closed)
            self._unconfirmed += 1
            metrics.UNCONFIRMED.inc()
            closed = self._closed
        error: BrokerError | None = None
        try:
            error = BrokerUnavailable("the publisher is closed") if closed else self._queues.send(message)
        finally:
            with self._room:
                late = self._ended
                if not late:
                    self._settled.append((confirmed, message.type, error))
                    self._room.notify_all()
        if late:
            self._call([(confirmed, message.type, error)])

    def flush(self, timeout: float) -> bool:
        """Wait for the callbacks."""
        with self._room:
            return self._room.wait_for(lambda: not self._unconfirmed, timeout)

    @property
    def ready(self) -> bool:
        """Whether there is a connection."""
        return not self._closed and self._link.connected

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """End; what was published is confirmed first, as it is in its queues."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    def _confirm(self) -> None:
        while True:
            with self._room:
                self._room.wait_for(lambda: self._settled or (self._closed and not self._unconfirmed))
                if not self._settled:
                    self._ended = True
                    return
                settled = list(self._settled)
                self._settled.clear()
            self._call(settled)

    def _call(self, settled: list[tuple[Confirmed, str, BrokerError | None]]) -> None:
        for confirmed, _, error in settled:
            try:
                confirmed(error)
            except Exception:  # noqa: BLE001  one bad callback must not keep the others from being called
                _log.exception("a confirm callback failed")
        for kind, count in Counter(kind for _, kind, error in settled if error is None).items():
            metrics.PUBLISHED.labels(type_label(kind)).inc(count)
        for reason, count in Counter(type(error).__name__ for _, _, error in settled if error is not None).items():
            metrics.PUBLISH_FAILED.labels(reason).inc(count)
        metrics.UNCONFIRMED.dec(len(settled))
        with self._room:
            self._unconfirmed -= len(settled)
            self._room.notify_all()
