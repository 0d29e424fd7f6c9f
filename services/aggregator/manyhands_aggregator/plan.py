"""What the aggregator knows of a job from its job file: who is expected to judge, what is an answer, how to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from manyhands.messages import Failure, Judgments
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
    known: Set[Slot]
    weights: Sequence[float]
    check: values.Check
    rule: Rule

    @classmethod
    def of(cls, spec: JobSpec) -> Plan:
        """The plan of a job file."""
        slots = [(0, judge.judge, slot) for judge in spec.judges for slot in range(judge.judgments)]
        weights = [judge.weight for judge in spec.judges for _ in range(judge.judgments)]
        by = rule(spec.decide_by, spec.answer)
        return cls(spec, slots, frozenset(slots), weights, values.check(spec.answer), by)

    def columns(self, said: Mapping[Slot, Sequence[Judgments]], first: int, count: int) -> list[Column]:
        """The columns of a suite, in the order of the plan."""
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
        right = sum(values.same(self.spec.answer, self.check, decision.values[i], truths[i]) for i in answered)
        return len(known), right
