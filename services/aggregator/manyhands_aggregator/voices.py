"""What was said of the tasks of a suite, task by task: who said what in which slot. Pure.

A voter counts once a task. All slots of a machine judge are one voter; of people each is one, so that a second judgment
of the same person, in another slot, is no vote and leaves its slot to be asked of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from manyhands.messages import Failure, Judgments
from manyhands.spec import PEOPLE
from manyhands_aggregator.course import Slot


class Voice(NamedTuple):
    """What a slot says of one task: a value of a ``voter`` with its own confidence if it has one, or a failure."""

    slot: Slot
    voter: str
    value: Any = None
    confidence: float | None = None
    failure: Failure | None = None


#: What each slot said of each position.
Voices = Mapping[int, Mapping[Slot, Voice]]


def voices(said: Mapping[Slot, Sequence[Judgments]], wanted: set[int] | None = None) -> Voices:
    """What was said of the ``wanted`` positions, or of all; the first value stays, and a value beats an error."""
    found: dict[int, dict[Slot, Voice]] = {}
    for slot, messages in said.items():
        for message in messages:
            voter = f"{PEOPLE}/{message.worker}" if slot[1] == PEOPLE else slot[1]
            stated = message.confidences
            for index, position in enumerate(message.positions):
                if wanted is not None and position not in wanted:
                    continue
                of = found.setdefault(position, {})
                before = of.get(slot)
                if position in message.errors:
                    if before is None:
                        of[slot] = Voice(slot, voter, failure=message.errors[position])
                elif before is None or before.failure is not None:
                    of[slot] = Voice(slot, voter, message.values[index], None if stated is None else stated[index])
    return found


def counted(said: Iterable[Voice], out: Set[str] = frozenset()) -> tuple[list[Voice], list[Voice]]:
    """Of what slots said, in their order, the values that count; and those that do not.

    These are a person's second, and all of voters who are ``out``.
    """
    votes: list[Voice] = []
    repeats: list[Voice] = []
    people: set[str] = set()
    for voice in said:
        if voice.failure is not None:
            continue
        if voice.voter in out:
            repeats.append(voice)
            continue
        if voice.slot[1] == PEOPLE:
            if voice.voter in people:
                repeats.append(voice)
                continue
            people.add(voice.voter)
        votes.append(voice)
    return votes, repeats
