"""How many values a packed body has: counted without unpacking it, since a few bytes may stand for very many."""

from __future__ import annotations


def _widths() -> list[int]:
    """By the first byte of a value: its bytes in all; 0 where it says itself how long it is, or what it contains."""
    widths = [1] * 256  # small numbers, nil, booleans
    widths[0x80:0xA0] = [0] * 32  # small maps and arrays
    widths[0xA0:0xC0] = range(1, 33)  # short text
    widths[0xC4:0xCA] = [0] * 6  # bytes and extensions
    widths[0xCA:0xD4] = [5, 9, 2, 3, 5, 9, 2, 3, 5, 9]  # floats and integers
    widths[0xD4:0xD9] = [3, 4, 6, 10, 18]  # extensions of fixed length
    widths[0xD9:] = [0] * 7 + [1] * 32  # text, arrays, maps; small negative numbers
    return widths


_WIDTHS = _widths()
#: Bytes of the length of bytes, extensions and text, by the first byte, and bytes that follow beside those counted.
_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
#: Bytes of the length of arrays and maps, and values for each of what is counted.
_NESTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def at_most(packed: bytes, most: int) -> bool:
    """Whether a MessagePack body has at most so many values, each key and each element among them.

    Counts no further than that: about a tenth of a microsecond a value, whatever its length. One that is cut short is
    counted as far as it goes, with all that it announces.
    """
    at, left, found, end = 0, 1, 0, len(packed)
    while left and at < end:
        first = packed[at]
        width = _WIDTHS[first]
        left -= 1
        found += 1
        if width:
            at += width
            continue
        at += 1
        if first < 0xA0:
            more = first & 0x0F
            left += more if first >= 0x90 else 2 * more
        elif first in _NESTED:
            size, each = _NESTED[first]
            left += each * int.from_bytes(packed[at : at + size])
            at += size
        else:
            size, beside = _SIZED[first]
            at += size + beside + int.from_bytes(packed[at : at + size])
        if found + left > most:
            return False
    return found + left <= most
