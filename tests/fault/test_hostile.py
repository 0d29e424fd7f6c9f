"""Ten thousand hostile messages in every queue while a job runs, put there by somebody with the broker's password."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pika
import psycopg
import pytest

from tests.fault.hostile import Hostile, Raw, hostile
from tests.fault.stage import FLOWING, JUDGE, SERVICES, Stage, stage
from tests.services import Postgres, RabbitMQ, wait_until

SEED, COUNT = 1, 10_000
#: MiB that a process may have had at most. (One body of ours may take up 16 of them, and its values 80.)
PEAK = 400.0
#: Seconds in which a busy machine is through with all of them.
PATIENCE = 150.0


@pytest.mark.timeout(600)
def test_hostile_messages(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """Each is filed as often as it was sent, with a reason; no process ends or grows too large; the job is well."""
    database = postgres.database()
    with stage(tmp_path, rabbitmq.url, database, namespace, MANYHANDS_HOLD="1") as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        pids = {service: running.processes[service].pid for service in SERVICES}
        every = list(hostile(running.names, JUDGE, SEED, COUNT))
        publish(rabbitmq.url, every)
        running.open_gate()  # the worker's children are all at it, and what is behind waits for them
        sent = Counter(one.body for one in every if not one.told)
        assert sum(sent.values()) > 0.8 * COUNT
        assert {one.queue for one in every if not one.told} == {"tasks", "suspects", "judgments", "events", "dead"}

        def missing() -> Counter[bytes]:
            return sent - letters(database)

        try:
            wait_until(lambda: not missing(), PATIENCE, "every message to be filed", every=2)
        except TimeoutError as late:
            lost = missing()
            some = [(x.queue, x.route, x.type, x.headers, x.body[:200]) for x in every if x.body in lost][:8]
            late.add_note(f"{lost.total()} are missing: {some}")
            raise
        running.completes(job)
        peaks = {service: peak(pid) for service, pid in pids.items()}
        assert max(peaks.values()) < PEAK, peaks
        for service in SERVICES:
            assert running.processes[service].pid == pids[service]
            assert running.missing(service) == {}
        quiet(running)


def quiet(running: Stage) -> None:
    """No connection was lost over any of it."""
    for service in SERVICES:
        assert running.metric(service, 'manyhands_reconnects_total{role="consumer"}') == 0
        assert running.metric(service, 'manyhands_reconnects_total{role="publisher"}') == 0


def publish(url: str, every: Iterable[Hostile]) -> None:
    """Publish as any AMQP client may, and wait for no confirm: what does not arrive is missed later."""
    as_pika = pika.data.encode_value

    def encode(pieces: list[bytes], value: Any) -> int:
        if not isinstance(value, Raw):
            return int(as_pika(pieces, value))
        pieces.append(value)
        return len(value)

    with patch("pika.data.encode_value", encode), pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for one in every:
            properties = pika.BasicProperties(
                type=one.type, content_encoding=one.encoding, delivery_mode=2, headers=dict(one.headers) or None
            )
            channel.basic_publish(*one.route, one.body, properties)


def letters(database: str) -> Counter[bytes]:
    """How often each body was filed; each with a reason."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT body, times, code, error FROM aggregator_dead").fetchall()
    found: Counter[bytes] = Counter()
    for body, times, code, error in rows:
        assert code
        assert error or code
        found[bytes(body)] += times
    return found


def peak(pid: int) -> float:
    """The most memory that a process or a child of it has had, in MiB."""
    family = [pid]
    for one in family:
        for task in Path(f"/proc/{one}/task").iterdir():
            family += map(int, (task / "children").read_text().split())
    lines = [line for one in family for line in Path(f"/proc/{one}/status").read_text().splitlines()]
    return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
