"""What a worker passes on to its children."""

from typing import Any

import pytest
from pika.compat import long

from manyhands.deadletters import HISTORY_LIMIT
from manyhands.messages import PUBLISHED_AT
from manyhands.outcome import MESSAGE_LIMIT
from manyhands_worker.frames import kept


@pytest.mark.parametrize(
    "value", [1 << 53, -1, -(1 << 62), "x" * (MESSAGE_LIMIT + 1), 0.5, True, None, {}, b"x", ["x"]]
)
@pytest.mark.parametrize("key", ["mh-deliveries", PUBLISHED_AT, "traceparent"])
def test_headers_that_could_not_travel_on_are_left_out(key: str, value: Any) -> None:
    """A number that grows past what AMQP has, or a text that fills a frame, would never be confirmed."""
    assert kept({key: value, "other": 1}) == {}


def test_a_number_travels_on_as_a_plain_one() -> None:
    """In pika's own type for what a broker sends, a count is a count, and MessagePack has it."""
    found = kept({"mh-deliveries": long(7)})
    assert found == {"mh-deliveries": 7}
    assert type(found["mh-deliveries"]) is int


def test_a_long_history_is_cut() -> None:
    """The newest lines, each no longer than a message may be."""
    history = ["x" * 100_000] * 3 + [str(number) for number in range(HISTORY_LIMIT - 1)]
    found = kept({"mh-history": history})["mh-history"]
    assert found == ["x" * MESSAGE_LIMIT] + [str(number) for number in range(HISTORY_LIMIT - 1)]
