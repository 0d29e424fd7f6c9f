"""Messages to bytes and back: MessagePack maps, zstd over 4 KiB, limits on everything, errors that keep the bytes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import zstandard

from manyhands.errors import DecodeError, TooLarge
from manyhands.messages import MAX_ATTEMPTS, WORKER_ID, Event, Failure, Judgments, Message, Suite
from manyhands.values import at_most

#: Bodies over this many bytes are compressed: below it zstd's frame and the call cost more than they save.
COMPRESS_OVER = 4096
#: The largest body on the wire, and the largest it may grow to when decompressed (times this factor).
BODY_LIMIT = 1 << 20
GROWTH_LIMIT = 16
#: Bytes that no body may grow past, whatever the limit: a body of little more than zeros must not fill the memory.
MOST_UNPACKED = 1 << 28
#: Values that no body may hold, whatever the limit, each key and element counted: one has a byte or more on the wire,
#: and takes up to a hundred in memory.
MOST_VALUES = 1 << 20
#: The most tries that a suite may grant its tasks: a forged one must not go round for ever.
MOST_ATTEMPTS = 100

SUITE, JUDGMENTS, EVENT = "suite.v1", "judgments.v1", "event.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A message as it travels: its body, its type and version, and how the body is compressed."""

    body: bytes
    type: str
    content_encoding: str | None = None


class _Zstd(threading.local):
    """One compressor and one decompressor a thread: they are costly to make and must not be shared."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=1).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


def zstd(raw: bytes) -> bytes:
    """Bytes as one zstd frame that states its size."""
    return _zstd.compress(raw)


def unzstd(frame: bytes) -> bytes:
    """The bytes of a frame; unpacks whatever size it states, so that is for the caller to check of foreign ones."""
    return _zstd.decompress(frame, allow_extra_data=False)


def encode(message: Message, *, limit: int = BODY_LIMIT) -> Encoded:
    """Encode a message.

    Raises:
        TooLarge: the body is over ``limit`` bytes even when compressed, or too large for any receiver to unpack.
        TypeError: a value is not plain, or one that MessagePack has no place for (2**64, half a surrogate pair).
    """
    name, columns = _PARTS[type(message)](message)
    try:
        body: bytes = msgpack.packb(columns)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"{name} holds what cannot travel: {error}") from error
    if len(body) <= min(COMPRESS_OVER, limit):
        return Encoded(body=body, type=name)
    packed = zstd(body)
    if len(body) > MOST_VALUES and not at_most(body, MOST_VALUES):
        raise TooLarge(f"{name} has more than {MOST_VALUES:,} values")
    if len(packed) > limit or len(body) > min(limit * GROWTH_LIMIT, MOST_UNPACKED):
        raise TooLarge(f"{name} has {len(packed):,} bytes of at most {limit:,}")
    return Encoded(body=packed, type=name, content_encoding="zstd")


def decode(
    body: bytes,
    type: str | None,  # noqa: A002  the property's name
    content_encoding: str | None = None,
    *,
    limit: int = BODY_LIMIT,
    kept: bool = False,
) -> Message:
    """Decode a body of the named type; the inverse of :func:`encode`.

    One that was ``kept`` in a store was taken in by an earlier version, it may be, that let workers have any id.

    Raises:
        DecodeError: for any body that is not exactly such a message; it keeps ``body``.
    """
    build = _BUILD.get(type or "")
    if build is None:
        raise DecodeError(f"unknown type {type!r}", body)
    columns = _columns(body, content_encoding, limit)
    try:
        message = build(columns)
        if isinstance(message, Judgments) and not kept and WORKER_ID.fullmatch(message.worker) is None:
            raise ValueError("worker must have at most 200 characters, and no control characters")
        return message
    except KeyError as error:
        raise DecodeError(f"{type} lacks {error.args[0]!r}", body) from error
    except (TypeError, ValueError) as error:
        raise DecodeError(f"{type}: {error}", body) from error


def addressed(
    body: bytes,
    type: str | None,  # noqa: A002  the property's name
    content_encoding: str | None = None,
    *,
    limit: int = BODY_LIMIT,
) -> Judgments | None:
    """For which tasks a suite or judgments speak, though they may be no valid message otherwise.

    None where not even that can be read. What is returned has None for every value, and nothing of the other columns.
    """
    if type not in (SUITE, JUDGMENTS):
        return None
    try:
        c = _columns(body, content_encoding, limit)
        positions = _positions(c)
        return Judgments(
            job=_text(c, "job"), suite=_count(c, "suite"), stage=_count(c, "stage"), judge=_text(c, "judge"),
            slot=_count(c, "slot"), attempt=_count(c, "attempt"), worker="",
            positions=positions, values=[None] * len(positions),
        )  # fmt: skip
    except (DecodeError, KeyError, ValueError):
        return None


def _columns(body: bytes, content_encoding: str | None, limit: int) -> dict[Any, Any]:
    if len(body) > limit:
        raise DecodeError(f"{len(body):,} bytes of at most {limit:,}", body)
    raw = _decompress(body, content_encoding, min(limit * GROWTH_LIMIT, MOST_UNPACKED))
    if len(raw) > MOST_VALUES and not at_most(raw, MOST_VALUES):
        raise DecodeError(f"more than {MOST_VALUES:,} values", body)
    try:
        columns = msgpack.unpackb(raw, strict_map_key=False, ext_hook=_no_extension, timestamp=1)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:  # TypeError: a list as a key
        raise DecodeError(f"not MessagePack ({error or error.__class__.__name__})", body) from error
    if not isinstance(columns, dict):
        raise DecodeError(f"a map is expected, not {columns.__class__.__name__}", body)
    return columns


def _no_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def _decompress(body: bytes, content_encoding: str | None, limit: int) -> bytes:
    if not content_encoding:
        return body
    if content_encoding != "zstd":
        raise DecodeError(f"unknown content encoding {content_encoding!r}", body)
    try:
        # The frame states its size; one that lies or says nothing is not ours, and is never unpacked in full.
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= limit:
            raise DecodeError(f"unpacks to {size:,} bytes of at most {limit:,}", body)
        return unzstd(body)
    except zstandard.ZstdError as error:
        raise DecodeError(f"not zstd ({error})", body) from error


def _suite_parts(m: Suite) -> tuple[str, dict[str, Any]]:
    columns: dict[str, Any] = {
        "job": m.job, "suite": m.suite, "stage": m.stage, "judge": m.judge, "slot": m.slot, "attempt": m.attempt,
        "spec": m.spec, "positions": m.positions, "payloads": m.payloads,
    }  # fmt: skip
    if m.expires_at is not None:
        columns["expires_at"] = m.expires_at
    if m.max_attempts != MAX_ATTEMPTS:
        columns["max_attempts"] = m.max_attempts
    return SUITE, columns


def _judgments_parts(m: Judgments) -> tuple[str, dict[str, Any]]:
    columns: dict[str, Any] = {
        "job": m.job, "suite": m.suite, "stage": m.stage, "judge": m.judge, "slot": m.slot, "worker": m.worker,
        "version": m.version, "attempt": m.attempt, "started": m.started, "finished": m.finished,
        "positions": m.positions, "values": m.values,
    }  # fmt: skip
    if m.confidences is not None:
        columns["confidences"] = m.confidences
    if m.costs is not None:
        columns["costs"] = m.costs
    if m.errors:
        columns["errors"] = {p: {"code": f.code, "message": f.message} for p, f in m.errors.items()}
    return JUDGMENTS, columns


def _event_parts(m: Event) -> tuple[str, dict[str, Any]]:
    return EVENT, {"name": m.name, "job": m.job, "data": m.data}


def _build_suite(c: Mapping[str, Any]) -> Suite:
    expires_at = c.get("expires_at")
    positions = _positions(c)
    return Suite(
        job=_text(c, "job"), suite=_count(c, "suite"), stage=_count(c, "stage"), judge=_text(c, "judge"),
        slot=_count(c, "slot"), attempt=_count(c, "attempt"), spec=_text(c, "spec"), positions=positions,
        payloads=_column(c, "payloads", len(positions)),
        expires_at=None if expires_at is None else _number(c, "expires_at"),
        max_attempts=_max_attempts(c) if "max_attempts" in c else MAX_ATTEMPTS,
    )  # fmt: skip


def _build_judgments(c: Mapping[str, Any]) -> Judgments:
    positions = _positions(c)
    confidences = _column(c, "confidences", len(positions)) if "confidences" in c else None
    if confidences is not None and not all(x is None or (type(x) in (int, float) and 0 <= x <= 1) for x in confidences):
        raise ValueError("confidences must be numbers from 0 to 1")
    costs = _column(c, "costs", len(positions)) if "costs" in c else None
    if costs is not None and not all(x is None or (type(x) in (int, float) and 0 <= x < math.inf) for x in costs):
        raise ValueError("costs must be finite numbers from 0")
    errors = c.get("errors", {})
    if not isinstance(errors, dict) or not errors.keys() <= set(positions):
        raise ValueError("errors must be a map of positions of this message")
    return Judgments(
        job=_text(c, "job"), suite=_count(c, "suite"), stage=_count(c, "stage"), judge=_text(c, "judge"),
        slot=_count(c, "slot"), worker=_text(c, "worker"), version=_text(c, "version"), attempt=_count(c, "attempt"),
        started=_number(c, "started"), finished=_number(c, "finished"), positions=positions,
        values=_column(c, "values", len(positions)), confidences=confidences, costs=costs,
        errors={p: Failure(code=_text(f, "code"), message=_text(f, "message")) for p, f in errors.items()},
    )  # fmt: skip


def _build_event(c: Mapping[str, Any]) -> Event:
    data = c["data"]
    if not isinstance(data, dict):
        raise ValueError("data must be a map")
    return Event(name=_text(c, "name"), job=_text(c, "job"), data=data)


def _text(c: Mapping[str, Any], key: str) -> str:
    value = c[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text")
    return value


def _count(c: Mapping[str, Any], key: str) -> int:
    value = c[key]
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(f"{key} must be a whole number from 0")
    return value


def _max_attempts(c: Mapping[str, Any]) -> int:
    value = c["max_attempts"]
    if type(value) is not int or not 1 <= value <= MOST_ATTEMPTS:
        raise ValueError(f"max_attempts must be a whole number from 1 to {MOST_ATTEMPTS}")
    return value


def _number(c: Mapping[str, Any], key: str) -> float:
    value = c[key]
    if type(value) not in (int, float) or value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{key} must be a finite number")
    return float(value)


def _column(c: Mapping[str, Any], key: str, length: int) -> Sequence[Any]:
    value = c[key]
    if not isinstance(value, list) or len(value) != length:
        raise ValueError(f"{key} must be a list as long as positions ({length})")
    return value


def _positions(c: Mapping[str, Any]) -> Sequence[int]:
    value = c["positions"]
    # set(map(type, ...)) runs in C: a column is checked at about 20 ns a task
    if not isinstance(value, list) or not value or set(map(type, value)) != {int} or min(value) < 0:
        raise ValueError("positions must be a list of whole numbers from 0, at least one")
    if len(set(value)) != len(value):
        raise ValueError("positions must differ from one another")
    return value


_PARTS: dict[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    Suite: _suite_parts,
    Judgments: _judgments_parts,
    Event: _event_parts,
}
_BUILD: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    SUITE: _build_suite,
    JUDGMENTS: _build_judgments,
    EVENT: _build_event,
}
