"""What stands in a message's headers, read with care: anybody may have written it. Pure."""

from __future__ import annotations

#: Whole numbers are below this: every language has them exactly, and AMQP has them even after counting on.
NUMBERS = 1 << 53


def number(value: object) -> int | None:
    """A whole number from 0, as a plain ``int``; None where it is none.

    pika has a type of its own for integers of 64 bits, which is what brokers send.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < NUMBERS:
        return None
    return int(value)
