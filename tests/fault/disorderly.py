"""A broker between a service and the real one that repeats, delays and reorders messages at random.

It keeps every promise of ``manyhands.broker.protocol``: a publish is confirmed when the real broker has it, a delivery
stays unsettled until its receiver settles it, nothing is lost. All else it makes as hard as it can: messages are
published late, out of order and several times, some of them long after; deliveries come in another order, late, and
some of them twice. What is random comes from a seed; how threads take turns does not.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from manyhands.broker import Broker, Confirmed, Consumer, Delivery, Outgoing, Publisher, Verdict
from manyhands.errors import BrokerError, BrokerUnavailable

#: Seconds for which a message is held at most, and messages that are held at once.
LONGEST, MOST = 0.25, 64
#: How many of a hundred messages are published twice, held back, published again much later; and given twice.
TWICE, LATE, OLD, GIVEN_TWICE = 15, 40, 5, 15
#: Messages that are remembered, to be published again.
REMEMBERED = 5000


@dataclass(slots=True)
class Counted:
    """What was done to messages, so that a test can tell that anything was."""

    published: int = 0
    repeated: int = 0
    delayed: int = 0
    delivered: int = 0
    given_twice: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Disorderly:
    """A broker's disorderly double. What it does not touch is the real one's."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.broker, self.counted = broker, Counted()
        self._seeds = random.Random(seed)
        self._publishers: list[DisorderlyPublisher] = []
        self._remembered: list[Outgoing] = []

    def publisher(self, *, window: int = 1000, user: str | None = None) -> DisorderlyPublisher:
        """A publisher that is not to be relied on for order."""
        real = self.broker.publisher(window=window, user=user)
        made = DisorderlyPublisher(real, random.Random(self._seeds.random()), self.counted, self._remembered)
        self._publishers.append(made)
        return made

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> DisorderlyConsumer:
        """A consumer that is not, either."""
        real = self.broker.consumer(queues, prefetch=prefetch)
        return DisorderlyConsumer(real, random.Random(self._seeds.random()), self.counted)

    def all_again(self) -> int:
        """Publish every message that is remembered once more, shuffled, and wait for the confirms; how many."""
        with self.counted.lock:
            every = list(self._remembered)
        self._seeds.shuffle(every)
        real = self.broker.publisher()
        for message in every:
            real.publish(message, lambda _: None)
        assert real.flush(60)
        real.close()
        return len(every)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)


class DisorderlyPublisher:
    """Publishes late, in another order, and more than once."""

    def __init__(self, real: Publisher, chance: random.Random, counted: Counted, remembered: list[Outgoing]) -> None:
        self._real, self._chance, self._counted, self._remembered = real, chance, counted, remembered
        self._changed = threading.Condition()
        self._held: list[tuple[float, Outgoing, Confirmed]] = []
        self._sending = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="disorder", daemon=True)
        self._thread.start()

    def publish(self, message: Outgoing, confirmed: Confirmed) -> None:
        """Send it now or later, with others before it or behind it."""
        with self._counted.lock:
            self._counted.published += 1
            copies = [message] if self._chance.randrange(100) < TWICE else []
            if self._remembered and self._chance.randrange(100) < OLD:
                copies.append(self._chance.choice(self._remembered))
            self._counted.repeated += len(copies)
            if len(self._remembered) < REMEMBERED:
                self._remembered.append(message)
            late = self._chance.randrange(100) < LATE
            self._counted.delayed += late
        with self._changed:
            closed = self._closed
            if not closed:
                due = time.monotonic() + self._chance.random() * LONGEST
                # nobody waits for a copy; when it fails to arrive there is only less disorder
                self._held += [(due, copy, _nobody) for copy in copies]
                late = late and len(self._held) < MOST
                if late:
                    self._held.append((due, message, confirmed))
                self._changed.notify_all()
        if closed:
            confirmed(BrokerUnavailable("the publisher is closed"))
        elif not late:
            self._real.publish(message, confirmed)

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is held or unconfirmed."""
        ends = time.monotonic() + timeout
        with self._changed:
            done = self._changed.wait_for(lambda: not self._held and not self._sending, timeout)
        return self._real.flush(max(0.0, ends - time.monotonic())) and done

    @property
    def ready(self) -> bool:
        """Whether the real one is."""
        return self._real.ready

    def close(self) -> None:
        """What is held is lost, and its senders are told so."""
        with self._changed:
            self._closed, lost, self._held = True, self._held, []
            self._changed.notify_all()
        self._thread.join(10)
        for _, _, confirmed in lost:
            confirmed(BrokerUnavailable("closed before it was sent"))
        self._real.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                due = [one for one in self._held if one[0] <= now]
                self._held = [one for one in self._held if one[0] > now]
                self._sending = len(due)
                if not due:
                    self._changed.wait(min((one[0] - now for one in self._held), default=None))
                    continue
            for _, message, confirmed in due:
                self._real.publish(message, confirmed)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()


class DisorderlyConsumer:
    """Gives deliveries in another order, late, and some of them twice."""

    def __init__(self, real: Consumer, chance: random.Random, counted: Counted) -> None:
        self._real, self._chance, self._counted = real, chance, counted
        self._lock = threading.Lock()
        self._held: list[tuple[float, Delivery]] = []
        self._copies: set[int] = set()
        self._given: dict[int, Delivery] = {}

    def receive(self, most: int, timeout: float) -> list[Delivery]:
        """Some of those that are held and of those that come."""
        with self._lock:
            room = MOST - len(self._held)
            soonest = min((due for due, _ in self._held), default=None)
        now = time.monotonic()
        wait = timeout if soonest is None else max(0.0, min(timeout, soonest - now))
        come = self._real.receive(min(most, room), wait) if room > 0 else []
        now = time.monotonic()
        with self._lock:
            for delivery in come:
                self._counted.delivered += 1
                self._held.append((now + self._delay(), delivery))
                if self._chance.randrange(100) < GIVEN_TWICE:
                    copy = replace(delivery, redelivered=True)
                    self._counted.given_twice += 1
                    self._copies.add(id(copy))
                    self._given[id(copy)] = copy  # kept, so that no other delivery ever has its id
                    self._held.append((now + self._delay(), copy))
            self._chance.shuffle(self._held)
            ready = [one for one in self._held if one[0] <= now][:most]
            self._held = [one for one in self._held if one not in ready]
        return [delivery for _, delivery in ready]

    def _delay(self) -> float:
        return self._chance.random() * LONGEST if self._chance.randrange(100) < LATE else 0.0

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """A copy is nobody's but ours; the others are the real one's to settle."""
        if real := [d for d in deliveries if id(d) not in self._copies]:
            self._real.settle(real, verdict)

    def resize(self, prefetch: int) -> None:
        """As the real one."""
        self._real.resize(prefetch)

    def stop(self) -> None:
        """Take no more; what was not given yet goes back."""
        self._real.stop()
        with self._lock:
            held, self._held = self._held, []
        self.settle([delivery for _, delivery in held], Verdict.HAND_BACK)

    @property
    def registered(self) -> int:
        """As the real one."""
        return self._real.registered

    @property
    def ready(self) -> bool:
        """As the real one."""
        return self._real.ready

    def close(self) -> None:
        """As the real one."""
        self._real.close()


def _nobody(_error: BrokerError | None) -> None:
    """Waits for no confirm."""
