"""How far the tasks of a suite have come through the plan: what was asked beyond the first stage, what was accepted.

The first stage is asked of every task of a suite, so nothing need be noted of it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

#: Stage, judge, slot: whose judgments.
Slot = tuple[int, str, int]


class Accepted(NamedTuple):
    """An answer that stands: no judgment that comes later changes it before the job is gone over as a whole.

    It rests on so many ``votes``, those that there were when ``stage`` ended with the task.
    """

    value: Any
    confidence: float
    votes: int
    stage: int


@dataclass(slots=True)
class Course:
    """What was ``asked`` of the tasks beyond the first stage, and what was ``accepted``; both by position.

    ``void`` has the positions of which an attempt of a slot gave no answer and that were asked for again, so that this
    is paid once however often the message comes.
    """

    asked: dict[Slot, set[int]] = field(default_factory=dict)
    accepted: dict[int, Accepted] = field(default_factory=dict)
    void: dict[tuple[Slot, int], set[int]] = field(default_factory=dict)

    def ask(self, slot: Slot, positions: Iterable[int]) -> None:
        """Note that these were asked of a slot."""
        self.asked.setdefault(slot, set()).update(positions)

    def slots(self) -> Mapping[int, list[Slot]]:
        """The slots that each position was asked of, in their order."""
        found: dict[int, list[Slot]] = {}
        for slot in sorted(self.asked):
            for position in self.asked[slot]:
                found.setdefault(position, []).append(slot)
        return found

    def pack(self) -> bytes | None:
        """As bytes; None where there is nothing to note."""
        if not self.asked and not self.accepted and not self.void:
            return None
        asked = [[*slot, sorted(positions)] for slot, positions in sorted(self.asked.items())]
        columns: list[Any] = [asked, {p: list(self.accepted[p]) for p in sorted(self.accepted)}]
        if self.void:
            columns.append([[*slot, attempt, sorted(p)] for (slot, attempt), p in sorted(self.void.items())])
        packed: bytes = msgpack.packb(columns)
        return packed

    @classmethod
    def unpack(cls, packed: bytes | None) -> Course:
        """The inverse of :meth:`pack`."""
        if packed is None:
            return cls()
        asked, accepted, *more = msgpack.unpackb(packed, strict_map_key=False)
        return cls(
            {(stage, judge, slot): set(positions) for stage, judge, slot, positions in asked},
            {position: Accepted(*said) for position, said in accepted.items()},
            {((stage, judge, slot), attempt): set(p) for stage, judge, slot, attempt, p in (more[0] if more else ())},
        )
