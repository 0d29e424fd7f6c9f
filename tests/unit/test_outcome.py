"""Outcome: which error leads to a retry, a dead letter or a hand-back."""

from __future__ import annotations

import pytest

from manyhands.errors import (
    BrokerUnavailable,
    DecodeError,
    HandBack,
    RejectTask,
    RetryTask,
    StoreUnavailable,
    TooLarge,
    UnknownJob,
)
from manyhands.outcome import MESSAGE_LIMIT, TRACEBACK_LIMIT, Fate, GiveBack, Retry, SetAside, failure, fate, trace

FATES: list[tuple[BaseException, int, Fate]] = [
    (ValueError("odd"), 1, Retry(1.0)),
    (ValueError("odd"), 2, Retry(5.0)),
    (ValueError("odd"), 3, SetAside()),
    (ValueError("odd"), 9, SetAside()),
    (TimeoutError(), 1, Retry(1.0)),
    (BrokerUnavailable(), 1, Retry(1.0)),
    (RetryTask("busy"), 1, Retry(1.0)),
    (RetryTask("busy", after=100), 1, Retry(120.0)),
    (RetryTask("busy", after=100), 3, SetAside()),
    (RejectTask("no picture"), 1, SetAside()),
    (DecodeError("not ours", b""), 1, SetAside()),
    (TooLarge(), 1, SetAside()),
    (UnknownJob(), 1, SetAside()),
    (HandBack(), 1, GiveBack()),
    (HandBack(), 99, GiveBack()),
    (StoreUnavailable(), 99, GiveBack()),
]


@pytest.mark.parametrize(("error", "attempt", "expected"), FATES, ids=lambda v: type(v).__name__)
def test_fate(error: BaseException, attempt: int, expected: Fate) -> None:
    """The table: of three attempts, with chance kept out."""
    assert fate(error, attempt, 3, lambda: 0.9) == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RejectTask("x"), "rejected"),
        (DecodeError("x", b""), "undecodable"),
        (TooLarge("x"), "too-large"),
        (TimeoutError("x"), "time-limit"),
        (KeyError("x"), "error"),
        (RetryTask("x"), "error"),
    ],
)
def test_failure(error: BaseException, code: str) -> None:
    """A failure has a stable code, and the error's kind and words."""
    said = failure(error)
    assert said.code == code
    assert said.message.startswith(f"{type(error).__name__}: ")
    assert "x" in said.message


def test_failure_is_bounded() -> None:
    """However much an error says, it fits a header."""
    assert len(failure(ValueError("x" * 10**6)).message) == MESSAGE_LIMIT


def test_trace() -> None:
    """A traceback keeps its end, where the cause stands, and is bounded."""

    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("x" * 8000 + " the cause")

    with pytest.raises(ValueError, match="the cause") as caught:
        deep(50)
    text = trace(caught.value)
    assert text.endswith("the cause\n")
    assert len(text) == TRACEBACK_LIMIT
