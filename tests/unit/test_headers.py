"""Numbers in headers: whatever a sender puts there, they are whole, from 0, and small enough to count on."""

from __future__ import annotations

from typing import Any

import pytest
from pika.compat import long

from manyhands.headers import number


@pytest.mark.parametrize("value", [0, 7, (1 << 53) - 1])
@pytest.mark.parametrize("kind", [int, long], ids=["plain", "pika's own"])
def test_a_number(kind: type[int], value: int) -> None:
    """In either type it comes as a plain int: pika's own reads "7L" where it is shown."""
    found = number(kind(value))
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize("value", [-1, long(-1), 1 << 53, long(1 << 53), True, False, 7.0, "7", b"7", None, [7], {}])
def test_no_number(value: Any) -> None:
    """It is left out, and not taken for another."""
    assert number(value) is None
