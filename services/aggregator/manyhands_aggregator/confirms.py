"""Publishing outside of the runner: what became of each message."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from manyhands.broker import Outgoing, Publisher
from manyhands.errors import BrokerError, BrokerUnavailable

#: Seconds that a publish may take before it counts as failed.
CONFIRM_SECONDS = 30.0


def publish_each(
    publisher: Publisher, messages: Sequence[Outgoing], timeout: float = CONFIRM_SECONDS
) -> list[BrokerError | None]:
    """Publish and wait; for each message None when it is confirmed, or why it is not.

    One of which nothing is heard for ``timeout`` seconds is ``BrokerUnavailable``; it may have arrived.
    """
    late = BrokerUnavailable(f"no confirm within {timeout:g} seconds")
    became: list[BrokerError | None] = [late] * len(messages)
    done = threading.Semaphore(0)

    def confirmed(index: int, error: BrokerError | None) -> None:
        became[index] = error
        done.release()

    for index, message in enumerate(messages):
        publisher.publish(message, partial(confirmed, index))
    for _ in messages:
        if not done.acquire(timeout=timeout):
            break
    return list(became)


def publish_all(publisher: Publisher, messages: Sequence[Outgoing], timeout: float = CONFIRM_SECONDS) -> None:
    """Publish and wait until every message is confirmed.

    Raises:
        BrokerError: one was not; any of them may have arrived. Where the broker has no place for one it says so, and is
            not ``BrokerUnavailable``, whatever became of others.
    """
    errors = [error for error in publish_each(publisher, messages, timeout) if error is not None]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailable))
