"""What a message bears besides its body: whatever a sender puts there, the message is delivered."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from manyhands.broker.rabbit import properties, wire

#: Tables in AMQP as pika itself would not write them: name, kind of field, bytes.
HOSTILE: dict[str, tuple[bytes, bytes]] = {
    "a time beyond the year 9999": (b"T", struct.pack(">Q", 2**63)),
    "no number": (b"d", struct.pack(">d", float("nan"))),
    "no end of a number": (b"d", struct.pack(">d", float("inf"))),
    "no number, short": (b"f", struct.pack(">f", float("nan"))),
    "a kind that pika does not know": (b"?", b""),
    "a torn list": (b"A", struct.pack(">I", 10) + b"I\0"),
}


def table(kind: bytes, value: bytes) -> bytes:
    """A table of one field."""
    field = b"\x01k" + kind + value
    return struct.pack(">I", len(field)) + field


def nested(depth: int) -> bytes:
    """Tables within tables."""
    found = struct.pack(">I", 0)
    for _ in range(depth):
        found = table(b"F", found)
    return found


def received(headers: bytes, kind: bytes = b"suite.v1", encoding: bytes = b"zstd") -> Any:
    """A delivery whose header frame has these bytes for a table, as it comes off the wire."""
    flags = spec.BasicProperties.FLAG_HEADERS | spec.BasicProperties.FLAG_TYPE
    flags |= spec.BasicProperties.FLAG_CONTENT_ENCODING | spec.BasicProperties.FLAG_DELIVERY_MODE
    said = bytes([len(encoding)]) + encoding + headers + b"\x02" + bytes([len(kind)]) + kind
    body = struct.pack(">HHQH", spec.BasicProperties.INDEX, 0, 4, flags) + said
    raw = struct.pack(">BHL", spec.FRAME_HEADER, 1, len(body)) + body + bytes([spec.FRAME_END])
    _, header = frame.decode_frame(raw)
    method = spec.Basic.Deliver(delivery_tag=1, redelivered=False, exchange="e", routing_key=b"svm\xff")
    return wire.delivery("tasks.svm", method, header.properties, b"body", None)


@pytest.mark.parametrize("headers", [*(table(*one) for one in HOSTILE.values()), nested(5000)], ids=[*HOSTILE, "deep"])
def test_headers_that_cannot_be_read_are_none(headers: bytes) -> None:
    """All else is read: the message is judged, or set aside, like any other."""
    delivery = received(headers)
    assert (delivery.type, delivery.content_encoding, delivery.headers) == ("suite.v1", "zstd", {})
    assert (delivery.body, delivery.delivery_count) == (b"body", 0)


@pytest.mark.parametrize("value", [b"S\0\0\0\x03abc", b"L" + struct.pack(">q", -1), b"t\x01", b"L" + b"\x7f" * 8])
def test_a_forged_count_of_deliveries_is_none(value: bytes) -> None:
    """The broker counts them; whoever else writes there may have written anything."""
    field = bytes([len("x-delivery-count")]) + b"x-delivery-count" + value
    assert received(struct.pack(">I", len(field)) + field).delivery_count == 0


@pytest.mark.parametrize(
    "value", [b"L" + struct.pack(">q", 7), b"l" + struct.pack(">q", 7), b"I" + struct.pack(">i", 7)]
)
def test_the_brokers_count_of_deliveries(value: bytes) -> None:
    """In each kind of integer that a broker may send; for one of them pika has a type of its own."""
    field = bytes([len("x-delivery-count")]) + b"x-delivery-count" + value
    found = received(struct.pack(">I", len(field)) + field).delivery_count
    assert (found, type(found)) == (7, int)


def test_what_is_no_text() -> None:
    """Routing key, type and encoding come as text of the same length, since they travel on in dead letters."""
    delivery = received(struct.pack(">I", 0), kind=b"\xff" * 255, encoding=b"\xfe")
    assert (delivery.key, delivery.type, delivery.content_encoding) == ("svm?", "?" * 255, "?")


@given(headers=st.binary(max_size=60))
def test_any_table(headers: bytes) -> None:
    """Whatever stands where headers should, the message is delivered. (A broker lets no torn table through.)"""
    assert received(struct.pack(">I", len(headers)) + headers).body == b"body"


def test_ordinary_headers_are_read() -> None:
    """Those that our own processes write."""
    assert received(table(b"S", b"\0\0\0\x01v")).headers == {"k": "v"}
    assert properties.text("known") == "known"
