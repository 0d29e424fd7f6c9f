"""The answers of a job that is no choice, from all its judgments together: sets of labels, and numbers. No I/O."""

from __future__ import annotations

from array import array
from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np

from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import SuiteState
from manyhands_aggregator.truth import types
from manyhands_aggregator.voices import counted, voices
from manyhands_aggregator.wholly import Gathered


@dataclass(slots=True)
class Valued:
    """The answers found, by position, each with its confidence, 0..1."""

    answers: dict[int, tuple[Any, float]]

    def applied(self, _plan: Plan, first: int, decision: Decision) -> Decision:
        """A suite's answers with what was found in the place of what there was; the failed have failed."""
        count = len(decision.values)
        return decision.replaced({p - first: self.answers[p] for p in range(first, first + count) if p in self.answers})


@dataclass(slots=True)
class Values:
    """Judgments of many tasks as columns, of whatever type; those of voters who are ``out`` are left away."""

    plan: Plan
    out: Set[str] = frozenset()
    voters: dict[str, int] = field(default_factory=dict)
    task: array[int] = field(default_factory=lambda: array("i"))
    voter: array[int] = field(default_factory=lambda: array("i"))
    values: list[Any] = field(default_factory=list)
    positions: array[int] = field(default_factory=lambda: array("q"))
    gold: dict[int, Any] = field(default_factory=dict)

    def add(self, state: SuiteState) -> None:
        """Take in all that was said of a suite; of what a voter says of a task the first counts."""
        truths = None if state.truths is None else msgpack.unpackb(state.truths, strict_map_key=False)
        for position, of in sorted(voices(state.said).items()):
            heard, _ = counted((of[slot] for slot in sorted(of)), self.out)
            if not heard:
                continue
            first = {voice.voter: voice for voice in reversed(heard)}
            for voter in sorted(first):
                self.task.append(len(self.positions))
                self.voter.append(self.voters.setdefault(voter, len(self.voters)))
                self.values.append(first[voter].value)
            if truths is not None and (truth := self._gold(truths[position - state.first])) is not None:
                self.gold[len(self.positions)] = truth
            self.positions.append(position)

    def _gold(self, truth: Any) -> Any:
        try:
            return None if truth is None else self.plan.check(truth)
        except ValueError:
            return None

    def found(self) -> Valued:
        """The answers that the job's method finds.

        Gold says how good the voters are; its own answers stay what they were judged to be.
        """
        answer, method = self.plan.spec.answer, self.plan.spec.decide_by
        columns = types.Columns(
            task=np.array(self.task, np.int32), worker=np.array(self.voter, np.int32), values=self.values,
            tasks=len(self.positions), workers=len(self.voters), options=answer.options or (),
            span=None if answer.min is None or answer.max is None else answer.max - answer.min, gold=self.gold,
        )  # fmt: skip
        found = types.infer(answer.type, columns, method)
        judged = types.infer(answer.type, replace(columns, gold=None), method) if self.gold else found
        return Valued(
            {
                position: (one.values[task], float(one.confidence[task]))
                for task, position in enumerate(self.positions)
                for one in (judged if task in self.gold else found,)
            }
        )


def columns(plan: Plan, out: Set[str] = frozenset()) -> Gathered | Values:
    """What takes in the judgments of a job, by its answer type; voters who are ``out`` are left away."""
    return Gathered(plan, out) if plan.spec.answer.type == "choice" else Values(plan, out)
