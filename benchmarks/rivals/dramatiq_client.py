"""Enqueues messages for Dramatiq: ``python -m benchmarks.rivals.dramatiq_client COUNT``."""

from __future__ import annotations

import sys
import time

from benchmarks.rivals.dramatiq_app import QUEUE, broker, done, judge
from benchmarks.tasks import texts


def main(count: int) -> None:
    """Print the seconds from the first enqueue until the last message was processed."""
    marks = done()
    judge.send(count, "warm")
    _wait(lambda: marks[count] == 1)
    items = list(texts(count))
    begun = time.perf_counter()
    for position, text in enumerate(items):
        judge.send(position, text)
    _wait(lambda: marks[:count].count(1) == count)
    print(time.perf_counter() - begun)
    for queue in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
        broker.channel.queue_delete(queue)


def _wait(ready, timeout: float = 300) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit("Dramatiq did not process every message")
        time.sleep(0.002)


if __name__ == "__main__":
    main(int(sys.argv[1]))
