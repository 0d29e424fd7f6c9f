"""What the aggregator knows of a job from its job file: who is expected to judge, what is an answer, how to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.messages import Judgments
from manyhands.spec import JobSpec
from manyhands_aggregator import values
from manyhands_aggregator.decide import Decision, Rule, decide, rule
from manyhands_aggregator.merge import Column, column

#: Stage, judge, slot: whose judgments.
Slot = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A job file, made ready for the hot path; ``slots`` and ``weights`` are in the order of the plan."""

    spec: JobSpec
    slots: Sequence[Slot]
    weights: Sequence[float]
    check: values.Check
    rule: Rule
    unanimous: bool

    @classmethod
    def of(cls, spec: JobSpec) -> Plan:
        """The plan of a job file."""
        slots = [(0, judge.judge, slot) for judge in spec.judges for slot in range(judge.judgments)]
        weights = [judge.weight for judge in spec.judges for _ in range(judge.judgments)]
        by, unanimous = rule(spec.decide_by, spec.answer)
        return cls(spec, slots, weights, values.check(spec.answer), by, unanimous)

    def columns(self, said: Mapping[Slot, Sequence[Judgments]], first: int, count: int) -> list[Column]:
        """The columns of a suite, in the order of the plan."""
        return [column(said.get(slot, ()), first, count) for slot in self.slots]

    def decide(self, columns: Sequence[Column]) -> Decision:
        """The answers of a suite."""
        return decide(columns, self.weights, self.rule, self.unanimous)

    def gold(self, truths: Sequence[Any] | None, decision: Decision) -> tuple[int, int]:
        """Of the tasks of a suite: how many have a known truth, and how many of these were answered with it."""
        if truths is None:
            return 0, 0
        known = [(truth, value) for truth, value in zip(truths, decision.values, strict=True) if truth is not None]
        answer = self.spec.answer
        right = sum(1 for t, v in known if v is not None and values.same(answer, self.check, v, t))
        return len(known), right
