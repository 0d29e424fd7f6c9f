"""What the aggregator knows of a job from its job file: who is expected to judge, what is an answer, how to decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from manyhands.messages import Failure, Judgments
from manyhands.spec import INFERENCE, PEOPLE, Accept, JobSpec, Method, Stage
from manyhands_aggregator import values
from manyhands_aggregator.budget import Traffic
from manyhands_aggregator.course import Slot
from manyhands_aggregator.decide import Decision, Rule, decide, rule
from manyhands_aggregator.incentives import Rules
from manyhands_aggregator.merge import Column, column

#: Money is counted in whole millionths, so that a sum is the same in whatever order it is made.
MILLION = 1_000_000

#: Money that no judgment costs; a worker may say anything, and the sums must stay within 64 bits.
MOST_COST = 1e6


def millionths(money: float | Decimal) -> int:
    """An amount in millionths."""
    return round(money * MILLION)


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the plan, made ready: whom it asks at once, when it accepts, and how many judgments it may buy.

    ``order`` has the place of each judge in the stage, ``prices`` what one judgment costs in millionths.
    """

    number: int
    slots: Sequence[Slot]
    accept: Accept | None
    most: int
    order: Mapping[str, int]
    prices: Mapping[str, int]

    @classmethod
    def of(cls, number: int, stage: Stage, reward: int = 0) -> Step:
        """A stage of a job file; ``reward`` is the most that a judgment by a person may come to."""
        slots = [(number, judge.judge, slot) for judge in stage.judges for slot in range(judge.judgments)]
        most = stage.accept.at_most if stage.accept is not None and stage.accept.at_most is not None else len(slots)
        order = {judge.judge: place for place, judge in enumerate(stage.judges)}
        prices = {j.judge: millionths(j.price) + (reward if j.judge == PEOPLE else 0) for j in stage.judges}
        return cls(number, slots, stage.accept, most, order, prices)

    @property
    def price(self) -> int:
        """What it costs to ask a task of it at all, in millionths."""
        return sum(self.prices[judge] for _, judge, _ in self.slots)


@dataclass(frozen=True, slots=True)
class Plan:
    """A job file, made ready for the hot path.

    ``slots`` are those of the first stage, in the order of the plan as are their ``weights``; ``rule`` makes an answer
    of a task's votes. ``budget`` is in millionths, None where there is none. ``herald`` is the slot of the first stage
    that comes first, a machine's if there is one: that it speaks once more may tell that a suite was published again.
    """

    spec: JobSpec
    steps: Sequence[Step]
    slots: Sequence[Slot]
    known: Set[Slot]
    weights: Sequence[float]
    check: values.Check
    rule: Rule
    budget: int | None
    herald: Slot

    @classmethod
    def of(cls, spec: JobSpec) -> Plan:
        """The plan of a job file."""
        reward = 0 if spec.rewards is None else Rules.of(spec.rewards).most
        steps = [Step.of(number, stage, reward) for number, stage in enumerate(spec.stages)]
        slots = steps[0].slots
        herald = min(slots, key=lambda slot: slot[1] == PEOPLE)
        weights = [judge.weight for judge in spec.stages[0].judges for _ in range(judge.judgments)]
        meanwhile: Method = "median" if spec.answer.type == "number" else "majority"
        by = rule(meanwhile if spec.decide_by in INFERENCE else spec.decide_by, spec.answer)
        caps = [spec.budget, None if spec.rewards is None else spec.rewards.per_job]
        budget = min((millionths(cap) for cap in caps if cap is not None), default=None)
        return cls(spec, steps, slots, frozenset(slots), weights, values.check(spec.answer), by, budget, herald)

    @property
    def counts_traffic(self) -> bool:
        """Whether it matters how many judgments were asked of each judge: for the budget, or people's shares."""
        return self.budget is not None or (self.spec.rewards is not None and self.spec.rewards.share is not None)

    @property
    def cascades(self) -> bool:
        """Whether anything may be asked after the first judgments of a task."""
        return self.spec.cascades

    def cost(self, sent: int, spent: int) -> int:
        """What was asked so far, in millionths: of so many tasks at the first stage, and beyond it."""
        return sent * self.steps[0].price + spent

    def dearer(self, message: Judgments, earlier: Sequence[Judgments] = ()) -> int:
        """By how much judgments that say what they cost were dearer than their judge's price; in millionths.

        The price was reckoned once for each task: where something ``earlier`` of the slot stated a cost, as an error
        may before there is a value, that has taken its place already.
        """
        paid = {
            p for one in earlier for p, cost in zip(one.positions, one.costs or (), strict=False) if cost is not None
        }
        if message.costs is None and not paid:
            return 0
        costs = message.costs or [None] * len(message.positions)
        stated = [min(cost, MOST_COST) for cost in costs if cost is not None]
        off = len(stated)
        if paid:
            off = sum(cost is not None and p not in paid for p, cost in zip(message.positions, costs, strict=True))
            off -= sum(
                cost is None and p in paid and p not in message.errors
                for p, cost in zip(message.positions, costs, strict=True)
            )
        price = self.steps[message.stage].prices[message.judge] if off else 0
        return millionths(math.fsum(stated)) - price * off

    def note_costs(self, message: Judgments, traffic: Traffic) -> None:
        """Note what the judgments cost that say so: one with another, for one may carry what others have cost."""
        stated = [min(cost, MOST_COST) for cost in message.costs or () if cost is not None]
        if stated:
            traffic.cost((message.stage, message.judge), millionths(math.fsum(stated) / len(stated)))

    @property
    def fits(self) -> bool:
        """Whether the answers are gone over as a whole before the job ends."""
        return self.spec.decide_by in INFERENCE

    def columns(self, said: Mapping[Slot, Sequence[Judgments]], first: int, count: int) -> list[Column]:
        """The columns of a suite's first stage, in the order of the plan."""
        return [column(said.get(slot, ()), first, count) for slot in self.slots]

    def decide(self, columns: Sequence[Column], otherwise: Failure | None = None) -> Decision:
        """The answers of a suite; a task that nobody judged fails of ``otherwise``."""
        return decide(columns, self.weights, self.rule, otherwise)

    def gold(self, truths: Sequence[Any] | None, decision: Decision) -> tuple[int, int]:
        """Of the tasks of a suite: how many have a known truth, and how many of these were answered with it."""
        if truths is None:
            return 0, 0
        known = [index for index, truth in enumerate(truths) if truth is not None]
        answered = [index for index in known if index not in decision.errors]
        right = sum(values.same(self.spec, self.check, decision.values[i], truths[i]) for i in answered)
        return len(known), right
