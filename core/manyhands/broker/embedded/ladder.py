"""The retry ladder: messages that wait in a queue until their time is up."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from manyhands.broker.embedded.link import PATIENCE, Link
from manyhands.broker.embedded.queues import Queues
from manyhands.errors import BrokerUnavailable


class Ladder:
    """Lets messages expire. Messages of a queue have the same time to live, so only its first needs to be watched."""

    def __init__(self, link: Link, queues: Queues) -> None:
        self._link, self._queues = link, queues
        self._first: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Watch from now on."""
        with self._queues.expiring:
            if self._thread is None:
                self._closed = False
                self._thread = threading.Thread(target=self._run, name="retry-ladder", daemon=True)
                self._thread.start()

    def holds(self, queue: str) -> int:
        """How many messages of a queue are held here and not in it."""
        return int(queue in self._first)

    def forget(self, queue: str) -> None:
        """The queue is deleted."""
        self._first.pop(queue, None)

    def close(self) -> None:
        """Stop watching; what is held goes back to its queue."""
        with self._queues.expiring:
            self._closed = True
            thread, self._thread = self._thread, None
            self._queues.expiring.notify_all()
        if thread is not None:
            thread.join(PATIENCE)

    def _run(self) -> None:
        with self._queues.expiring:
            while not self._closed:
                self._queues.expiring.wait(self._watch())
            with contextlib.suppress(BrokerUnavailable), self._link.channel() as channel:
                while self._first:
                    channel.basic_reject(self._first.popitem()[1].delivery_tag, requeue=True)

    def _watch(self) -> float | None:
        """Move what has expired; returns the seconds until the next look, None for as long as nothing is put."""
        waits = [] if self._link.poll is None else [self._link.poll]
        try:
            with self._link.channel() as channel:
                for queue in self._queues.due():
                    while (first := self._first.pop(queue, None) or channel.basic_get(queue)) is not None:
                        left = self._queues.left(first)
                        if left > 0:
                            self._first[queue] = first
                            waits.append(left)
                            break
                        self._queues.expire(queue, first)
                if self._link.memory:
                    return min(waits, default=None)
                channel.qos.restore_visible()  # what a process that died had taken from a server
        except BrokerUnavailable:
            self._first.clear()
        return min(waits, default=None)
