"""What a message bears besides its body, read in such a way that nothing a sender puts there ends a connection.

pika raises where it meets a header that it has no value for (a time beyond the year 9999, NaN, tables within tables
within tables), and leaves as bytes what is no UTF-8. The message would come again with the next connection, for ever.
"""

from __future__ import annotations

import struct

from pika import spec
from pika.spec import BasicProperties

#: Behind one word of flags comes another.
_MORE = 1


class Properties(BasicProperties):  # type: ignore[misc]  # pika ships no types
    """Properties without their headers, where these cannot be read."""

    def decode(self, encoded: bytes, offset: int = 0) -> Properties:
        """Read all properties, or all but the headers."""
        try:
            super().decode(encoded, offset)
        except Exception:  # noqa: BLE001  pika raises many kinds, and one of Python's own for tables within tables
            self.headers = None
            super().decode(_without_headers(encoded, offset))
        return self


def install() -> None:
    """Have pika read properties by this class."""
    spec.props[BasicProperties.INDEX] = Properties


def text(value: str | bytes | None) -> str | None:
    """A short string as text no longer than it came; what is no UTF-8 has a question mark for each odd byte."""
    return value.decode("latin-1").encode("ascii", "replace").decode() if isinstance(value, bytes) else value


def _without_headers(encoded: bytes, start: int) -> bytes:
    """The properties with the table of headers cut out."""
    (flags,) = struct.unpack_from(">H", encoded, start)
    at, word = start + 2, flags
    while word & _MORE:
        (word,) = struct.unpack_from(">H", encoded, at)
        at += 2
    first = at
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            at += 1 + encoded[at]
    (length,) = struct.unpack_from(">I", encoded, at)
    kept = struct.pack(">H", flags & ~BasicProperties.FLAG_HEADERS) + encoded[start + 2 : first]
    return kept + encoded[first:at] + encoded[at + 4 + length :]
