"""Traces: the three services as processes, RabbitMQ between them, and a collector in the test."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from manyhands.spans import SILENCE
from tests.collector import Collector, Seen, collecting
from tests.e2e.processes import Installation, installation
from tests.services import RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(300)

#: Judges what it is given, but for one task, which fails the first time that it is asked of it.
HANDLERS = """
import pathlib
from manyhands import RetryTask, judge

@judge("echo")
def echo(text: str) -> str:
    once = pathlib.Path(__file__).with_name("failed-once")
    if text == "moody" and not once.exists():
        once.touch()
        raise RetryTask("not today", after=1)
    return text
"""
PRODUCER, CONSUMER = 4, 5  # the kinds of spans, in OTLP's numbers
KEY = "messaging.rabbitmq.destination.routing_key"


def answered(running: Installation, job: Path) -> None:
    """Submit a job and wait for its end."""
    submitted = running.command("submit", str(job))
    assert submitted.returncode == 0, submitted.stderr
    watched = running.command("watch", submitted.stdout.strip())
    assert watched.returncode == 0, watched.stderr


def chain(spans: list[Seen], last: Seen) -> list[str]:
    """From the first span of the trace to this one: service and name of each."""
    by_id = {span.span: span for span in spans}
    said: list[str] = []
    span: Seen | None = last
    while span is not None:
        said.append(f"{span.service.removeprefix('manyhands-')}: {span.name}")
        assert span.parent == "" or span.parent in by_id, f"the parent of {span} was never sent"
        span = by_id.get(span.parent)
    return said[::-1]


def traces(collector: Collector) -> dict[int, str]:
    """The trace of each suite that was seen."""
    return {s.about["manyhands.suite"]: s.trace for s in collector.spans if s.name == "publish suite"}


def test_a_suite_is_one_trace_through_all_services(
    rabbitmq: RabbitMQ, namespace: str, tmp_path: Path, job: Callable[..., Path]
) -> None:
    """Each suite has one trace, from the publish to its settling, its retry in it; and the histograms point to it."""
    rows = "\n".join(json.dumps({"text": text}) for text in ["a", "b", "moody", "d"])
    file = job(HANDLERS, rows, source={"path": "rows.jsonl", "input": "text"}, suite=2)
    worker = ("--handlers", str(tmp_path / "handlers.py"))
    with collecting() as collector:
        store = f"sqlite:///{tmp_path / 'm.db'}"
        on = {"MANYHANDS_OTLP": collector.url, "MANYHANDS_TRACE_SHARE": "1"}
        with installation(rabbitmq.url, store, namespace, worker, workers=1, env=on) as running:
            answered(running, file)
            wait_until(
                lambda: sum(span.name == "settle suite" for span in collector.spans) == 2, 60, "the last spans to come"
            )
            accept = {"Accept": "application/openmetrics-text"}
            urls = [process.url for process in (running.producer, running.workers[0], running.aggregator)]
            metrics = "".join(httpx.get(f"{url}/metrics", headers=accept).text for url in urls)
        # the processes have ended by now, and sent what they had
        by_suite = traces(collector)
        assert sorted(by_suite) == [0, 1]
        assert len(set(by_suite.values())) == 2
        for suite, trace in by_suite.items():
            spans = collector.of(trace)
            judged = [s for s in spans if s.name.startswith(f"process {namespace}.mh.judgments:")]
            ns = f"{namespace}.mh"
            partition = judged[0].about[KEY]
            there = [
                "producer: publish suite", f"producer: send {ns}.tasks:echo",
                f"worker: process {ns}.tasks:echo:{namespace}.tasks.echo",
            ]  # fmt: skip
            back = [
                f"worker: send {ns}.judgments:{partition}",
                f"aggregator: process {ns}.judgments:{partition}:{namespace}.judgments.{partition}",
            ]
            assert chain(spans, judged[0]) == there + back
            # which rung it took is for chance to say
            rungs = [s.about[KEY] for s in spans if s.name.startswith(f"send {ns}.retry:")]
            assert len(rungs) == (suite == 1)
            again = [f"worker: send {ns}.retry:{key}" for key in rungs]
            again += [f"worker: process {ns}.tasks:{key}:{namespace}.tasks.echo" for key in rungs]
            if suite == 1:
                assert chain(spans, judged[1]) == there + again + back
            assert len(judged) == 1 + (suite == 1)
            children = [s for s in spans if s.name == "judge echo"]
            assert [chain(spans, s)[-2] for s in children] == [there[2], *again[1:]]
            (settled,) = [s for s in spans if s.name == "settle suite"]
            assert chain(spans, settled) == ["producer: publish suite", "producer: settle suite"]
            for span in spans:
                assert span.start <= span.end
            for span in judged:
                assert span.kind == CONSUMER
                assert span.about["messaging.system"] == "rabbitmq"
                assert span.about["messaging.operation.type"] == "process"
                assert (span.about["manyhands.suite"], span.about["manyhands.judge"]) == (suite, "echo")
                assert span.about["manyhands.verdict"] == "ack"
            assert {s.kind for s in spans if s.name.startswith("send ")} == {PRODUCER}
            # the batch is a trace of its own, and each knows the other
            commits = {s.trace for s in collector.spans if s.name == "commit" and trace in s.links}
            assert all(set(span.links) & commits for span in judged)
        for name in ("suite", "queue", "settle", "turnaround"):
            exemplar = rf'manyhands_{name}_seconds_bucket\{{.*?\}} \S+ # \{{.*?trace_id="([0-9a-f]{{32}})"'
            shown = re.findall(exemplar, metrics)
            assert shown, name
            assert set(shown) <= set(by_suite.values())


def test_off_nothing_is_sent_and_nothing_added(
    rabbitmq: RabbitMQ, namespace: str, tmp_path: Path, job: Callable[..., Path]
) -> None:
    """Without the setting no span leaves any process, whatever OpenTelemetry's own variables say."""
    file = job(HANDLERS, '{"text": "a"}\n', source={"path": "rows.jsonl", "input": "text"})
    worker = ("--handlers", str(tmp_path / "handlers.py"))
    with collecting() as collector:
        store = f"sqlite:///{tmp_path / 'm.db'}"
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "MANYHANDS_TRACE_SHARE": "1"}
        with installation(rabbitmq.url, store, namespace, worker, workers=1, env=env) as running:
            answered(running, file)
            accept = {"Accept": "application/openmetrics-text"}
            assert "trace_id" not in httpx.get(f"{running.workers[0].url}/metrics", headers=accept).text
        assert collector.requests == 0


@pytest.mark.drill
def test_a_collector_that_is_away_holds_nobody_up(
    rabbitmq: RabbitMQ, namespace: str, tmp_path: Path, job: Callable[..., Path]
) -> None:
    """Nobody listens at the address: the job ends, each process says so now and then, and stops in time."""
    file = job(HANDLERS, '{"text": "a"}\n', source={"path": "rows.jsonl", "input": "text"})
    worker = ("--handlers", str(tmp_path / "handlers.py"))
    store = f"sqlite:///{tmp_path / 'm.db'}"
    on = {"MANYHANDS_OTLP": "http://127.0.0.1:9", "MANYHANDS_TRACE_SHARE": "1", "MANYHANDS_GRACE": "10"}
    with installation(rabbitmq.url, store, namespace, worker, workers=1, env=on) as running:
        answered(running, file)
        running.producer.says("the collector does not take them")
    said = [json.loads(line)["timestamp"] for line in running.producer.log if "spans lost" in line]
    times = [datetime.datetime.fromisoformat(one).timestamp() for one in said]
    assert all(later - earlier >= SILENCE for earlier, later in pairwise(times))
    assert not any("Traceback" in line for process in running.processes for line in process.log)
