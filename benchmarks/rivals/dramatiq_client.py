"""Enqueues messages for Dramatiq: ``python -m benchmarks.rivals.dramatiq_client COUNT``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from benchmarks.rivals.dramatiq_app import done, judge
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


def _wait(ready: Callable[[], bool], timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit("Dramatiq did not process every message")
        time.sleep(0.002)


if __name__ == "__main__":
    main(int(sys.argv[1]))
