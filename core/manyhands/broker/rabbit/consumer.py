"""Consuming: a channel for each queue, deliveries handed to one thread, verdicts taken from any."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from manyhands import backoff, logs, metrics
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.broker.rabbit import wire
from manyhands.broker.rabbit.link import GOOD, Link
from manyhands.errors import BrokerUnavailable

_log = logs.get(__name__)

#: Longest wait in seconds before a queue is tried again while the connection stands: it may have been declared by now.
RETRY_CAP = 2.0
#: Seconds to wait at the end for the broker to say that it has stopped delivering.
CANCEL_TIMEOUT = 1.0


class RabbitConsumer(Link):
    """A consumer of some queues."""

    def __init__(self, settings: wire.Settings, queues: Sequence[str], prefetch: int) -> None:
        super().__init__(settings)
        self._prefetch = prefetch
        self._arrived = threading.Condition(threading.Lock())
        self._inbox: deque[Delivery] = deque()
        self._arriving: list[Delivery] = []
        self._stopping = False
        self._stopped = False
        self._resized = False
        self._settling: deque[tuple[Sequence[Delivery], Verdict]] = deque()
        self._subscriptions = [Subscription(self, queue) for queue in queues]
        self._registered = 0

    # -- from any thread -----------------------------------------------------------------------------------------------

    def receive(self, most: int, timeout: float) -> list[Delivery]:
        """Up to ``most`` deliveries."""
        inbox = self._inbox
        with self._arrived:
            if not inbox and not self._stopping:
                self._arrived.wait_for(lambda: inbox or self._stopping, timeout)
            if self._stopping:
                return []
            return [inbox.popleft() for _ in range(min(most, len(inbox)))]

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle deliveries; what died with its channel is passed over."""
        if self._closing.is_set():
            return
        self._settling.append((deliveries, verdict))
        self._wake()

    def resize(self, prefetch: int) -> None:
        """Change the prefetch; what is held at this moment does not count towards the new one."""
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            self._resized = True
            self._wake()

    def stop(self) -> None:
        """Take no more."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify_all()
        self._wake()

    @property
    def registered(self) -> int:
        """On how many queues it is registered."""
        return 0 if self._stopping else self._registered

    @property
    def ready(self) -> bool:
        """Whether it is registered on every one."""
        return not self._stopping and self._registered == len(self._subscriptions)

    def close(self) -> None:
        """End the connection after sending what was settled."""
        with self._arrived:
            self._stopping = True
            self._inbox.clear()
            self._arrived.notify_all()
        super().close()

    # -- on the I/O thread ---------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        self._work()
        for subscription in self._subscriptions:
            subscription.open()

    def _lost(self, error: BrokerUnavailable) -> None:  # noqa: ARG002  each channel has been told
        self._settling.clear()
        for subscription in self._subscriptions:
            subscription.reset()

    def _work(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        connection.gather()
        try:
            touched: dict[Subscription, None] = {}
            while self._settling:
                deliveries, verdict = self._settling.popleft()
                for delivery in deliveries:
                    subscription, epoch, tag = delivery.token
                    if subscription.settle(epoch, tag, verdict):
                        touched[subscription] = None
            for subscription in touched:
                subscription.flush()
            if self._stopping and not self._stopped:
                self._stopped = True
                with self._arrived:
                    left, self._inbox = [*self._inbox, *self._arriving], deque()
                    self._arriving = []
                for subscription in self._subscriptions:
                    subscription.stop(d.token[2] for d in left if d.token[:2] == (subscription, subscription.epoch))
            elif self._resized:
                self._resized = False
                for subscription in self._subscriptions:
                    subscription.resize(self._prefetch)
        finally:
            connection.release()

    def _finish(self) -> None:
        # Ending the connection would do, but from 4.3 that counts as a failure of whatever is held, and giving it back
        # does not. So: cancel, wait for the broker to stop delivering, give back, close.
        self._work()
        if any(subscription.ending for subscription in self._subscriptions):
            self._later(CANCEL_TIMEOUT, self._give_back_and_close)
        else:
            self._give_back_and_close()

    def _ended(self) -> None:
        if self._closing.is_set() and not any(subscription.ending for subscription in self._subscriptions):
            self._give_back_and_close()

    def _give_back_and_close(self) -> None:
        for subscription in self._subscriptions:
            subscription.give_all_back()
        super()._finish()

    def _take(self, delivery: Delivery) -> None:
        if not self._arriving:
            # what one read from the socket brings is handed over in one go
            self._later(0, self._hand_over)
        self._arriving.append(delivery)

    def _hand_over(self) -> None:
        arriving, self._arriving = self._arriving, []
        if arriving:
            with self._arrived:
                self._inbox.extend(arriving)
                self._arrived.notify()

    def _forget(self, subscription: Subscription) -> None:
        """Drop what was prefetched on a channel that is gone: it comes again."""
        with self._arrived:
            for kept in (self._inbox, self._arriving):
                alive = [d for d in kept if d.token[0] is not subscription]
                kept.clear()
                kept.extend(alive)

    def _count(self, change: int) -> None:
        self._registered += change
        metrics.CONSUMERS.inc(change)


class Subscription:
    """One queue of a consumer, on a channel of its own: what befalls one queue leaves the others alone.

    ``epoch`` numbers its channels: a delivery tag means nothing on any channel but its own.
    """

    def __init__(self, consumer: RabbitConsumer, queue: str) -> None:
        self.queue = queue
        self.epoch = 0
        #: whether it was stopped and the broker may still be delivering
        self.ending = False
        self._consumer = consumer
        self._channel: Any = None
        self._tag: str | None = None
        self._registered = False
        self._since = 0.0
        self._attempts = 0
        self._stopped = False
        #: tags delivered and not settled, in order
        self._held: OrderedDict[int, None] = OrderedDict()
        #: tags to be acked by the next flush
        self._acked: set[int] = set()
        #: tags delivered while stopping, given back when the broker has stopped
        self._unwanted: list[int] = []

    # -- its channel ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open a channel and consume, unless the consumer was stopped."""
        connection = self._consumer._connection
        if connection is not None and connection.is_open and not self._consumer._stopping:
            connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        if self._stopped:
            channel.close()
            return
        self._channel, self._since = channel, time.monotonic()
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(lambda frame: self._on_cancel(channel, frame.method))
        self._consume(channel, self._consumer._prefetch, self._on_registered)

    def _consume(self, channel: Any, prefetch: int, registered: Callable[[Any], None]) -> None:
        channel.basic_qos(prefetch_count=prefetch)
        self._tag = channel.basic_consume(self.queue, self._on_message, callback=registered)

    def _on_registered(self, _frame: Any) -> None:
        if not self._stopped:
            self._registered = True
            self._consumer._count(1)

    def _on_cancel(self, channel: Any, method: Basic.Cancel) -> None:
        # Its queue was deleted, or it was overdue. What it holds is given back in any case only by ending the channel:
        # a broker that timed out a delivery gives this channel no more until that one is settled.
        if channel is self._channel and method.consumer_tag == self._tag and channel.is_open:
            _log.warning("cancelled by the broker", queue=self.queue)
            channel.close()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        if time.monotonic() - self._since > GOOD:
            self._attempts = 0
        self.reset()
        connection = self._consumer._connection
        if connection is None or not connection.is_open or self._consumer._stopping:
            return  # the connection went with it, or it is not wanted any more
        self._attempts += 1
        delay = backoff.reconnect_delay(self._attempts, random.random, cap=RETRY_CAP)
        if isinstance(reason, ChannelClosedByBroker):
            _log.warning("consuming again", queue=self.queue, error=reason.reply_text, again_in=round(delay, 2))
        self._consumer._later(delay, lambda: self._consumer._declare(self.open))

    def reset(self) -> None:
        """Forget the channel and all that was on it."""
        if self._registered:
            self._registered = False
            self._consumer._count(-1)
        self._channel = self._tag = None
        self.ending = False
        self.epoch += 1
        self._held.clear()
        self._acked.clear()
        self._unwanted.clear()
        self._consumer._forget(self)

    # -- deliveries ----------------------------------------------------------------------------------------------------

    def _on_message(self, _channel: Any, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        tag = method.delivery_tag
        self._held[tag] = None
        if self._stopped:
            self._unwanted.append(tag)
            return
        self._consumer._take(wire.delivery(self.queue, method, properties, body, (self, self.epoch, tag)))

    def settle(self, epoch: int, tag: int, verdict: Verdict) -> bool:
        """Settle one delivery; true when that takes a :meth:`flush`. A second time, or too late, it does nothing."""
        channel = self._channel
        if epoch != self.epoch or channel is None or not channel.is_open:
            return False
        if tag not in self._held or tag in self._acked:
            return False
        if verdict is Verdict.ACK:
            self._acked.add(tag)
            return True
        del self._held[tag]
        if verdict is Verdict.HAND_BACK:
            channel.basic_nack(tag, requeue=True)
        else:
            channel.basic_reject(tag, requeue=True)
        return False

    def flush(self) -> None:
        """Send the acks: one for all up to the first that is still held, and one for each behind it."""
        acked, held, channel = self._acked, self._held, self._channel
        upto = 0
        while held and (first := next(iter(held))) in acked:
            del held[first]
            acked.remove(first)
            upto = first
        if upto:
            channel.basic_ack(upto, multiple=True)
        for tag in acked:
            del held[tag]
            channel.basic_ack(tag)
        acked.clear()

    def stop(self, unreceived: Iterable[int]) -> None:
        """Take no more; give back what was not received once the broker has stopped delivering."""
        self._stopped = True
        self._unwanted.extend(unreceived)
        if self._registered:
            self._registered = False
            self._consumer._count(-1)
        channel, tag = self._channel, self._tag
        if channel is None or not channel.is_open or tag is None:
            return
        self.ending = True
        self._cancel(channel, tag, self._give_back)

    def _give_back(self, _frame: Any) -> None:
        self.ending = False
        unwanted, self._unwanted = self._unwanted, []
        for tag in unwanted:
            self.settle(self.epoch, tag, Verdict.HAND_BACK)
        self._consumer._ended()

    def give_all_back(self) -> None:
        """Give back whatever is held, received or not."""
        if self._held and self._channel is not None and self._channel.is_open:
            self._channel.basic_nack(next(reversed(self._held)), multiple=True, requeue=True)
            self._held.clear()

    def resize(self, prefetch: int) -> None:
        """Consume anew with another prefetch, then end the old consumer; what that one holds stays held."""
        channel, old = self._channel, self._tag
        if channel is None or not channel.is_open or old is None or not self._registered:
            return  # on its way: it reads the prefetch when it gets there

        self._consume(channel, prefetch, lambda _: self._cancel(channel, old, lambda _: None))

    @staticmethod
    def _cancel(channel: Any, tag: str, cancelled: Callable[[Any], None]) -> None:
        channel.basic_cancel(tag, callback=cancelled)
        # For pika a consumer is cancelled from here on, and it would reject what still comes, which counts as a failed
        # delivery. Not marked, it passes that on as before until the broker has answered.
        channel._cancelled.discard(tag)
