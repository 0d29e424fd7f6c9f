"""The Celery application: its defaults, with late acknowledgement and results."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.handlers import length

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_default_queue="bench-celery",
    worker_concurrency=2,
    worker_pool="prefork",
    result_expires=600,
)


@app.task(name="judge")
def judge(text: str) -> str:
    """Judge one text."""
    return length(text)
