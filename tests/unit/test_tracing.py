"""Traces: what is believed of headers, which suites are sampled, what a publish and a delivery become."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from manyhands import tracing
from manyhands.broker.protocol import Confirmed, Delivery, Outgoing
from manyhands.codec import SUITE, encode
from manyhands.deadletters import Cause, raw_letter, read_cause
from manyhands.errors import BrokerError, BrokerUnavailable, SettingsError
from manyhands.messages import Suite
from manyhands.runner import Outcome, Runner
from manyhands.settings import Settings
from manyhands.spans import Spans
from manyhands.testing import FakeConsumer, FakePublisher
from manyhands.topology import Names

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"

#: What nobody may fail on: any of it may stand in a header.
FORGED = [
    "", "nonsense", "00-" + "0" * 32 + f"-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE.upper()}-{SPAN}-01", "00" * 5000, 7, True, None, 1.5, b"00", [PARENT],
    {"traceparent": PARENT}, "\ud800", "\0",
]  # fmt: skip


class Kept(InMemorySpanExporter):
    """What was exported, by name."""

    def names(self) -> list[str]:
        """The names of the spans, in the order in which they ended."""
        return [span.name for span in self.get_finished_spans()]


def spans_of(share: float = 1.0) -> tuple[Spans, Kept]:
    """Spans that are kept in memory."""
    kept = Kept()
    return Spans(Settings(trace_share=share, otlp="http://127.0.0.1:9"), "test", kept), kept


@pytest.fixture
def traced() -> Iterator[Kept]:
    """Tracing is on, and what is exported is kept; flushed by ``tracing.stop``."""
    tracing.spans, kept = spans_of()
    yield kept
    tracing.stop(5)


def suite() -> bytes:
    """A suite as it travels."""
    return encode(Suite(job="j", suite=3, stage=0, judge="echo", slot=1, positions=[6, 7], payloads=["a", "b"])).body


def delivery(**headers: Any) -> Delivery:
    """A suite in hand."""
    return Delivery(queue="tasks.echo", key="echo", body=suite(), type=SUITE, headers=headers)


def unconfirmed(_error: BrokerError | None) -> None:
    """Nobody waits for the confirm."""


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("state", [None, "a=b", 7, "=,=;" * 40, "x" * 10_000])
def test_a_forged_header_is_no_trace_and_no_error(traced: Kept, forged: Any, state: Any) -> None:
    """Whatever stands there, the delivery is settled and what it causes is published."""
    one = delivery(traceparent=forged, tracestate=state)
    publisher, consumer = FakePublisher(), FakeConsumer([one])

    class Handler:
        def handle(self, deliveries: list[Delivery], finish: Any) -> None:
            headers = tracing.caused_by(deliveries[0])
            letter = Outgoing(exchange="e", key="k", body=b"", type="t", headers=headers)
            finish(Outcome(deliveries=deliveries, publish=[letter]))
            runner.stop()

    runner = Runner(consumer, publisher, Handler())
    runner.run()
    assert [d for d, _ in consumer.settled] == [one]
    assert len(publisher.published) == 1
    assert one.trace is None
    assert all(isinstance(said, str) for said in publisher.published[0].headers.values())
    tracing.stop(5)
    assert traced.names() == []


@pytest.mark.parametrize("state", ["a=b", "", 7, "=,=;", "x" * 10_000])
def test_a_wrong_tracestate_costs_no_trace(traced: Kept, state: Any) -> None:
    """A good traceparent counts, whatever stands in tracestate."""
    one = delivery(traceparent=PARENT, tracestate=state)
    tracing.spans.take(one)  # type: ignore[union-attr]  # the fixture has set it
    assert one.trace is not None
    assert one.trace.ids["trace_id"] == TRACE
    assert traced.names() == []


def test_what_was_not_sampled_stays_so(traced: Kept) -> None:
    """The flag of the parent decides; no delivery begins a trace."""
    for one in (delivery(traceparent=PARENT[:-1] + "0"), delivery()):
        tracing.spans.take(one)  # type: ignore[union-attr]
        assert one.trace is None
    message = Outgoing(exchange="e", key="k", body=b"", type="t", headers={"traceparent": PARENT[:-1] + "0"})
    assert tracing.spans.send(message, unconfirmed) == (message, unconfirmed)  # type: ignore[union-attr]
    assert traced.names() == []


def test_a_delivery_and_what_it_causes(traced: Kept) -> None:
    """The span of a delivery is the parent of those of its messages, and says which tasks it is about."""
    one = delivery(traceparent=PARENT, tracestate="a=b")
    publisher, consumer = FakePublisher(), FakeConsumer([one])

    class Handler:
        def handle(self, deliveries: list[Delivery], finish: Any) -> None:
            assert one.trace is not None
            one.trace.judged("echo", 1_700_000_000.0, 0.5, 1)
            out = Outgoing(exchange="mh.judgments", key="2", body=b"x", type="t", headers={"traceparent": PARENT})
            finish(Outcome(deliveries=deliveries, publish=tracing.traced(one, [out])))
            runner.stop()

    runner = Runner(consumer, publisher, Handler())
    runner.run()
    assert one.trace is not None
    assert tracing.exemplar(one) == one.trace.ids
    assert tracing.bound(one) == {"trace_id": TRACE}
    tracing.stop(5)
    child, sent, process = traced.get_finished_spans()
    assert [s.name for s in (process, child, sent)] == [
        "process mh.tasks:echo:tasks.echo", "judge echo", "send mh.judgments:2"
    ]  # fmt: skip
    assert process.parent is not None
    assert f"{process.parent.span_id:016x}" == SPAN
    assert process.attributes is not None
    about = {key: process.attributes[f"manyhands.{key}"] for key in ("job", "suite", "stage", "judge", "slot", "tasks")}
    assert about == {"job": "j", "suite": 3, "stage": 0, "judge": "echo", "slot": 1, "tasks": 2}
    assert process.attributes["manyhands.verdict"] == "ack"
    assert {s.parent.span_id for s in (child, sent) if s.parent} == {process.context.span_id}
    assert child.end_time is not None
    assert child.start_time == 1_700_000_000_000_000_000
    assert child.end_time - child.start_time == 500_000_000
    assert publisher.published[0].headers == {
        "traceparent": f"00-{TRACE}-{sent.context.span_id:016x}-{sent.context.trace_flags:02x}", "tracestate": "a=b"
    }  # fmt: skip


def test_a_publish_that_fails_says_so(traced: Kept) -> None:
    """The span ends with the confirm; an error is its status, and goes on to who waits for it."""
    heard: list[BrokerError | None] = []
    message = Outgoing(exchange="e", key="k", body=b"", type="t", headers={"traceparent": PARENT})
    confirmed: Confirmed
    _, confirmed = tracing.spans.send(message, heard.append)  # type: ignore[union-attr]
    confirmed(BrokerUnavailable("gone"))
    tracing.stop(5)
    (span,) = traced.get_finished_spans()
    assert not span.status.is_ok
    assert [str(error) for error in heard] == [str(BrokerUnavailable("gone"))]


def test_the_share_of_the_suites() -> None:
    """About the share of them is sampled, always the same ones, whoever asks; all at 1, none at 0."""
    a, b = spans_of(0.1)[0], spans_of(0.1)[0]
    sampled = [n for n in range(5000) if a.headers("job", n, 1.5)]
    assert 400 < len(sampled) < 600
    assert [n for n in range(5000) if b.headers("job", n, 1.5)] == sampled
    assert all(spans_of(1)[0].headers("job", n, 1.5) for n in range(100))
    assert not any(spans_of(0)[0].headers("job", n, 1.5) for n in range(100))


@pytest.mark.usefixtures("traced")
def test_a_suite_published_again_is_in_the_same_trace() -> None:
    """Its ids follow from what it is; another job of the same name is another."""
    spans = tracing.spans
    assert spans is not None
    before = spans.headers("job", 1, 1.5)
    begun = spans.publishing("job", 1, 1.5, 10)
    assert begun is not None
    begun.end()
    context = begun.get_span_context()
    assert before["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert spans_of()[0].headers("job", 1, 1.5) == before
    assert (
        len({spans.headers(*key)["traceparent"][3:35] for key in (("job", 1, 1.5), ("job", 1, 2.5), ("b", 1, 1.5))})
        == 3
    )


def test_a_batch_is_linked_both_ways(traced: Kept) -> None:
    """A transaction is a trace of its own, which its deliveries know; without a traced one there is none."""
    spans = tracing.spans
    assert spans is not None
    assert spans.batch([delivery()]) is None
    one, other = delivery(traceparent=PARENT), delivery()
    for each in (one, other):
        spans.take(each)
    commit = spans.batch([one, other])
    assert commit is not None
    event = Outgoing(exchange="e", key="k", body=b"", type="t")
    letter = Outgoing(exchange="e", key="k", body=b"", type="t", headers=tracing.caused_by(one))
    out = spans.caused(commit, [event, letter])
    commit.end()
    assert out[1] is letter
    assert out[0].headers["traceparent"][3:35] == f"{commit.get_span_context().trace_id:032x}" != TRACE
    assert one.trace is not None
    one.trace.settled("ack")
    tracing.stop(5)
    batch, process = traced.get_finished_spans()
    assert [link.context.span_id for link in batch.links] == [process.context.span_id]
    assert [link.context.span_id for link in process.links] == [batch.context.span_id]


def test_a_dead_letter_keeps_its_trace() -> None:
    """Whoever sets a message aside passes its trace on, traced or not, and the cause on file has it."""
    one = delivery(traceparent=PARENT, tracestate=7)
    letter = raw_letter(Names(), "tasks", one, Cause(code="undecodable", error="x", at=1.0))
    assert letter.headers["traceparent"] == PARENT
    assert "tracestate" not in letter.headers
    back = Delivery(queue="dead.tasks", key=letter.key, body=letter.body, type=letter.type, headers=letter.headers)
    assert read_cause(back, 2.0).traceparent == PARENT


def test_a_request_that_fails_tells_no_more_than_the_kind(traced: Kept) -> None:
    """The error's text may hold what the caller sent: it is in no span."""
    with pytest.raises(SettingsError), tracing.called("POST", "/api/jobs", {"traceparent": PARENT}):
        raise SettingsError("the secret item")
    tracing.stop(5)
    (span,) = traced.get_finished_spans()
    assert span.attributes is not None
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "SettingsError")
    assert "secret item" not in span.to_json()


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    """Neither for handlers, nor for what a service is made of; and handlers import neither broker nor web."""
    light = "import manyhands"
    service = "import manyhands.runner, manyhands.process, manyhands.broker.rabbit, manyhands.tracing as t; t.stop(0)"
    for code, banned in (
        (light, {"opentelemetry", "pika", "kombu", "fastapi", "sqlalchemy"}),
        (service, {"opentelemetry"}),
    ):
        asked = f"{code}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
        assert not banned & set(done.stdout.split()), code


def test_off_is_off() -> None:
    """Without an address nothing is started, and the helpers say nothing."""
    tracing.start(Settings(otlp=""), "test")
    assert tracing.spans is None
    one = delivery(traceparent=PARENT)
    assert tracing.exemplar(one) is None
    assert tracing.bound(one) == {}
    assert tracing.caused_by(one) == {"traceparent": PARENT}
    tracing.stop(1)


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenTelemetry is not installed, the setting is refused with what to install."""
    monkeypatch.setitem(__import__("sys").modules, "manyhands.spans", None)
    with pytest.raises(SettingsError, match=r"manyhands\[tracing\]"):
        tracing.start(Settings(otlp="http://127.0.0.1:9"), "test")
    assert tracing.spans is None
