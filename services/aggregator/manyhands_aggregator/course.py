"""How far the tasks of a suite have come through the plan: what was asked beyond the first stage, what was accepted.

The first stage is asked of every task of a suite, so nothing need be noted of it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

#: Stage, judge, slot: whose judgments.
Slot = tuple[int, str, int]


class Basis(NamedTuple):
    """What an answer rests on: the judgments of these ``slots``, in the order in which they counted.

    ``rights``, one each, is how probable it was then that each is right, 0..1: what was believed of its voter at that
    moment. None where no such thing is asked: where values are only compared, or all were gone over as a whole since.
    """

    slots: tuple[Slot, ...]
    rights: tuple[float, ...] | None = None


class Accepted(NamedTuple):
    """An answer that stands: no judgment that comes later changes it before the job is gone over as a whole.

    It rests on so many ``votes``, those that there were when ``stage`` ended with the task, and these on a ``basis``;
    what an earlier version accepted has none.
    """

    value: Any
    confidence: float
    votes: int
    stage: int
    basis: Basis | None = None


@dataclass(slots=True)
class Course:
    """What was ``asked`` of the tasks beyond the first stage, and what was ``accepted``; both by position.

    ``void`` has the positions of which an attempt of a slot gave no answer and that were asked for again, so that this
    is paid once however often the message comes; and those that were beyond somebody's share.
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
        accepted = sorted(self.accepted)
        # a basis stands behind the others, so that an earlier version can read them
        columns: list[Any] = [asked, {p: list(self.accepted[p][:4]) for p in accepted}]
        bases = pack_bases([self.accepted[p].basis for p in accepted])
        if self.void or bases is not None:
            columns.append([[*slot, attempt, sorted(p)] for (slot, attempt), p in sorted(self.void.items())])
        if bases is not None:
            columns.append(bases)
        packed: bytes = msgpack.packb(columns)
        return packed

    @classmethod
    def unpack(cls, packed: bytes | None) -> Course:
        """The inverse of :meth:`pack`."""
        if packed is None:
            return cls()
        asked, accepted, *more = msgpack.unpackb(packed, strict_map_key=False)
        bases = unpack_bases(more[1] if len(more) > 1 else None, len(accepted))
        return cls(
            {(stage, judge, slot): set(positions) for stage, judge, slot, positions in asked},
            {
                position: Accepted(value, confidence, votes, stage, basis)
                for (position, (value, confidence, votes, stage)), basis in zip(accepted.items(), bases, strict=True)
            },
            {((stage, judge, slot), attempt): set(p) for stage, judge, slot, attempt, p in (more[0] if more else ())},
        )


def pack_bases(bases: Sequence[Basis | None]) -> list[Any] | None:
    """Some bases as plain values: which slots go together, which of these each has, and what was believed of them.

    None where there is none of them; most tasks of a suite rest on the same slots.
    """
    together: dict[tuple[Slot, ...], int] = {}
    which = [None if basis is None else together.setdefault(basis.slots, len(together)) for basis in bases]
    if not together:
        return None
    rights = [None if basis is None or basis.rights is None else list(basis.rights) for basis in bases]
    same = which.count(which[0]) == len(which)
    return [
        [[list(slot) for slot in slots] for slots in together],
        which[0] if same else which,
        rights if any(one is not None for one in rights) else None,
    ]


def unpack_bases(packed: Sequence[Any] | None, count: int) -> list[Basis | None]:
    """The inverse of :func:`pack_bases`, for so many tasks."""
    if packed is None:
        return [None] * count
    together = [tuple((stage, judge, slot) for stage, judge, slot in slots) for slots in packed[0]]
    which = packed[1] if isinstance(packed[1], list) else [packed[1]] * count
    rights = packed[2] or [None] * count
    return [
        None if place is None else Basis(together[place], None if right is None else tuple(right))
        for place, right in zip(which, rights, strict=True)
    ]
