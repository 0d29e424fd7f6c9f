"""A suite on its way through the plan: which answers are accepted, and what is asked next. Pure.

A task is looked at when all that was asked of it has been said, a value or a failure. Its answer is accepted by the
rule of its stage; or one more judgment is asked for in the same stage, as long as the rule allows it; or the next stage
is asked; or, at the end of the plan or of the budget, it is answered with what there is. So it depends on what was
said, in the order of the plan, and not on the order in which it came.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from manyhands.messages import Failure
from manyhands.spec import PEOPLE, Accept
from manyhands_aggregator.budget import AS_PLANNED, Who
from manyhands_aggregator.course import Accepted, Basis, Course, Slot
from manyhands_aggregator.decide import NO_JUDGMENT
from manyhands_aggregator.plan import Plan, Step
from manyhands_aggregator.voices import Voice, Voices, counted

#: Why a task is asked of others: its stage was not content with the answer, or wants one more judgment.
UNSURE, MORE = "unsure", "more"


class Opinion(Protocol):
    """What is thought of the votes of the task at a position, of which there is at least one."""

    def answer(self, votes: Sequence[Voice], position: int) -> tuple[object, float, bool]:
        """The likeliest answer, its probability, and whether another was as likely."""

    def rights(self, votes: Sequence[Voice], position: int) -> tuple[float, ...] | None:
        """How probable it is that each is right, 0..1, as far as the answer rests on such a thing."""

    def accepts(self, accept: Accept, votes: Sequence[Voice], position: int) -> bool:
        """Whether that is enough for a rule of the job file."""

    def gain(self, votes: Sequence[Voice], position: int) -> float:
        """How much one more judgment is expected to change, to compare tasks with."""


@dataclass(slots=True)
class Moves:
    """What is next for the tasks of a suite.

    ``asked``: by slot and reason, the positions that it is to be asked of from now on; ``spent`` what that costs, in
    millionths. ``failed``: the tasks that are at the end of the plan without any value. ``open`` counts those of which
    something is still to be said. ``short``: the budget did not allow what the plan would have asked.
    """

    asked: dict[tuple[Slot, str], list[int]] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    spent: int = 0
    open: int = 0
    ties: int = 0
    short: bool = False


def advance(
    plan: Plan,
    course: Course,
    positions: Iterable[int],
    said: Voices,
    opinion: Opinion,
    purse: int | None,
    otherwise: Failure | None = None,
    out: Set[str] = frozenset(),
    dearer: Mapping[Who, int] = AS_PLANNED,
) -> Moves:
    """Take each of the tasks at these positions as far as it goes, and note in the course what is asked and accepted.

    ``purse`` is what may still be spent, in millionths; None is without limit; judges that are ``dearer`` than the plan
    says are weighed against it at that. With ``otherwise`` nothing more is
    asked: the tasks are answered with what there is, and fail of that where there is nothing. Where the purse is too
    small for all, it goes to the tasks that one more judgment changes most for its price. What workers say who are
    ``out`` does not count, and they are not asked: others are, in their place. Nor is it waited for in the first stage,
    where others are asked as well: they may not have been asked at all. For the same reason one of them is enough where
    all of the first stage are out. Only where there is nothing else and nobody to be asked it is better than no answer.
    """
    first = {slot for slot in plan.slots if slot[1] not in out}
    moves = Moves()
    wishes: list[_Wish] = []
    beyond = course.slots()
    for position in positions:
        if position in course.accepted:
            continue
        of = said.get(position, {})
        there = [slot for slot in plan.slots if slot in first or slot in of] or plan.slots
        asked = [*there, *beyond.get(position, ())]
        if otherwise is None and any(slot not in of for slot in asked):
            moves.open += 1
            continue
        step = plan.steps[max(stage for stage, _, _ in asked)]
        votes, in_vain = counted(heard := _in_order(plan, of), out)
        content = votes and step.accept is not None and opinion.accepts(step.accept, votes, position)
        task = _Task(position, step, heard, votes or counted(in_vain)[0])  # they too count once
        slots, reason = ((), "") if otherwise is not None or content else _next(plan, step, asked, in_vain, out)
        if slots:
            prices = [plan.steps[stage].prices[judge] for stage, judge, _ in slots]
            most = sum(dearer.get(slot[:2], price) for slot, price in zip(slots, prices, strict=True))
            wishes.append(_Wish(task, slots, reason, sum(prices), most))
        else:
            _close(task, course, opinion, otherwise, moves)
    if purse is not None and sum(wish.most for wish in wishes) > purse:
        # the next judgment goes where it changes most for its price
        wishes.sort(key=lambda wish: -wish.worth(opinion))
    for task, slots, reason, price, most in wishes:
        if purse is not None and most and most > purse:  # what is free is asked, whatever is left
            moves.short = True
            _close(task, course, opinion, otherwise, moves)
            continue
        purse = None if purse is None else purse - most
        moves.spent += price
        moves.open += 1
        for slot in slots:
            course.ask(slot, [task.position])
            bisect.insort(moves.asked.setdefault((slot, reason), []), task.position)
    return moves


class _Task(NamedTuple):
    """A task that was looked at: what was said of it, and which of that counts."""

    position: int
    step: Step
    heard: Sequence[Voice]
    votes: Sequence[Voice]


class _Wish(NamedTuple):
    """What a task would be asked next, its price in millionths, and at the ``most`` that it is reckoned with."""

    task: _Task
    slots: Sequence[Slot]
    reason: str
    price: int
    most: int

    def worth(self, opinion: Opinion) -> float:
        if not self.task.votes or not self.most:
            return math.inf
        return opinion.gain(self.task.votes, self.task.position) / self.most


def _close(task: _Task, course: Course, opinion: Opinion, otherwise: Failure | None, moves: Moves) -> None:
    if task.votes:
        value, confidence, tied = opinion.answer(task.votes, task.position)
        moves.ties += tied
        basis = Basis(tuple(voice.slot for voice in task.votes), opinion.rights(task.votes, task.position))
        course.accepted[task.position] = Accepted(value, confidence, len(task.votes), task.step.number, basis)
    else:
        said_first = next((voice.failure for voice in task.heard if voice.failure is not None), None)
        moves.failed[task.position] = said_first or otherwise or NO_JUDGMENT


def _in_order(plan: Plan, of: Mapping[Slot, Voice]) -> list[Voice]:
    """What slots said, in the order of the plan."""

    def place(voice: Voice) -> tuple[int, int, int]:
        stage, judge, slot = voice.slot
        return stage, plan.steps[stage].order[judge], slot

    return sorted(of.values(), key=place)


def _next(
    plan: Plan, step: Step, asked: Sequence[Slot], useless: Sequence[Voice], out: Set[str]
) -> tuple[Sequence[Slot], str]:
    """Who is asked next, of a task that its stage is not content with: one more, the next stage, or nobody.

    What does not count is no judgment that the stage has bought; but should nobody else come, that has an end.
    """
    here = [slot for slot in asked if slot[0] == step.number]
    in_vain = sum(voice.slot[0] == step.number for voice in useless)
    counts = {judge: sum(slot[1] == judge for slot in here) for judge in step.order if judge not in out}
    most = step.most
    if step.accept is None or step.accept.at_most is None:  # what a model that is out does not say, no other says twice
        most -= sum(slot[1] in out for slot in step.slots)
    if counts and len(here) - in_vain < most and len(here) < 2 * most:
        # people first: another of them is another opinion, where a model says what it said before
        judge = PEOPLE if PEOPLE in counts else min(counts, key=lambda name: (counts[name], step.order[name]))
        return [(step.number, judge, counts[judge])], MORE
    for later in plan.steps[step.number + 1 :]:
        if slots := [slot for slot in later.slots if slot[1] not in out]:
            return slots, UNSURE
    return [], UNSURE


def outstanding(course: Course, said: Voices) -> dict[Slot, list[int]]:
    """What was asked beyond the first stage and nothing has been said of yet."""
    left = {
        slot: sorted(p for p in positions if p not in course.accepted and slot not in said.get(p, {}))
        for slot, positions in sorted(course.asked.items())
    }
    return {slot: positions for slot, positions in left.items() if positions}
