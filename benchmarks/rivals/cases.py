"""The plain loop, Celery and Dramatiq as cases."""

from __future__ import annotations

import sys

import pika

from benchmarks.children import python, running
from benchmarks.context import Context, Figures


def plain(context: Context) -> Figures:
    """The loop without anything."""
    count = context.sizes.tasks
    seconds = float(python("benchmarks.plain", str(context.source(count)), str(context.folder / "plain.jsonl")))
    return {"tasks_per_second": count / seconds}


def celery(context: Context) -> Figures:
    """One message a task."""
    return _celery(context, context.sizes.celery, 0)


def celery_chunks(context: Context) -> Figures:
    """One message for 500 tasks."""
    return _celery(context, context.sizes.chunked, 500)


def _celery(context: Context, count: int, chunk: int) -> Figures:
    env = {"BENCH_BROKER": context.broker}
    worker = [sys.executable, "-m", "celery", "-A", "benchmarks.rivals.celery_app", "worker", "--loglevel", "warning"]
    with running(worker, context.folder / "celery.log", env=env):
        seconds = float(python("benchmarks.rivals.celery_client", str(count), str(chunk), env=env).split()[-1])
    _remove(context, "bench-celery")
    return {"tasks_per_second": count / seconds}


def dramatiq(context: Context) -> Figures:
    """One message a task, no results."""
    count, done = context.sizes.dramatiq, context.folder / "dramatiq.done"
    done.write_bytes(bytes(count + 1))
    env = {"BENCH_BROKER": context.broker, "BENCH_DONE": str(done)}
    worker = [sys.executable, "-m", "dramatiq", "benchmarks.rivals.dramatiq_app", "--processes", "2"]
    with running(worker, context.folder / "dramatiq.log", env=env):
        seconds = float(python("benchmarks.rivals.dramatiq_client", str(count), env=env).split()[-1])
    _remove(context, "bench-dramatiq", "bench-dramatiq.DQ", "bench-dramatiq.XQ")
    return {"messages_per_second": count / seconds}


def _remove(context: Context, *queues: str) -> None:
    """Take the queues away: the broker may be somebody else's."""
    with pika.BlockingConnection(pika.URLParameters(context.broker)) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue)
