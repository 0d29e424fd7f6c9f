"""Messages to the broker, and their confirms back to the publisher's thread."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque

from manyhands import backoff, logs, metrics, tracing
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.errors import BrokerError
from manyhands_producer.board import Board
from manyhands_producer.desk import NEWS, Desk, Slot

_log = logs.get(__name__)

#: Bytes published and not yet confirmed: the broker's window counts messages, and these may be large.
UNCONFIRMED_BYTES = 16 << 20
#: The longest sleep, in seconds.
IDLE = 1.0


class _Ticket:
    """Goes with a message and comes back with its confirm."""

    __slots__ = ("courier", "desk", "size", "slot", "suites")

    def __init__(self, courier: Courier, desk: Desk, suites: tuple[int, ...], slot: Slot, size: int) -> None:
        self.courier, self.desk, self.suites, self.slot, self.size = courier, desk, suites, slot, size

    def __call__(self, error: BrokerError | None) -> None:
        self.courier.returned(self, error)


class Courier:
    """Publishes, and gives each desk its confirms. One thread uses it; confirms come from the adapter's."""

    def __init__(self, publisher: Publisher, board: Board, clock: Clock, stop: threading.Event) -> None:
        self._publisher, self._board, self._clock, self._stop = publisher, board, clock, stop
        self._returned: deque[tuple[_Ticket, BrokerError | None]] = deque()
        self._asleep = False
        self._bytes = 0

    @property
    def ready(self) -> bool:
        """Whether the broker takes messages."""
        return self._publisher.ready

    def publish(self, message: Outgoing, desk: Desk, suites: tuple[int, ...], slot: Slot) -> None:
        """Send a message of a desk; waits while too much is unconfirmed."""
        size = len(message.body)
        while self._bytes > UNCONFIRMED_BYTES and not self._stop.is_set():
            self.sleep(self._board.rung(), IDLE)
            self.take()
        self._bytes += size
        ticket = _Ticket(self, desk, suites, slot, size)
        if tracing.spans is None:
            self._publisher.publish(message, ticket)
        else:
            self._publisher.publish(*tracing.spans.send(message, ticket))

    def returned(self, ticket: _Ticket, error: BrokerError | None) -> None:
        """A confirm has come, on the adapter's thread."""
        self._returned.append((ticket, error))
        if self._asleep:
            self._board.ring()

    def sleep(self, rung: int, timeout: float) -> None:
        """Wait for a confirm or for the board to be rung."""
        self._asleep = True
        # a confirm that came before the line above rang no bell
        if not self._returned:
            self._board.wait(rung, timeout)
        self._asleep = False

    def take(self) -> list[BrokerError]:
        """Give the confirms that have come to their desks; returns what went wrong."""
        errors: list[BrokerError] = []
        published: Counter[str] = Counter()
        while self._returned:
            ticket, error = self._returned.popleft()
            self._bytes -= ticket.size
            if error is None:
                ticket.desk.confirm(ticket.suites, ticket.slot)
                if ticket.suites and ticket.slot != NEWS:
                    published[ticket.slot[0]] += 1
            else:
                errors.append(error)
                self.back_off(ticket.desk, error)
                ticket.desk.fail(ticket.suites, ticket.slot)
        for judge, count in published.items():
            metrics.SUITES_PUBLISHED.labels(judge).inc(count)
        return errors

    def back_off(self, desk: Desk, error: Exception) -> None:
        """A desk publishes nothing for a while."""
        now = self._clock.monotonic()
        if now < desk.again_at:
            return  # one of many that failed together
        desk.failures += 1
        delay = backoff.reconnect_delay(desk.failures, random.random)
        desk.again_at = now + delay
        _log.warning("publishing again", job=desk.live.job, error=str(error), again_in=round(delay, 2))
