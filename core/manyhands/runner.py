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
from manyhands.clock import Clock, SystemClock
from manyhands.errors import BrokerError
from manyhands.outcome import BLAMELESS

_log = logs.get(__name__)

#: How long one wait for deliveries lasts; stopping takes no longer than this.
POLL = 0.25
#: Seconds before a delivery is handed back whose messages could not be published: it may come again at once.
PAUSE = 0.5


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

        Everything is an outcome but two cases. A ``StoreUnavailable`` or ``HandBack`` that it raises has the deliveries
        that it was given and has not finished handed back after a back-off. Anything else is a fault: it is given those
        deliveries again one by one, so that only the one at fault fails, which counts towards its delivery limit.
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
        clock: Clock | None = None,
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._handler = handler
        self._batch = batch
        self._random = random
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._lock = threading.Condition()
        self._in_hand: set[Delivery] = set()
        self._unpublished: list[tuple[float, Sequence[Delivery]]] = []

    def run(self) -> None:
        """Consume until :meth:`stop`; returns when nothing more is taken. Deliveries may still be in hand."""
        failures = 0
        while not self._stop.is_set():
            deliveries = self._consumer.receive(self._batch, POLL)
            if not deliveries:
                self._hand_back_late()
                continue
            with self._lock:
                self._in_hand.update(deliveries)
                metrics.IN_HAND.set(len(self._in_hand))
            for kind, count in Counter(d.type for d in deliveries).items():
                metrics.DELIVERED.labels(kind or "none").inc(count)
            if self._handle(deliveries):
                failures = 0
            else:
                failures += 1
                self._stop.wait(backoff.reconnect_delay(failures, self._random))
                self.finish(Outcome(deliveries=self._unfinished(deliveries), verdict=Verdict.HAND_BACK))
            self._hand_back_late()
        self._consumer.stop()

    def _handle(self, deliveries: list[Delivery]) -> bool:
        """Give the handler its deliveries; False when they are to be handed back after a while."""
        try:
            self._handler.handle(deliveries, self.finish)
        except BLAMELESS as error:
            _log.warning("handing back", error=str(error))
            return False
        except Exception as error:  # noqa: BLE001  the loop outlives whatever a handler meets
            left = self._unfinished(deliveries)
            if len(deliveries) > 1:
                handled = [self._handle([delivery]) for delivery in left]
                return all(handled)
            _log.exception("a delivery failed", error=str(error), type=deliveries[0].type, key=deliveries[0].key)
            self.finish(Outcome(deliveries=left, verdict=Verdict.FAILED))
        return True

    def _unfinished(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        with self._lock:
            return [d for d in deliveries if d in self._in_hand]

    def _hand_back_late(self) -> None:
        """Hand back what could not be published, now that a moment has passed."""
        with self._lock:
            now = self._clock.monotonic()
            due = [deliveries for since, deliveries in self._unpublished if now - since >= PAUSE]
            self._unpublished = [(since, d) for since, d in self._unpublished if now - since < PAUSE]
        for deliveries in due:
            self._settle(deliveries, Verdict.HAND_BACK)

    def _publish_failed(self, deliveries: Sequence[Delivery]) -> None:
        with self._lock:
            self._unpublished.append((self._clock.monotonic(), deliveries))

    def stop(self) -> None:
        """Take no more deliveries; safe to call from a signal handler."""
        self._stop.set()

    def drain(self, timeout: float) -> bool:
        """After :meth:`run`: wait until all in hand is settled; hand back what is not within ``timeout`` seconds.

        Returns whether everything was finished in time.
        """

        def finished() -> bool:
            return len(self._in_hand) <= sum(len(deliveries) for _, deliveries in self._unpublished)

        with self._lock:
            done = self._lock.wait_for(finished, timeout) and not self._in_hand
            left = list(self._in_hand)
        if left:
            self._settle(left, Verdict.HAND_BACK)
        return done

    def finish(self, outcome: Outcome) -> None:
        """Publish what an outcome carries; settle its deliveries when all of it is confirmed.

        May block while the publisher's window is full. What cannot be published leads to its deliveries being handed
        back after a pause: they come again and lead to the same messages.
        """
        if not outcome.publish:
            self._settle(outcome.deliveries, outcome.verdict)
            return
        pending = _Pending(outcome, len(outcome.publish), self._settle, self._publish_failed)
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

    __slots__ = ("_error", "_failed", "_left", "_lock", "_outcome", "_settle")

    def __init__(
        self,
        outcome: Outcome,
        count: int,
        settle: Callable[[Sequence[Delivery], Verdict], None],
        failed: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._outcome, self._left, self._settle, self._failed = outcome, count, settle, failed
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
            self._failed(self._outcome.deliveries)
