"""Dead letters: the body as it was, and headers from which the cause can be read again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import Basic, BasicProperties

from manyhands import deadletters
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.codec import decode
from manyhands.deadletters import Cause, raw_letter, read_cause, suite_letter
from manyhands.errors import TooLarge
from manyhands.messages import Suite
from manyhands.topology import Names

NAMES = Names()
SUITE = Suite(job="j", suite=3, stage=0, judge="svm", slot=0, positions=[31], payloads=["bad"], attempt=3)
CAUSE = Cause(
    code="error",
    error="ValueError: odd",
    at=1_700_000_000.123,
    traceback="Traceback …",
    version="3",
    worker="w-1",
    host="h",
    attempts=3,
    history=["first", "second"],
    told=True,
)


def arrived(letter: Outgoing) -> Delivery:
    """The letter as it comes to its reader."""
    return Delivery(
        queue="dead.tasks",
        key=letter.key,
        body=letter.body,
        type=letter.type,
        content_encoding=letter.content_encoding,
        headers=dict(letter.headers),
    )


def delivery(**headers: Any) -> Delivery:
    """A message that has these headers."""
    return Delivery(queue="dead.tasks", key="tasks.svm", body=b"?", type="suite.v1", headers=headers)


def test_suite_letter() -> None:
    """A letter for a suite goes to dead.tasks by its judge, holds the suite, and its cause reads as it was written."""
    letter = suite_letter(NAMES, SUITE, CAUSE)
    assert (letter.exchange, letter.key) == ("mh.dead", "tasks.svm")
    assert decode(letter.body, letter.type, letter.content_encoding) == SUITE
    assert read_cause(arrived(letter), 0.0) == CAUSE


def test_what_is_told_is_said_only_then() -> None:
    """The header stands for true, and is left out otherwise; nothing but true is true."""
    assert suite_letter(NAMES, SUITE, CAUSE).headers["mh-told"] is True
    untold = Cause(code="error", error="odd", at=1.0)
    assert "mh-told" not in suite_letter(NAMES, SUITE, untold).headers
    for forged in ("true", 1, [True], None):
        assert not read_cause(delivery(**{"mh-code": "error", "mh-told": forged}), 0.0).told
    assert not read_cause(delivery(**{"mh-told": True}), 0.0).told, "the broker tells of nothing"


def test_suite_letter_keeps_the_limit() -> None:
    """The body limit holds for letters too."""
    with pytest.raises(TooLarge):
        suite_letter(NAMES, SUITE, CAUSE, limit=10)


@pytest.mark.parametrize(("key", "expected"), [("job.opened", "events.job.opened"), ("", "events.none")])
def test_raw_letter(key: str, expected: str) -> None:
    """A letter for what could not be read keeps its very bytes, type and encoding."""
    bad = Delivery(queue="events.producer", key=key, body=b"\xff\x00", type=None, content_encoding="zstd")
    letter = raw_letter(NAMES, "events", bad, CAUSE)
    assert (letter.exchange, letter.key) == ("mh.dead", expected)
    assert (letter.body, letter.type, letter.content_encoding) == (b"\xff\x00", "", "zstd")
    assert read_cause(arrived(letter), 0.0) == CAUSE


def test_a_letter_fits_where_its_delivery_did() -> None:
    """Key, type and encoding may be as long as AMQP has room for: pika raises for what is longer."""
    longest = Delivery(queue="q", key="k" * 255, body=b"", type="\u00e9" * 127, content_encoding="e" * 255)
    letter = raw_letter(NAMES, "judgments", longest, CAUSE)
    Basic.Publish(exchange=letter.exchange, routing_key=letter.key).encode()
    BasicProperties(type=letter.type, content_encoding=letter.content_encoding).encode()


def test_letters_are_bounded() -> None:
    """However much there is to say, the headers fit one AMQP frame, and what is kept is the newest."""
    much = Cause(
        code="error",
        error="x" * 10**6,
        at=0.0,
        traceback="x" * 10**6 + "end",
        history=[str(n) * 5000 for n in range(99)],
    )
    headers = raw_letter(NAMES, "tasks", delivery(), much).headers
    assert len(repr(headers).encode()) < 60_000
    cause = read_cause(delivery(**headers), 0.0)
    assert cause.traceback.endswith("end")
    assert len(cause.history) == deadletters.HISTORY_LIMIT
    assert cause.history[-1].startswith("98")
    assert cause.host, "the host is this one when nobody says"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-death": [{"queue": "tasks.svm", "reason": "delivery_limit"}, {"queue": "retry.1s", "reason": "expired"}]},
        {"x-first-death-reason": "delivery_limit", "x-first-death-queue": "tasks.svm"},
    ],
    ids=["x-death", "x-first-death"],
)
def test_set_aside_by_the_broker(headers: dict[str, Any]) -> None:
    """A letter from the broker itself is read from RabbitMQ's headers, the newest death first."""
    cause = read_cause(delivery(**headers), 5.0)
    assert (cause.code, cause.at) == ("delivery-limit", 5.0)
    assert "tasks.svm" in cause.error


def test_unroutable() -> None:
    """A letter without any headers came through the alternate exchange: the key is in the reason."""
    cause = read_cause(Delivery(queue="dead.unrouted", key="nobody", body=b"", type="suite.v1"), 5.0)
    assert cause.code == "unroutable"
    assert "'nobody'" in cause.error


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(
    st.dictionaries(
        st.sampled_from(
            ["mh-code", "mh-at", "mh-attempts", "mh-history", "mh-error", "mh-told", "x-death", "x-first-death-reason"]
        ),
        anything | st.lists(st.dictionaries(st.text(), st.text())),
    )
)
def test_forged_headers(headers: dict[str, Any]) -> None:
    """Whatever stands in the headers, a cause is read and its time is a time."""
    cause = read_cause(delivery(**headers), 5.0)
    assert cause.at - cause.at == 0.0
