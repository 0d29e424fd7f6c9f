"""Pulling: messages asked for one at a time, so that nothing is held that nobody has in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from manyhands import logs
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.broker.rabbit import wire
from manyhands.broker.rabbit.link import Link
from manyhands.errors import BrokerUnavailable

_log = logs.get(__name__)

#: Seconds that the broker may take for an answer.
ANSWER = 5.0
#: Seconds before the queues are asked again after one was missing: it may have been declared by now.
AGAIN = 2.0

#: What the caller waits for: a delivery, or yes or no; None where the broker does not answer.
Answer = Future[Any]


class RabbitPuller(Link):
    """A puller of some queues, on one channel.

    It looks with a passive declare, which costs a broker next to nothing, and gets only from a queue that has
    something: a get of a quorum queue is agreed on by its replicas, even where there is nothing to get.
    """

    def __init__(self, settings: wire.Settings, queues: Sequence[str]) -> None:
        super().__init__(settings)
        self._turn = deque(queues)
        self._questions: deque[tuple[Callable[[Any, Answer], None], Answer]] = deque()
        self._settling: deque[tuple[Sequence[Delivery], Verdict]] = deque()
        self._channel: Any = None
        self._epoch = 0
        self._asked: list[Answer] = []
        self._getting: tuple[str, Answer] | None = None
        self._held: set[int] = set()
        self._missing = False

    # -- from any thread -----------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Whether there is something to take."""
        return self._ask(self._look) is True

    def take(self) -> Delivery | None:
        """The next message."""
        taken = self._ask(self._take)
        return taken if isinstance(taken, Delivery) else None

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Settle deliveries; what died with its channel is passed over."""
        self._settling.append((deliveries, verdict))
        self._wake()

    @property
    def ready(self) -> bool:
        """Whether the queues were there."""
        return self._channel is not None and not self._missing

    def _ask(self, question: Callable[[Any, Answer], None]) -> Any:
        if self._channel is None:
            return None
        answer: Answer = Future()
        self._questions.append((question, answer))
        self._wake()
        try:
            return answer.result(ANSWER)
        except TimeoutError:
            return None if answer.cancel() else answer.result()

    # -- on the I/O thread ---------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_callback(lambda _: self._got_nothing(), [Basic.GetEmpty], False)
        self._channel = channel
        self._work()

    def _channel_closed(self, channel: Any, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        self._reset()
        connection = self._connection
        if connection is None or not connection.is_open or self.closed:
            return
        if isinstance(reason, ChannelClosedByBroker):
            self._missing = True
            _log.warning("asking again", queues=list(self._turn), error=reason.reply_text, again_in=AGAIN)
        self._later(AGAIN, lambda: self._declare(self._opened))

    def _lost(self, error: BrokerUnavailable) -> None:  # noqa: ARG002  who waits for an answer gets none
        self._reset()

    def _reset(self) -> None:
        self._channel = self._getting = None
        self._epoch += 1
        self._held.clear()
        self._settling.clear()
        asked, self._asked = self._asked, []
        while self._questions:
            asked.append(self._questions.popleft()[1])
        for answer in asked:
            _give(answer, None)

    def _work(self) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        while self._settling:
            deliveries, verdict = self._settling.popleft()
            for delivery in deliveries:
                epoch, tag = delivery.token
                if epoch == self._epoch and tag in self._held:
                    self._held.remove(tag)
                    _settle(channel, tag, verdict)
        while self._questions:
            question, answer = self._questions.popleft()
            self._asked = [each for each in self._asked if not each.done()] + [answer]
            question(channel, answer)

    def _look(self, channel: Any, answer: Answer) -> None:
        left = list(self._turn)

        def ask() -> None:
            if not left:
                self._missing = False
                _give(answer, False)
                return
            queue = left.pop(0)
            channel.queue_declare(queue, passive=True, callback=lambda frame: told(queue, frame.method.message_count))

        def told(queue: str, messages: int) -> None:
            if not messages:
                ask()
                return
            self._missing = False
            while self._turn[0] != queue:
                self._turn.rotate(-1)
            _give(answer, True)

        ask()

    def _take(self, channel: Any, answer: Answer) -> None:
        if self._getting is not None:  # its answer is still to come, and pika can wait for one at a time
            _give(answer, None)
            return
        self._getting = self._turn[0], answer
        self._turn.rotate(-1)
        channel.basic_get(self._getting[0], self._got)

    def _got_nothing(self) -> None:
        if self._getting is not None:
            (_, answer), self._getting = self._getting, None
            _give(answer, None)

    def _got(self, channel: Any, method: Basic.GetOk, properties: BasicProperties, body: bytes) -> None:
        if self._getting is None:
            return
        (queue, answer), self._getting = self._getting, None
        tag = method.delivery_tag
        if answer.set_running_or_notify_cancel():
            self._held.add(tag)
            answer.set_result(wire.delivery(queue, method, properties, body, (self._epoch, tag)))
        else:  # nobody waits for it any more
            _settle(channel, tag, Verdict.HAND_BACK)

    def _finish(self) -> None:
        self._work()
        if self._channel is not None and self._channel.is_open:
            for tag in self._held:  # to end the connection over it would count as a failure
                _settle(self._channel, tag, Verdict.HAND_BACK)
            self._held.clear()
        super()._finish()


def _settle(channel: Any, tag: int, verdict: Verdict) -> None:
    if verdict is Verdict.ACK:
        channel.basic_ack(tag)
    elif verdict is Verdict.HAND_BACK:
        channel.basic_nack(tag, requeue=True)
    else:
        channel.basic_reject(tag, requeue=True)


def _give(answer: Answer, what: bool | None) -> None:
    if not answer.done() and answer.set_running_or_notify_cancel():
        answer.set_result(what)
