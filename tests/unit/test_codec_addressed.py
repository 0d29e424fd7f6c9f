"""For which tasks a message speaks, however little else of it is right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from manyhands.codec import EVENT, JUDGMENTS, SUITE, addressed, encode
from manyhands.messages import Judgments, Suite
from tests.unit.test_codec import SAID, SENT, columns, judgments, suites


@given(suites() | judgments())
def test_addressed(message: Suite | Judgments) -> None:
    """It can be read of every message that is valid, and of one with every other column wrong."""
    keys = ("job", "suite", "stage", "judge", "slot", "attempt", "positions")
    whole = encode(message)
    broken = columns_of(message, payloads=[], values=..., worker=7, errors="no", started=None, expires_at="soon")
    for body, encoding in ((whole.body, whole.content_encoding), (broken, None)):
        read = addressed(body, whole.type, encoding)
        assert read is not None
        assert [getattr(read, key) for key in keys] == [getattr(message, key) for key in keys]
        assert list(read.values) == [None] * len(message.positions)


def columns_of(message: Suite | Judgments, **changes: Any) -> bytes:
    """A message's columns with changes, small enough not to be compressed."""
    small = SENT if isinstance(message, Suite) else SAID
    keys = ("job", "suite", "stage", "judge", "slot", "attempt", "positions")
    return columns(small, **{key: getattr(message, key) for key in keys}, **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"job": 1}, {"job": ...}, {"suite": -1}, {"stage": None}, {"judge": b"a"}, {"slot": 0.5}, {"attempt": True},
        {"positions": []}, {"positions": [4, 4]}, {"positions": [[4]]}, {"positions": {4: 5}}, {"positions": ...},
    ],
    ids=str,
)  # fmt: skip
def test_addressed_to_nobody(change: dict[str, Any]) -> None:
    """Where that is wrong too, nothing is guessed."""
    for message, kind in ((SAID, JUDGMENTS), (SENT, SUITE)):
        assert addressed(columns(message, **change), kind) is None


def test_what_cannot_be_read_at_all() -> None:
    """Other types, other encodings and bodies over the limit are left alone."""
    body = encode(SAID).body
    assert addressed(body, JUDGMENTS) is not None
    for type_ in (EVENT, None, "judgments.v2"):
        assert addressed(body, type_) is None
    assert addressed(body, JUDGMENTS, "gzip") is None
    assert addressed(body, JUDGMENTS, limit=9) is None
    for other in (body[:-1], b"", b"\x90"):
        assert addressed(other, JUDGMENTS) is None
