"""Workers as processes: killed with -9, stopped by SIGTERM, started before their broker."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manyhands.broker import Outgoing, Verdict, connect
from manyhands.codec import decode, encode
from manyhands.messages import Judgments
from manyhands.topology import Names, topology
from tests.services import RabbitMQ, wait_until
from tests.unit.worker.harness import PATIENCE, TROUBLE, suite
from tests.unit.worker.test_command import assert_gone

ROOT = Path(__file__).parents[2]
#: A process with a pool: one child has a suite that never ends, another a program that never answers.
POOL = """
import sys
from tests.unit.worker.harness import Results, delivery, pool, suite
begun, folder = sys.argv[1:3]
script = "echo $$ > program; exec sleep 600"
config = {"command": ["sh", "-c", script], "folder": folder, "version": "1", "time_limit": None}
with pool(sys.argv[3], children=2, commands={"c": config}) as made:
    made.handle([delivery(suite("file", [begun])), delivery(suite("c", ["a"]))], Results().finish)
    sys.stdin.read()
"""
SERVE = """
import sys
from manyhands.settings import load
from manyhands_worker.main import serve
from manyhands_worker.settings import WorkerSettings
sys.exit(serve(load(WorkerSettings)))
"""


@contextmanager
def serving(broker: str, namespace: str, judges: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker's process, which logs to a file; killed at the end."""
    told = {
        "MANYHANDS_BROKER": broker, "MANYHANDS_NAMESPACE": namespace, "MANYHANDS_HANDLERS": TROUBLE,
        "MANYHANDS_JUDGES": judges, "MANYHANDS_CHILDREN": "2", "MANYHANDS_PREFETCH": "50", "MANYHANDS_GRACE": "10",
    }  # fmt: skip
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", SERVE], env={**os.environ, **told}, cwd=ROOT, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(log: Path, event: str) -> dict[str, str]:
    """The first line of a log with this event, once it is there."""

    def look() -> dict[str, str] | None:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return next((line for line in lines if line["event"] == event), None)

    return wait_until(look, PATIENCE, f"{event} in {log.read_text()}") or {}


def test_no_orphans(tmp_path: Path) -> None:
    """Children end with their worker, even in the middle of a handler that never returns, and so do their programs."""
    begun, program = tmp_path / "begun", tmp_path / "program"
    worker = subprocess.Popen(
        [sys.executable, "-c", POOL, str(begun), str(tmp_path), TROUBLE], stdin=subprocess.PIPE, cwd=ROOT
    )
    try:
        for file in (begun, program):
            wait_until(lambda file=file: file.exists() and file.read_text(), PATIENCE, str(file))  # type: ignore[misc]
        os.kill(worker.pid, signal.SIGKILL)
        assert_gone(int(begun.read_text()))
        assert_gone(int(program.read_text()))
    finally:
        worker.kill()
        worker.communicate()


def test_another_worker_takes_over(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """All that a worker held when it was killed is judged by another: nothing is lost, each task has its value."""
    names, mark = Names(namespace=f"t-{uuid.uuid4().hex[:8]}"), tmp_path / "mark"
    broker = connect(rabbitmq.url)
    wanted = topology(names, ["once", "one"])
    broker.declare(wanted)
    try:
        publisher = broker.publisher()
        results: list[Exception | None] = []
        for one in [suite("once", [str(mark)]), *[suite("one", ["a", "b"], suite=n) for n in range(2, 40)]]:
            exchange, key = names.to_judge(one.judge)
            encoded = encode(one)
            message = Outgoing(exchange=exchange, key=key, body=encoded.body, type=encoded.type)
            publisher.publish(message, results.append)
        assert publisher.flush(PATIENCE)
        assert set(results) == {None}
        with serving(rabbitmq.url, names.namespace, "once,one", tmp_path / "first.log") as first:
            wait_until(lambda: mark.exists() and mark.read_text(), PATIENCE, "the first worker's mark")
            os.kill(first.pid, signal.SIGKILL)
            assert_gone(int(mark.read_text()))
        consumer = broker.consumer([names.judgments_queue(p) for p in range(names.partitions)], prefetch=100)
        found: dict[int, Judgments] = {}

        def all_judged() -> bool:
            for delivery in consumer.receive(100, 0.5):
                message = decode(delivery.body, delivery.type, delivery.content_encoding)
                assert isinstance(message, Judgments)
                found[message.suite] = message
                consumer.settle([delivery], Verdict.ACK)
            return len(found) == 39

        with serving(rabbitmq.url, names.namespace, "once,one", tmp_path / "second.log") as second:
            wait_until(all_judged, PATIENCE, "judgments of every suite")
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE) == 0
        assert found[1].values == ["judged"]
        assert all(found[n].values == ["A", "B"] for n in range(2, 40))
        assert broker.depth(names.tasks_queue("one")) == (0, 0)
    finally:
        broker.delete(wanted)
        broker.close()


def test_started_before_its_broker(tmp_path: Path) -> None:
    """It waits and says so, is alive and not ready, and SIGTERM ends it in order."""
    log = tmp_path / "log"
    with serving("amqp://guest:secret@127.0.0.1:1/", "", "one", log) as worker:
        address = said(log, "started")["address"]
        assert said(log, "waiting for the broker")["level"] == "warning"
        assert urllib.request.urlopen(f"http://{address}/healthz").status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}/readyz")
        assert refused.value.code == 503
        assert "broker" in json.loads(refused.value.read())["missing"]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    assert "secret" not in log.read_text()
