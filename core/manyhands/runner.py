"""Consume, handle, settle, drain: the only place that acks.

A handler is given deliveries and says, now or later and from any thread, what each caused: messages to publish and a
verdict. The runner publishes, waits for every confirm, and only then settles the delivery. So an ack always comes last.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from manyhands import backoff, logs, metrics
from manyhands.broker.protocol import Consumer, Delivery, Outgoing, Publisher, Verdict
from manyhands.errors import BrokerError

_log = logs.get(__name__)

#: How long one wait for deliveries lasts; stopping takes no longer than this.
POLL = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What deliveries caused: messages that must be confirmed before they are settled with the verdict."""

    deliveries: Sequence[Delivery]
    publish: Sequence[Outgoing] = ()
    verdict: Verdict = Verdict.ACK


#: Gives the runner an outcome; may be called from any thread.
Finish = Callable[[Outcome], None]


class Handler(Protocol):
    """What a service does with deliveries."""

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """Take the deliveries in hand; call ``finish`` once for each of them, now or later.

        What it raises is logged and the deliveries that it was given and has not finished are handed back after a
        back-off: that is for a store that is away. Everything else is an outcome.
        """


class Runner:
    """Runs a handler over a consumer's deliveries until it is told to stop."""

    def __init__(
        self,
        consumer: Consumer,
        publisher: Publisher,
        handler: Handler,
        *,
        batch: int = 1,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._handler = handler
        self._batch = batch
        self._random = random
        self._stop = threading.Event()
        self._lock = threading.Condition()
        self._in_hand: set[Delivery] = set()

    def run(self) -> None:
        """Consume until :meth:`stop`; returns when nothing more is taken. Deliveries may still be in hand."""
        failures = 0
        while not self._stop.is_set():
            deliveries = self._consumer.receive(self._batch, POLL)
            if not deliveries:
                continue
            with self._lock:
                self._in_hand.update(deliveries)
                metrics.IN_HAND.set(len(self._in_hand))
            for kind, count in Counter(d.type for d in deliveries).items():
                metrics.DELIVERED.labels(kind or "none").inc(count)
            try:
                self._handler.handle(deliveries, self.finish)
                failures = 0
            except Exception as error:  # noqa: BLE001  the loop outlives whatever a handler meets
                failures += 1
                delay = backoff.reconnect_delay(failures, self._random)
                _log.warning("handing back", error=f"{type(error).__name__}: {error}", again_in=round(delay, 2))
                self._stop.wait(delay)
                with self._lock:
                    left = [d for d in deliveries if d in self._in_hand]
                self.finish(Outcome(deliveries=left, verdict=Verdict.HAND_BACK))
        self._consumer.stop()

    def stop(self) -> None:
        """Take no more deliveries; safe to call from a signal handler."""
        self._stop.set()

    def drain(self, timeout: float) -> bool:
        """After :meth:`run`: wait until all in hand is settled; hand back what is not within ``timeout`` seconds.

        Returns whether everything was finished in time.
        """
        with self._lock:
            done = self._lock.wait_for(lambda: not self._in_hand, timeout)
            left = list(self._in_hand)
        if left:
            self._settle(left, Verdict.HAND_BACK)
        return done

    def finish(self, outcome: Outcome) -> None:
        """Publish what an outcome carries; settle its deliveries when all of it is confirmed.

        May block while the publisher's window is full. What cannot be published leads to its deliveries being handed
        back: they come again and lead to the same messages.
        """
        if not outcome.publish:
            self._settle(outcome.deliveries, outcome.verdict)
            return
        pending = _Pending(outcome, len(outcome.publish), self._settle)
        for message in outcome.publish:
            self._publisher.publish(message, pending.confirmed)

    def _settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        with self._lock:
            # whoever comes first settles: a drain that ran out of time must not be followed by a late ack
            mine = [d for d in deliveries if d in self._in_hand]
            self._in_hand.difference_update(mine)
            metrics.IN_HAND.set(len(self._in_hand))
            if not self._in_hand:
                self._lock.notify_all()
        if mine:
            self._consumer.settle(mine, verdict)
            metrics.SETTLED.labels(verdict.value).inc(len(mine))


class _Pending:
    """The publishes that an outcome waits for."""

    __slots__ = ("_error", "_left", "_lock", "_outcome", "_settle")

    def __init__(self, outcome: Outcome, count: int, settle: Callable[[Sequence[Delivery], Verdict], None]) -> None:
        self._outcome, self._left, self._settle = outcome, count, settle
        self._error: BrokerError | None = None
        self._lock = threading.Lock()

    def confirmed(self, error: BrokerError | None) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            last = self._left == 0
        if not last:
            return
        if self._error is None:
            self._settle(self._outcome.deliveries, self._outcome.verdict)
        else:
            _log.warning("publish failed, handing back", error=str(self._error))
            self._settle(self._outcome.deliveries, Verdict.HAND_BACK)
