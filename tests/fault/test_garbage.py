"""Garbage in every queue while a job runs, put there by somebody with the broker's password."""

from collections import Counter
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.fault.garbage import Garbage, garbage
from tests.fault.stage import HELD, PATIENCE, SERVICES, stage
from tests.services import Postgres, RabbitMQ, wait_until


@pytest.mark.timeout(300, func_only=True)
def test_garbage(rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """The services live on, the job gets its right answers, and each piece ends as a dead letter with its reason."""
    with stage(tmp_path, rabbitmq.url, postgres.database(), namespace, MANYHANDS_HOLD="1") as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, HELD)
        pieces = list(garbage(running.names, job))
        expected = [letter for piece in pieces for letter in piece.letters]
        publish(rabbitmq.url, pieces)
        running.open_gate()  # the worker's children are all at it, and what is behind waits for them
        wanted = Counter(letter[:2] for letter in expected)

        def letters() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = running.command("dead", "list", "--limit", "1000")["letters"]
            return found

        def missing() -> Counter[tuple[str, str]]:
            return wanted - Counter((letter["kind"], letter["code"]) for letter in letters())

        try:
            wait_until(lambda: not missing(), PATIENCE, "every piece to be a dead letter")
        except TimeoutError as late:
            late.add_note(f"{missing()} are not among {Counter((x['kind'], x['code']) for x in letters())}")
            raise
        running.completes(job)
        found = letters()
        assert Counter((letter["kind"], letter["code"]) for letter in found) == wanted
        for kind, code, why in expected:
            assert any((x["kind"], x["code"]) == (kind, code) and why in x["error"] for x in found), (kind, code, why)
        for service in SERVICES:
            assert running.missing(service) == {}


def publish(url: str, pieces: list[Garbage]) -> None:
    """Publish as any AMQP client may; each is confirmed and reaches a queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for piece in pieces:
            properties = pika.BasicProperties(type=piece.type, content_encoding=piece.encoding, delivery_mode=2)
            channel.basic_publish(*piece.route, piece.body, properties, mandatory=True)
