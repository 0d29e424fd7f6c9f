"""A suite as the aggregator keeps it: what was announced of it, what each slot has said, and its answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from manyhands.messages import Failure, Judgments
from manyhands_aggregator import merge, values
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan, Slot

#: The code of a task whose judge gave values that are no answers until its attempts were used up.
INVALID = "invalid-answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the producer said of a suite besides its positions.

    ``ids`` are the items' own (None: the position is the id), ``truths`` the known truths (None where unknown),
    ``refused`` the positions that failed before any judge saw them.
    """

    ids: Sequence[str | None] | None = None
    truths: Sequence[Any] | None = None
    refused: Mapping[int, Failure] = field(default_factory=dict)

    def pack(self) -> bytes | None:
        """To bytes; None when there is nothing to say."""
        if self.ids is None and self.truths is None and not self.refused:
            return None
        refused = {p: [f.code, f.message] for p, f in self.refused.items()}
        packed: bytes = msgpack.packb([self.ids, self.truths, refused])
        return packed

    @classmethod
    def unpack(cls, packed: bytes | None) -> About:
        """From bytes."""
        if packed is None:
            return cls()
        ids, truths, refused = msgpack.unpackb(packed, strict_map_key=False)
        return cls(ids=ids, truths=truths, refused={p: Failure(code=c, message=m) for p, (c, m) in refused.items()})


def pack_answers(decision: Decision) -> bytes:
    """A decision to bytes; columns that say the same throughout are kept as one value."""
    errors = {index: [f.code, f.message] for index, f in decision.errors.items()}
    packed: bytes = msgpack.packb(
        [decision.values, _folded(decision.confidences), _folded(decision.counts), errors, decision.ties]
    )
    return packed


def unpack_answers(packed: bytes) -> Decision:
    """A decision from bytes."""
    said, confidences, counts, errors, ties = msgpack.unpackb(packed, strict_map_key=False)
    return Decision(
        said,
        confidences if isinstance(confidences, list) else [confidences] * len(said),
        counts if isinstance(counts, list) else [counts] * len(said),
        {index: Failure(code=c, message=m) for index, (c, m) in errors.items()},
        ties,
    )


def _folded(column: Sequence[Any]) -> Any:
    return column[0] if len(set(column)) == 1 else column


class Stranger(ValueError):
    """Judgments that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one message: the part that is new (None: a repeat), and what was no answer, by position.

    ``again`` holds the positions that are to be judged once more; the others among ``wrong`` are out of attempts.
    """

    new: Judgments | None
    wrong: Mapping[int, str]
    again: Sequence[int]


@dataclass(slots=True)
class SuiteState:
    """A suite in hand: its row, and what each slot has said so far."""

    suite: int
    first: int
    count: int
    about: About
    settled: bool
    said: dict[Slot, list[Judgments]] = field(default_factory=dict)

    def take(self, plan: Plan, message: Judgments) -> Taken:
        """Take in a message. What it says first stays; a value beats an error; the rest is a repeat.

        Raises:
            Stranger: the plan has no such slot, or the suite no such open position.
        """
        slot = (message.stage, message.judge, message.slot)
        if slot not in plan.slots:
            raise Stranger(f"the plan has no judge {message.judge} with slot {message.slot} in stage {message.stage}")
        if min(message.positions) < self.first or max(message.positions) >= self.first + self.count:
            raise Stranger(f"suite {self.suite} has positions {self.first} to {self.first + self.count - 1}")
        if self.about.refused and not self.about.refused.keys().isdisjoint(message.positions):
            raise Stranger("it judges positions that were never sent out")
        earlier = self.said.setdefault(slot, [])
        new = merge.news(message, earlier)
        if new is None:
            return Taken(None, {}, ())
        new, wrong = _checked(plan, new)
        exhausted = message.attempt >= plan.spec.max_attempts
        again = () if exhausted else list(wrong)
        if again:
            kept = [i for i, p in enumerate(new.positions) if p not in wrong]
            if not kept:
                return Taken(None, wrong, again)
            new = merge.select(new, kept)
        earlier.append(new)
        return Taken(new, wrong, again)

    def decide(self, plan: Plan, *, otherwise: Failure | None = None) -> Decision | None:
        """The answers, once every slot has spoken of every open position; None before.

        With ``otherwise`` it is decided at once, on what there is; tasks that nobody judged fail of that.
        """
        columns = plan.columns(self.said, self.first, self.count)
        open_tasks = self.count - len(self.about.refused)
        if otherwise is None and any(c.covered < open_tasks for c in columns):
            return None
        decision = plan.decide(columns)
        if not decision.errors:
            return decision
        said = {index for c in columns for index in c.errors}
        errors = {i: f if i in said or otherwise is None else otherwise for i, f in decision.errors.items()}
        errors |= {position - self.first: failure for position, failure in self.about.refused.items()}
        return Decision(decision.values, decision.confidences, decision.counts, errors, decision.ties)


def _checked(plan: Plan, message: Judgments) -> tuple[Judgments, dict[int, str]]:
    """The message with its values in normal form, and what is no answer, by position; these are errors in it."""
    normal, wrong = values.check_column(plan.spec.answer, plan.check, message.values)
    wrong = {i: said for i, said in wrong.items() if message.positions[i] not in message.errors}
    if normal is message.values:
        return message, {}
    by_position = {message.positions[i]: said for i, said in wrong.items()}
    errors = {**message.errors, **{p: Failure(code=INVALID, message=said) for p, said in by_position.items()}}
    return replace(message, values=normal, errors=errors), by_position
