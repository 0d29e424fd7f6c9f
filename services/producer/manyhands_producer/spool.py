"""Suites as they lie in the spool: cut once, packed once, unpacked for every judge and slot they are sent to."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from manyhands.codec import COMPRESS_OVER, unzstd, zstd

_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A suite that was just cut: its row of the spool.

    ``body`` holds the payloads of the tasks that were not refused; ``opened`` what ``suites.opened`` says besides, and
    is empty when that is nothing. ``size`` is what both have unpacked, in bytes.
    """

    suite: int
    first: int
    count: int
    refused: int
    size: int
    opened: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A suite out of the spool; ``payloads`` stand beside ``positions``, which leave out the refused.

    ``said`` is the bytes that it takes up in ``suites.opened``.
    """

    suite: int
    first: int
    count: int
    size: int
    payloads: Sequence[Any]
    ids: Sequence[str] | None = None
    truths: Sequence[Any] | None = None
    refused: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    said: int = 0

    @property
    def positions(self) -> list[int]:
        """The positions that judges are sent."""
        run = range(self.first, self.first + self.count)
        return [p for p in run if p not in self.refused] if self.refused else list(run)


def plain(value: object) -> Any:
    """What Parquet's richer types are on the wire: times in ISO 8601, decimals as text.

    Raises:
        TypeError: it is of no type that could travel.
        ValueError: it is a whole number that is too large.
    """
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return str(value)
        case int():
            raise ValueError("a whole number has more than 64 bits")
    raise TypeError(f"a value of the type {type(value).__name__} cannot travel")


def pack(value: Any) -> bytes:
    """A value as MessagePack.

    Raises:
        ValueError: it nests too deep, has a number of more than 64 bits, or text that is not Unicode.
        TypeError: it is of no type that could travel.
    """
    # packed as deep inside of lists as it will be in a message, or what is cut here could not be packed there
    packed: bytes = msgpack.packb([[[[value]]]], default=plain)
    return packed[4:]


def squeeze(packed: bytes) -> bytes:
    """Compressed, where that is worth it."""
    return zstd(packed) if len(packed) > COMPRESS_OVER else packed


def _raw(blob: bytes) -> bytes:
    # lists start with 0x90 to 0x9f, 0xdc or 0xdd in MessagePack, so a frame's first byte tells the two apart
    return unzstd(blob) if blob.startswith(_ZSTD_FRAME) else blob


def row(suite: int, first: int, count: int, size: int, opened: bytes, body: bytes | None) -> Spooled:
    """A suite from its row; without a body there are no payloads."""
    about = _raw(opened)
    ids, truths, refused = msgpack.unpackb(about, strict_map_key=False) if about else (None, None, None)
    return Spooled(
        suite=suite,
        first=first,
        count=count,
        size=size,
        payloads=() if body is None else msgpack.unpackb(_raw(body), strict_map_key=False),
        ids=ids,
        truths=truths,
        refused=refused or {},
        said=len(about) + 32,  # the numbers of the suite itself
    )
