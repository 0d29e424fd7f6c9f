"""A suite as the aggregator keeps it: what was announced of it, what each slot has said, and its answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgpack

from manyhands.messages import Failure, Judgments
from manyhands_aggregator import merge, values
from manyhands_aggregator.budget import AS_PLANNED, Who
from manyhands_aggregator.cascade import Moves, Opinion, advance
from manyhands_aggregator.course import Accepted, Course, Slot, pack_bases, unpack_bases
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.voices import Voices, counted, voices

#: The code of a task whose judge gave values that are no answers until its attempts were used up.
INVALID = "invalid-answer"
#: The code of a task that somebody judged who had given the largest share of the job's judgments that one may give.
SHARE = "share"
#: Why judgments are set aside that nobody asked for, and those that are no whole message.
STRANGER, UNDECODABLE = "stranger", "undecodable"
#: What a task failed of that nobody had judged when the job's time was up.
OVERDUE = Failure(code="deadline", message="the job's deadline passed before it was judged")
#: The same of a job that was ended because its judges had cost more than its budget.
OVERSPENT = Failure(code="budget", message="the job's budget was spent before it was judged")
#: The same of a job that was cancelled.
CANCELLED = Failure(code="cancelled", message="the job was cancelled")


def unjudged(state: str, reason: str | None) -> Failure:
    """What a task has failed of that nobody had judged when its job ended in this ``state`` for this ``reason``."""
    if state == "cancelled":
        return CANCELLED
    return OVERSPENT if reason == OVERSPENT.code else OVERDUE


def pack_failures(failures: Mapping[int, Failure]) -> bytes | None:
    """Failures by position or index to bytes; None when there are none."""
    packed: bytes | None = (
        msgpack.packb({key: [f.code, f.message] for key, f in failures.items()}) if failures else None
    )
    return packed


def unpack_failures(packed: bytes | None) -> dict[int, Failure]:
    """The inverse of :func:`pack_failures`."""
    if packed is None:
        return {}
    return {key: Failure(code=c, message=m) for key, (c, m) in msgpack.unpackb(packed, strict_map_key=False).items()}


def pack_answers(decision: Decision) -> bytes:
    """A decision to bytes; columns that say the same throughout are kept as one value."""
    errors = pack_failures(decision.errors)
    columns = [decision.values, _folded(decision.confidences), _folded(decision.counts), errors]
    bases = None if decision.bases is None else pack_bases(decision.bases)
    if decision.stages is not None or bases is not None:
        columns.append(_folded(decision.stages or [0] * len(decision.values)))
    if bases is not None:
        columns.append(bases)
    packed: bytes = msgpack.packb(columns)
    return packed


def unpack_answers(packed: bytes) -> Decision:
    """A decision from bytes."""
    said, confidences, counts, errors, *more = msgpack.unpackb(packed)
    return Decision(
        said,
        _unfolded(confidences, len(said)),
        _unfolded(counts, len(said)),
        unpack_failures(errors),
        stages=_unfolded(more[0], len(said)) if more else None,
        bases=unpack_bases(more[1], len(said)) if len(more) > 1 else None,
    )


def _unfolded(column: Any, count: int) -> list[Any]:
    return column if isinstance(column, list) else [column] * count


def _folded(column: Sequence[Any]) -> Any:
    return column[0] if column.count(column[0]) == len(column) else column


class Stranger(ValueError):
    """Judgments that nobody asked for."""


class Taken(NamedTuple):
    """What became of one message: the part that is new (None: a repeat), and what was no answer, by position, with
    the ``code`` of why.

    ``again`` holds the positions that are to be judged once more; the others among ``wrong`` are out of attempts.
    ``strange`` says why the message names positions that it was not asked for; then no value of it is taken. ``void``
    is the part that is to be judged once more and was not known to be: for nothing, and it is to be paid twice.
    ``short``: there was not the money to ask again for all of it. ``noted``: the suite's course has changed.
    """

    new: Judgments | None
    wrong: Mapping[int, str]
    again: Sequence[int]
    strange: str = ""
    void: Judgments | None = None
    short: bool = False
    noted: bool = False
    code: str = INVALID


class Counts(NamedTuple):
    """What a suite adds to its job: answers, failures, tasks of known truth, and how many of these are right."""

    answered: int = 0
    failed: int = 0
    gold: int = 0
    gold_right: int = 0


@dataclass(slots=True)
class SuiteState:
    """A suite in hand: its row, and what each slot has said so far.

    ``sent`` counts the tasks that were not ``refused`` (by position); ``truths`` are packed; ``counts`` are what its
    job's counters hold of it, None until it is settled. ``course`` is how far its tasks are, in a plan that cascades.
    """

    suite: int
    first: int
    count: int
    sent: int
    truths: bytes | None = None
    refused: Mapping[int, Failure] = field(default_factory=dict)
    counts: Counts | None = None
    said: dict[Slot, list[Judgments]] = field(default_factory=dict)
    course: Course = field(default_factory=Course)

    @property
    def settled(self) -> bool:
        """Whether it has answers."""
        return self.counts is not None

    def take(
        self,
        plan: Plan,
        message: Judgments,
        spoiled: str = "",
        purse: int | None = None,
        *,
        dearer: Mapping[Who, int] = AS_PLANNED,
        room: int | None = None,
    ) -> Taken:
        """Take in a message. What it says first stays; a value beats an error; the rest is a repeat.

        Of a message that is ``spoiled``, which says why, or names positions of others, nothing is an answer. ``purse``
        is what may be spent for asking again, in millionths, of judges that are ``dearer`` than the plan says at that;
        None is without limit. ``room`` is how many more judgments its worker may give, None as many as there are:
        those beyond it are no answers either, nobody is paid for them, and so others can be asked at no new cost.

        Raises:
            Stranger: the plan has no such slot, or the suite none of the positions.
        """
        slot = (message.stage, message.judge, message.slot)
        asked = None if slot in plan.known else self.course.asked.get(slot)
        if asked is None and slot not in plan.known:
            raise Stranger(f"nobody asked the judge {message.judge} with slot {message.slot} in stage {message.stage}")
        own, strange = self._own(message.positions, asked)
        if not own:
            raise Stranger(strange)
        bad = spoiled or strange
        checked, wrong = _spoiled(message, own, bad) if bad else _checked(plan, message)
        earlier = self.said.setdefault(slot, [])
        known = self.course.void.get((slot, message.attempt), set())
        beyond: dict[int, str] = {}
        if room is not None:
            checked, beyond = _beyond(checked, earlier, room, known)
            wrong = {**wrong, **beyond}
        if late := beyond.keys() - known:  # it stays so, however much room there is when it comes again
            known = self.course.void[slot, message.attempt] = known | late
        new = merge.news(checked, earlier)
        if new is None:
            return Taken(None, {}, (), strange, noted=bool(late))
        if wrong and new is not checked:
            wrong = {p: why for p, why in wrong.items() if p in new.errors}
        code = SHARE if wrong and beyond.keys() >= wrong.keys() else INVALID
        if not wrong or message.attempt >= plan.spec.max_attempts:
            earlier.append(new)
            return Taken(new, wrong, (), strange, noted=bool(late), code=code)
        fresh = [p for p in wrong if p not in known]
        price = plan.steps[message.stage].prices[message.judge]
        price = dearer.get((message.stage, message.judge), price)
        most = len(fresh) if purse is None or not price else min(len(fresh), max(purse, 0) // price)
        paid = set(fresh[:most])
        void = merge.select(new, [i for i, p in enumerate(new.positions) if p in paid]) if paid else None
        if paid:
            known = self.course.void[slot, message.attempt] = known | paid
        again = [p for p in wrong if p in known]
        kept = [i for i, p in enumerate(new.positions) if p not in wrong or p not in known]
        kept_part = (new if len(kept) == len(new.positions) else merge.select(new, kept)) if kept else None
        if kept_part is not None:
            earlier.append(kept_part)
        return Taken(kept_part, wrong, again, strange, void, most < len(fresh), bool(late or paid), code)

    def _own(self, positions: Sequence[int], asked: Set[int] | None) -> tuple[Sequence[int], str]:
        """Those of the positions that judges were sent, or a slot was ``asked``, and what is wrong with the others."""
        end = self.first + self.count
        if asked is not None:
            own = [p for p in positions if p in asked]
            return own, "" if len(own) == len(positions) else "it judges positions that it was not asked for"
        if min(positions) < self.first or max(positions) >= end:
            strange = f"suite {self.suite} has positions {self.first} to {end - 1}"
        elif self.refused and not self.refused.keys().isdisjoint(positions):
            strange = "it judges positions that were never sent out"
        else:
            return positions, ""
        return [p for p in positions if self.first <= p < end and p not in self.refused], strange

    def decide(self, plan: Plan, *, otherwise: Failure | None = None) -> Decision | None:
        """The answers, once every slot has spoken of every open position; None before.

        With ``otherwise`` it is decided at once, on what there is; tasks that nobody judged fail of that.
        """
        columns = plan.columns(self.said, self.first, self.count)
        if otherwise is None and any(c.covered < self.sent for c in columns):
            return None
        decision = plan.decide(columns, otherwise)
        for position, failure in self.refused.items():
            decision.errors[position - self.first] = failure
        return decision

    def proceed(
        self,
        plan: Plan,
        opinion: Opinion,
        purse: int | None,
        otherwise: Failure | None = None,
        out: Set[str] = frozenset(),
        dearer: Mapping[Who, int] = AS_PLANNED,
    ) -> tuple[Moves, Decision | None]:
        """Take each task as far through the plan as it goes; the answers, once there is nothing more to be asked.

        What was accepted before stands; see :func:`manyhands_aggregator.cascade.advance`.
        """
        said = voices(self.said)
        positions = [p for p in range(self.first, self.first + self.count) if p not in self.refused]
        moves = advance(plan, self.course, positions, said, opinion, purse, otherwise, out, dearer)
        return moves, None if moves.open else self._decision(plan, moves, said)

    def _decision(self, plan: Plan, moves: Moves, said: Voices) -> Decision:
        run = range(self.first, self.first + self.count)
        accepted = self.course.accepted
        there = [accepted.get(position) for position in run]
        failures = {**moves.failed, **self.refused}
        decision = Decision(
            [None if one is None else one.value for one in there],
            [None if one is None else one.confidence for one in there],
            [0 if one is None else one.votes for one in there],
            {position - self.first: failures[position] for position in run if position not in accepted},
            ties=moves.ties,
            stages=[None if one is None else one.stage for one in there] if len(plan.steps) > 1 else None,
            bases=[None if one is None else one.basis for one in there],
        )
        for position, one in accepted.items():
            votes, _ = counted(said.get(position, {}).values())
            if len(votes) > 1:
                decision.agreements.append(sum(vote.value == one.value for vote in votes) / len(votes))
        return decision

    def take_back(self, gone: Set[str]) -> bool:
        """Accept no more what rests on a judgment of these workers; whether anything did. Not once it is settled."""
        if self.settled:
            return False
        resting = [
            position
            for position, of in voices(self.said, set(self.course.accepted)).items()
            if any(voice.voter in gone and voice.value == self.course.accepted[position].value for voice in of.values())
        ]
        for position in resting:
            del self.course.accepted[position]
        return bool(resting)

    def stand_by(self, decision: Decision) -> None:
        """Take its answers, which stand in the store, for accepted."""
        stages, bases = decision.stages or [0] * self.count, decision.bases or [None] * self.count
        for index, value in enumerate(decision.values):
            confidence, stage = decision.confidences[index], stages[index]
            if index not in decision.errors and confidence is not None:
                self.course.accepted[self.first + index] = Accepted(
                    value, confidence, decision.counts[index], stage or 0, bases[index]
                )

    def count_up(self, plan: Plan, decision: Decision) -> Counts:
        """What the job's counters are to hold of the suite."""
        truths = None if self.truths is None else msgpack.unpackb(self.truths, strict_map_key=False)
        failed = len(decision.errors)
        return Counts(self.count - failed, failed, *plan.gold(truths, decision))


def _beyond(
    message: Judgments, earlier: Sequence[Judgments], room: int, known: Set[int]
) -> tuple[Judgments, dict[int, str]]:
    """The message with an error at each new judgment for which there is no ``room``, and those, by position.

    What of this attempt was ``known`` to be for nothing stays so: it was asked of somebody else.
    """
    there = {p for one in earlier for p in one.positions if p not in one.errors}
    new = [p for p in message.positions if p not in message.errors and p not in there]
    able = [p for p in new if p not in known][: max(0, room)]
    why = f"{message.worker} has given the largest share of the job's judgments that one person may give"
    beyond = {p: why for p in new if p not in able}
    if not beyond:
        return message, beyond
    values = [None if p in beyond else value for p, value in zip(message.positions, message.values, strict=True)]
    errors = {**message.errors, **{p: Failure(code=SHARE, message=why) for p in beyond}}
    costs = message.costs and [
        None if p in beyond else c for p, c in zip(message.positions, message.costs, strict=True)
    ]
    return replace(message, values=values, errors=errors, costs=costs), beyond


def _spoiled(message: Judgments, own: Sequence[int], why: str) -> tuple[Judgments, dict[int, str]]:
    """The message with an error at each of the suite's ``own`` positions, and what is no answer: all of it."""
    errors = dict.fromkeys(own, Failure(code=INVALID, message=why))
    spoiled = replace(message, positions=own, values=[None] * len(own), confidences=None, costs=None, errors=errors)
    return spoiled, dict.fromkeys(own, why)


def _checked(plan: Plan, message: Judgments) -> tuple[Judgments, dict[int, str]]:
    """The message with its values in normal form, and what is no answer, by position; these are errors in it."""
    normal, wrong = values.check_column(plan.spec.answer, plan.check, message.values)
    if normal is message.values:
        return message, {}
    by_position = {message.positions[i]: said for i, said in wrong.items()}
    for position in message.errors:  # what failed has no value to be checked
        by_position.pop(position, None)
    errors = {**message.errors, **{p: Failure(code=INVALID, message=said) for p, said in by_position.items()}}
    return replace(message, values=normal, errors=errors), by_position
