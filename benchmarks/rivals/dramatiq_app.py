"""The Dramatiq actor: its defaults. It marks in a shared file, one byte a task, that the task was done."""

from __future__ import annotations

import mmap
import os
from functools import cache
from pathlib import Path

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.handlers import length

QUEUE = "bench-dramatiq"

broker = RabbitmqBroker(url=os.environ["BENCH_BROKER"])
dramatiq.set_broker(broker)


@cache
def done() -> mmap.mmap:
    """The shared file; opened by each process for itself."""
    with Path(os.environ["BENCH_DONE"]).open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


@dramatiq.actor(queue_name=QUEUE)
def judge(position: int, text: str) -> None:
    """Judge one text."""
    length(text)
    done()[position] = 1
