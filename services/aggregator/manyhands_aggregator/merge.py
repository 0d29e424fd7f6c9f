"""What one judge's slot has said of a suite, from however many messages, repeated or out of order; pure.

Two rules make any order lead to the same result: a position that has a value keeps it, and a value beats an error.
(A slot that contradicts itself, as when a judge that guesses is asked twice, is held to what it said first.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from manyhands.messages import Failure, Judgments


class _Nothing:
    """Stands where there is no value; None may be a value of type json."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


@dataclass(slots=True)
class Column:
    """The judgments of one slot over a suite of n tasks.

    ``values`` has n entries, NOTHING where there is none; ``confidences`` n entries or None when none was stated;
    ``errors`` maps an index 0..n-1 to why it has no value. ``covered`` counts entries that have a value or an error.
    """

    values: Sequence[Any]
    confidences: Sequence[float | None] | None
    errors: Mapping[int, Failure]
    covered: int


def news(message: Judgments, said: Iterable[Judgments]) -> Judgments | None:
    """The part of ``message`` that is new beside what the same slot has ``said`` before, or None for a repeat."""
    valued: set[int] = set()
    failed: set[int] = set()
    for earlier in said:
        valued.update(p for p in earlier.positions if p not in earlier.errors)
        failed.update(earlier.errors)
    if not valued and not failed:
        return message
    keep = [
        index
        for index, position in enumerate(message.positions)
        if position not in valued and not (position in failed and position in message.errors)
    ]
    if len(keep) == len(message.positions):
        return message
    return select(message, keep) if keep else None


def select(message: Judgments, indexes: Sequence[int]) -> Judgments:
    """The message with only the tasks at these indexes."""
    positions = [message.positions[i] for i in indexes]
    kept = set(positions)
    confidences, costs = message.confidences, message.costs
    return replace(
        message,
        positions=positions,
        values=[message.values[i] for i in indexes],
        confidences=None if confidences is None else [confidences[i] for i in indexes],
        costs=None if costs is None else [costs[i] for i in indexes],
        errors={p: f for p, f in message.errors.items() if p in kept},
    )


def column(said: Sequence[Judgments], first: int, count: int) -> Column:
    """All that one slot said of the suite of positions ``first`` .. ``first + count - 1``."""
    if len(said) == 1 and not said[0].errors and list(said[0].positions) == list(range(first, first + count)):
        return Column(said[0].values, said[0].confidences, {}, count)  # the common case: one message, whole, in order
    values: list[Any] = [NOTHING] * count
    confidences: list[float | None] = [None] * count
    errors: dict[int, Failure] = {}
    stated = False
    for message in said:
        for index, position in enumerate(message.positions):
            at = position - first
            if position in message.errors:
                if values[at] is NOTHING:
                    errors[at] = message.errors[position]
            elif values[at] is NOTHING:
                values[at] = message.values[index]
                errors.pop(at, None)
                if message.confidences is not None:
                    confidences[at] = message.confidences[index]
                    stated = True
    covered = sum(1 for at in range(count) if values[at] is not NOTHING or at in errors)
    return Column(values, confidences if stated else None, errors, covered)
