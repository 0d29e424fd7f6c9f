"""Sends tasks to Celery and fetches the results: ``python -m benchmarks.rivals.celery_client COUNT CHUNK``."""

from __future__ import annotations

import sys
import time
from itertools import chain

from benchmarks.rivals.celery_app import judge
from benchmarks.tasks import texts


def main(count: int, chunk: int) -> None:
    """Print the seconds from the first send to the last result; one message for `chunk` tasks, or for each if 0."""
    for warm in [judge.delay("warm") for _ in range(20)]:
        warm.get(timeout=60)
    items = list(texts(count))
    begun = time.perf_counter()
    if chunk:
        values = list(chain.from_iterable(judge.chunks(zip(items), chunk).apply_async().get(timeout=300)))
    else:
        sent = [judge.delay(text) for text in items]
        values = [result.get(timeout=300) for result in sent]
    seconds = time.perf_counter() - begun
    if len(values) != count:
        raise SystemExit(f"{len(values)} results of {count}")
    print(seconds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
