"""The codec: what goes in comes out, and whatever else comes in is a `DecodeError` that keeps the bytes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.codec import (
    BODY_LIMIT,
    COMPRESS_OVER,
    EVENT,
    GROWTH_LIMIT,
    JUDGMENTS,
    SUITE,
    decode,
    encode,
    unzstd,
    zstd,
)
from manyhands.errors import DecodeError, TooLarge
from manyhands.messages import Event, Failure, Judgments, Message, Suite
from manyhands.values import at_most

workers = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
count = st.integers(0, 2**53 - 1)
when = st.floats(0, 4e9)
positions = st.lists(count, min_size=1, max_size=6, unique=True)


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    """Any suite."""
    at = draw(positions)
    return Suite(
        job=draw(st.text()), suite=draw(count), stage=draw(count), judge=draw(st.text()), slot=draw(count),
        positions=at, payloads=draw(st.lists(plain, min_size=len(at), max_size=len(at))), attempt=draw(count),
        spec=draw(st.text()), expires_at=draw(st.none() | when), max_attempts=draw(st.integers(1, 100)),
    )  # fmt: skip


@st.composite
def judgments(draw: st.DrawFn) -> Judgments:
    """Any judgments."""
    at = draw(positions)
    n = len(at)
    failure = st.builds(Failure, code=st.text(), message=st.text())
    return Judgments(
        job=draw(st.text()), suite=draw(count), stage=draw(count), judge=draw(st.text()), slot=draw(count),
        worker=draw(workers), positions=at, values=draw(st.lists(plain, min_size=n, max_size=n)),
        confidences=draw(st.none() | st.lists(st.none() | st.floats(0, 1), min_size=n, max_size=n)),
        errors=draw(st.dictionaries(st.sampled_from(at), failure)), version=draw(st.text()), attempt=draw(count),
        started=draw(when), finished=draw(when),
    )  # fmt: skip


events = st.builds(Event, name=st.text(), job=st.text(), data=st.dictionaries(st.text(max_size=8), plain, max_size=4))

SAID = Judgments(job="j", suite=1, stage=0, judge="a", slot=0, worker="w", positions=[4, 5], values=["x", "y"])
SENT = Suite(job="j", suite=1, stage=0, judge="a", slot=0, positions=[4, 5], payloads=["x", "y"])


def columns(message: Message, **changes: Any) -> bytes:
    """A message's body with some of its columns changed, or left out where the change is `...`."""
    body = msgpack.unpackb(encode(message).body, strict_map_key=False) | changes
    packed: bytes = msgpack.packb({k: v for k, v in body.items() if v is not ...})
    return packed


def refused(body: bytes, kind: str | None, encoding: str | None = None, **limits: Any) -> str:
    """Decode what must be refused; returns the reason."""
    with pytest.raises(DecodeError) as caught:
        decode(body, kind, encoding, **limits)
    assert caught.value.body == body, "the error keeps the bytes as they came"
    return str(caught.value)


def read_or_refused(body: bytes, kind: str) -> None:
    """Decode what may be a message or not."""
    kept = body
    try:
        decode(body, kind)
    except DecodeError as error:
        kept = error.body
    assert kept == body, "the error keeps the bytes as they came"


@given(suites() | judgments() | events)
@settings(deadline=None)
def test_round_trip(message: Message) -> None:
    """Every message decodes to what was encoded."""
    sent = encode(message)
    assert decode(sent.body, sent.type, sent.content_encoding) == message


@given(st.binary(max_size=200), st.sampled_from([SUITE, JUDGMENTS, EVENT]), st.sampled_from([None, "zstd"]))
@settings(deadline=None)
def test_any_bytes(body: bytes, kind: str, encoding: str | None) -> None:
    """Arbitrary bytes are refused with the bytes kept; nothing else is ever raised."""
    refused(body, kind, encoding)


@given(st.dictionaries(st.sampled_from(["job", "suite", "positions", "values", "errors", "data", "name"]), plain))
@settings(deadline=None)
def test_any_map(body: dict[str, Any]) -> None:
    """A map of the right names with anything in them is a message or a `DecodeError`."""
    packed = msgpack.packb(body)
    for kind in (SUITE, JUDGMENTS, EVENT):
        read_or_refused(packed, kind)


@given(st.sampled_from([SENT, SAID]), st.data())
@settings(deadline=None)
def test_any_column(message: Message, data: st.DataObject) -> None:
    """One column replaced by anything gives a message or a `DecodeError`."""
    name = data.draw(st.sampled_from([f.name for f in dataclasses.fields(message)]))
    body = columns(message, **{name: data.draw(plain)})
    read_or_refused(body, encode(message).type)


@pytest.mark.parametrize("message", [SENT, SAID, Event(name="job.opened", job="j", data={"a": 1})])
def test_truncated(message: Message) -> None:
    """A body cut off anywhere, or with something behind it, is refused."""
    sent = encode(message)
    for cut in range(len(sent.body)):
        refused(sent.body[:cut], sent.type)
    refused(sent.body + b"\x00", sent.type)


def test_compressed_over_4_kib() -> None:
    """A body over 4 KiB travels compressed, one below as it is."""
    small = encode(Event(name="e", job="j", data={"text": "a" * 100}))
    large = encode(Event(name="e", job="j", data={"text": "a" * COMPRESS_OVER}))
    assert small.content_encoding is None
    assert large.content_encoding == "zstd"
    assert len(large.body) < 200
    for cut in range(len(large.body)):
        refused(large.body[:cut], large.type, "zstd")
    assert "unused data" in refused(large.body + b"x", large.type, "zstd")


def test_too_large_to_send() -> None:
    """A body over the limit is `TooLarge` at its sender, with both sizes in the text."""
    noise = b"".join(i.to_bytes(4, "big") for i in range(100_000))
    with pytest.raises(TooLarge, match="bytes of at most 10,000"):
        encode(Event(name="e", job="j", data={"noise": noise}), limit=10_000)
    with pytest.raises(TooLarge):
        encode(Event(name="e", job="j", data={"zeros": bytes(10_000 * GROWTH_LIMIT)}), limit=10_000)


def test_limit_below_4_kib() -> None:
    """A limit below the size from which bodies are compressed holds too: what is sent can be received."""
    message = Event(name="e", job="j", data={"text": "a" * 3000})
    sent = encode(message, limit=1024)
    assert len(sent.body) <= 1024
    assert decode(sent.body, sent.type, sent.content_encoding, limit=1024) == message


def test_oversized() -> None:
    """A body over the limit is refused before it is looked at."""
    assert "at most 100" in refused(bytes(101), EVENT, limit=100)


def test_zstd_bomb() -> None:
    """A small body that unpacks to very much is refused by what its frame states, unpacked or not."""
    bomb = zstandard.compress(bytes(BODY_LIMIT * GROWTH_LIMIT + 1))
    assert len(bomb) < 10_000
    assert "unpacks to" in refused(bomb, EVENT, "zstd")


@pytest.mark.parametrize("value", [b"\x90", b"\x81\x01\xc0", b"\xa2ab"], ids=["lists", "maps", "texts"])
def test_a_bomb_of_values(value: bytes) -> None:
    """A body that unpacks to few bytes and these to very many objects is refused before any of them is made."""
    count = BODY_LIMIT * GROWTH_LIMIT // len(value) - 10
    bomb = zstandard.compress(b"\x81\xa1a\xdd" + count.to_bytes(4) + value * count)
    assert len(bomb) < 10_000
    for limit in (BODY_LIMIT, 1 << 27):  # the larger one is that of dead letters
        assert "more than 1,048,576 values" in refused(bomb, EVENT, "zstd", limit=limit)


def test_a_bomb_of_lengths() -> None:
    """Lists within lists that announce a million entries each are refused before room is made for them."""
    raw = b"\x81\xa1a" + (b"\xdd" + BODY_LIMIT.to_bytes(4)) * 1000 + bytes(BODY_LIMIT)
    assert "values" in refused(zstandard.compress(raw), EVENT, "zstd")


def test_too_many_values_to_send() -> None:
    """What no receiver would unpack is `TooLarge` at its sender."""
    with pytest.raises(TooLarge, match="more than 1,048,576 values"):
        encode(Event(name="e", job="j", data={"zeros": [0] * (1 << 20)}))


@given(plain, st.integers(0, 40))
def test_values_are_counted(value: Any, most: int) -> None:
    """As many as there are, each key and each element."""

    def count(one: Any) -> int:
        if isinstance(one, dict):
            return 1 + sum(count(k) + count(v) for k, v in one.items())
        return 1 + sum(map(count, one)) if isinstance(one, list) else 1

    assert at_most(msgpack.packb(value), most) is (count(value) <= most)


@given(st.binary(max_size=100), st.integers(0, 2**40))
def test_any_bytes_are_counted(body: bytes, most: int) -> None:
    """However they are torn, counting ends."""
    assert at_most(body, most) in (True, False)


def test_zstd_without_its_size() -> None:
    """A frame that does not state its size is refused: it could be of any."""
    body = zstandard.ZstdCompressor(write_content_size=False).compress(encode(SENT).body)
    refused(body, SUITE, "zstd")


@pytest.mark.parametrize("kind", [None, "", "suite", "suite.v2", "SUITE.V1", "job.v1"])
def test_unknown_type(kind: str | None) -> None:
    """A type or version that this release does not know is refused by name."""
    assert repr(kind) in refused(encode(SENT).body, kind)


def test_unknown_encoding() -> None:
    """A content encoding other than zstd is refused by name."""
    assert "'gzip'" in refused(encode(SENT).body, SUITE, "gzip")


@pytest.mark.parametrize(
    ("message", "changes", "said"),
    [
        (SENT, {"job": ...}, "lacks 'job'"),
        (SENT, {"job": b"j"}, "job must be text"),
        (SENT, {"suite": -1}, "suite must be a whole number"),
        (SENT, {"suite": 1.0}, "suite must be a whole number"),
        (SENT, {"slot": True}, "slot must be a whole number"),
        (SENT, {"suite": 1 << 53}, "suite must be a whole number"),
        (SENT, {"positions": []}, "at least one"),
        (SENT, {"positions": [4, 4]}, "must differ"),
        (SENT, {"positions": [4, -1]}, "whole numbers from 0"),
        (SENT, {"positions": [4, "5"]}, "whole numbers from 0"),
        (SENT, {"positions": {"4": 5}}, "whole numbers from 0"),
        (SENT, {"payloads": ["x"]}, r"as long as positions \(2\)"),
        (SENT, {"payloads": "xy"}, "payloads must be a list"),
        (SENT, {"expires_at": math.inf}, "expires_at must be a finite number"),
        (SENT, {"max_attempts": 0}, "max_attempts must be a whole number from 1 to 100"),
        (SENT, {"max_attempts": 101}, "max_attempts must be"),
        (SENT, {"max_attempts": True}, "max_attempts must be"),
        (SENT, {"max_attempts": 4.0}, "max_attempts must be"),
        (SENT, {"max_attempts": None}, "max_attempts must be"),
        (SAID, {"values": ["x", "y", "z"]}, r"as long as positions \(2\)"),
        (SAID, {"confidences": [0.5]}, r"as long as positions \(2\)"),
        (SAID, {"confidences": [0.5, math.nan]}, "from 0 to 1"),
        (SAID, {"confidences": [0.5, 1.01]}, "from 0 to 1"),
        (SAID, {"confidences": [0.5, True]}, "from 0 to 1"),
        (SAID, {"confidences": [0.5, "1"]}, "from 0 to 1"),
        (SAID, {"costs": [0.5]}, r"as long as positions \(2\)"),
        (SAID, {"costs": [0.5, -1]}, "costs must be finite numbers from 0"),
        (SAID, {"costs": [0.5, math.inf]}, "finite numbers from 0"),
        (SAID, {"costs": [0.5, True]}, "finite numbers from 0"),
        (SAID, {"started": math.nan}, "started must be a finite number"),
        (SAID, {"finished": "now"}, "finished must be a finite number"),
        (SAID, {"worker": None}, "worker must be text"),
        (SAID, {"worker": "w" * 201}, "worker must have at most 200 characters"),
        (SAID, {"worker": "a\0b"}, "no control characters"),
        (SAID, {"worker": "a\x85"}, "no control characters"),
        (SAID, {"worker": "a\n"}, "no control characters"),
        (SAID, {"errors": {6: {"code": "c", "message": "m"}}}, "positions of this message"),
        (SAID, {"errors": {4: {"code": "c"}}}, "lacks 'message'"),
        (SAID, {"errors": {4: "c"}}, "judgments.v1"),
        (SAID, {"errors": [4]}, "errors must be a map"),
        (Event(name="e", job="j"), {"data": [1]}, "data must be a map"),
    ],
)
def test_wrong_columns(message: Message, changes: dict[str, Any], said: str) -> None:
    """What a column may hold is checked, and the reason names the column."""
    with pytest.raises(DecodeError, match=said):
        decode(columns(message, **changes), encode(message).type)


@pytest.mark.parametrize("worker", ["", "w" * 200, "Żaneta Ö. 李 🐝", "host.example-17:4/a b"])
def test_ids_of_workers(worker: str) -> None:
    """Any name that people and machines have."""
    said = dataclasses.replace(SAID, worker=worker)
    assert decode(encode(said).body, JUDGMENTS) == said


def test_what_is_kept_may_have_ids_of_before() -> None:
    """An id that no message may have any more is read from a store; everything else is checked as ever."""
    said = dataclasses.replace(SAID, worker="w\n" * 300)
    assert decode(encode(said).body, JUDGMENTS, kept=True) == said
    with pytest.raises(DecodeError, match="worker must have"):
        decode(encode(said).body, JUDGMENTS)
    with pytest.raises(DecodeError, match="worker must be text"):
        decode(columns(SAID, worker=None), JUDGMENTS, kept=True)


def test_deep_nesting() -> None:
    """A body nested deeper than any of ours is refused, not a stack overflow; one too deep to read is not sent."""
    assert "not MessagePack" in refused(b"\x91" * 100_000 + b"\xc0", EVENT)
    nest: list[Any] = []
    for _ in range(2000):
        nest = [nest]
    with pytest.raises(TypeError, match=r"event\.v1 holds what cannot travel"):
        encode(Event(name="e", job="j", data={"nest": nest}))


@pytest.mark.parametrize("value", [2**64, "\ud800", object(), {1, 2}], ids=["2**64", "surrogate", "object", "set"])
def test_not_plain(value: object) -> None:
    """A value that has no place on the wire is a `TypeError` at its sender."""
    with pytest.raises(TypeError):
        encode(Suite(job="j", suite=0, stage=0, judge="a", slot=0, positions=[0], payloads=[value]))


@pytest.mark.parametrize(
    "body",
    [msgpack.packb({"job": msgpack.ExtType(5, b"x")}), b"\x81\x90\xc0", b"\x92\x01\x02", b"\xc0", b"\x81\xa1\xff\x01"],
    ids=["extension", "list as a key", "a list", "nil", "not UTF-8"],
)
def test_only_plain_maps(body: bytes) -> None:
    """Extension types, keys that are lists, text that is not UTF-8 and bodies that are no map are refused."""
    refused(body, EVENT)


def test_the_usual_cap_of_attempts_is_not_said() -> None:
    """A suite whose tasks have three tries says nothing of them; any other number travels."""
    assert "max_attempts" not in msgpack.unpackb(encode(SENT).body)
    assert msgpack.unpackb(encode(dataclasses.replace(SENT, max_attempts=1)).body)["max_attempts"] == 1


def test_zstd_frames() -> None:
    """What is packed is unpacked; a frame with something behind it is not."""
    frame = zstd(b"a" * 100)
    assert unzstd(frame) == b"a" * 100
    with pytest.raises(zstandard.ZstdError):
        unzstd(frame + b"x")
