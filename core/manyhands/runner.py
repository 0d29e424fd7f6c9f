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
from functools import cache
from typing import Protocol

from manyhands import backoff, logs, metrics, tracing
from manyhands.broker.protocol import Consumer, Delivery, Outgoing, Publisher, Verdict
from manyhands.clock import Clock, SystemClock
from manyhands.errors import BrokerError
from manyhands.measure import type_label
from manyhands.outcome import BLAMELESS

_log = logs.get(__name__)
#: Kept at hand, for looking a label up costs more than counting.
_delivered, _settled = cache(metrics.DELIVERED.labels), cache(metrics.SETTLED.labels)

#: How long one wait for deliveries lasts; stopping takes no longer than this.
POLL = 0.25
#: Seconds before messages are published again that were not confirmed.
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

        Everything is an outcome but two cases. After a ``StoreUnavailable`` or ``HandBack`` it is given the deliveries
        that it has not finished again, with back-off. Anything else is a fault: it is given them again one by one, so
        that only the one at fault fails, which counts towards its delivery limit.
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
        self._received = self._settled = 0
        self._settling = 0  # calls of settle under way: a drain must not end, and the consumer be closed, before them
        self._unpublished: list[tuple[float, Outcome]] = []

    def run(self) -> None:
        """Consume until :meth:`stop`; returns when nothing more is taken. Deliveries may still be in hand."""
        while not self._stop.is_set():
            deliveries = self._consumer.receive(self._batch, POLL)
            if deliveries:
                with self._lock:
                    self._in_hand.update(deliveries)
                    self._received += len(deliveries)
                    metrics.IN_HAND.inc(len(deliveries))
                if (spans := tracing.spans) is not None:
                    for delivery in deliveries:
                        spans.take(delivery)
                for kind, count in Counter(d.type for d in deliveries).items():
                    _delivered(type_label(kind or "none")).inc(count)
                self._handle(deliveries)
            self._publish_again()
        self._consumer.stop()

    def _handle(self, deliveries: list[Delivery]) -> None:
        """Give the handler its deliveries, until it takes them or the runner is stopped."""
        failures = 0
        while deliveries:
            try:
                self._handler.handle(deliveries, self.finish)
            except BLAMELESS as error:
                # they are kept meanwhile: before RabbitMQ 4.3 handing back counts towards the delivery limit
                failures += 1
                delay = backoff.reconnect_delay(failures, self._random)
                _log.warning("waiting", error=str(error), deliveries=len(deliveries), again_in=round(delay, 2))
                stopped = self._stop.wait(delay)
                deliveries = self._unfinished(deliveries)
                if stopped:
                    self._settle(deliveries, Verdict.HAND_BACK)
                    return
            except Exception as error:  # noqa: BLE001  the loop outlives whatever a handler meets
                self._find_fault(self._unfinished(deliveries), error)
                return
            else:
                return

    def _find_fault(self, deliveries: list[Delivery], error: Exception) -> None:
        """Give the handler the deliveries one by one, so that only the one at fault fails."""
        if len(deliveries) > 1:
            for delivery in deliveries:
                self._handle([delivery])
            return
        for delivery in deliveries:
            _log.error(
                "a delivery failed", type=delivery.type, key=delivery.key, exc_info=error, **tracing.bound(delivery)
            )
        self._settle(deliveries, Verdict.FAILED)

    def _unfinished(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        with self._lock:
            return [d for d in deliveries if d in self._in_hand]

    def _publish_again(self) -> None:
        """Publish again what was not confirmed, once a moment has passed."""
        with self._lock:
            now = self._clock.monotonic()
            due = [outcome for since, outcome in self._unpublished if now - since >= PAUSE]
            self._unpublished = [(since, o) for since, o in self._unpublished if now - since < PAUSE]
        for outcome in due:
            self.finish(outcome)

    def _publish_failed(self, outcome: Outcome) -> None:
        with self._lock:
            self._unpublished.append((self._clock.monotonic(), outcome))
            self._lock.notify_all()

    @property
    def in_hand(self) -> int:
        """Deliveries received and not yet settled."""
        return len(self._in_hand)

    @property
    def difference(self) -> int:
        """Deliveries received that are neither settled nor in hand, or both; must be 0."""
        with self._lock:
            return abs(self._received - self._settled - len(self._in_hand))

    def stop(self) -> None:
        """Take no more deliveries; safe to call from a signal handler."""
        self._stop.set()

    def drain(self, timeout: float) -> bool:
        """After :meth:`run`: wait until all in hand is settled; hand back what is not within ``timeout`` seconds.

        Returns whether everything was finished in time.
        """

        def finished() -> bool:
            return not self._settling and len(self._in_hand) <= sum(
                len(outcome.deliveries) for _, outcome in self._unpublished
            )

        with self._lock:
            done = self._lock.wait_for(finished, timeout) and not self._in_hand
            left = list(self._in_hand)
        if left:
            self._settle(left, Verdict.HAND_BACK)
        return done

    def finish(self, outcome: Outcome) -> None:
        """Publish what an outcome carries; settle its deliveries when all of it is confirmed.

        May block while the publisher's window is full. What is not confirmed is published again after a pause, all of
        it: who receives it twice knows it by its key.
        """
        if not outcome.publish:
            self._settle(outcome.deliveries, outcome.verdict)
            return
        pending = _Pending(outcome, len(outcome.publish), self._settle, self._publish_failed)
        spans = tracing.spans
        if spans is None:
            for message in outcome.publish:
                self._publisher.publish(message, pending.confirmed)
            return
        for message in outcome.publish:
            self._publisher.publish(*spans.send(message, pending.confirmed))

    def _settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        with self._lock:
            # whoever comes first settles: a drain that ran out of time must not be followed by a late ack
            mine = [d for d in deliveries if d in self._in_hand]
            self._in_hand.difference_update(mine)
            self._settled += len(mine)
            self._settling += 1
        if mine:
            self._consumer.settle(mine, verdict)
            _settled(verdict.value).inc(len(mine))
            if tracing.spans is not None:
                for delivery in mine:
                    if delivery.trace is not None:
                        delivery.trace.settled(verdict.value)
        with self._lock:
            self._settling -= 1
            metrics.IN_HAND.dec(len(mine))
            self._lock.notify_all()


class _Pending:
    """The publishes that an outcome waits for."""

    __slots__ = ("_error", "_failed", "_left", "_lock", "_outcome", "_settle")

    def __init__(
        self,
        outcome: Outcome,
        count: int,
        settle: Callable[[Sequence[Delivery], Verdict], None],
        failed: Callable[[Outcome], None],
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
            _log.warning("not confirmed, will be published again", error=str(self._error))
            self._failed(self._outcome)
