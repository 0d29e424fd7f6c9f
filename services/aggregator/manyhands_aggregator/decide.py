"""From judgments to one answer a task: pure functions of columns.

Confidence is the share of the (weighted) votes that the answer got; a single judgment that states its own confidence
passes it on. A tie goes to the value whose voters stated the higher confidence in all, then to the option named first
in the job file, then to the judge named first. For numbers it is 1 - d / r, with d the mean distance of the judgments
from the answer and r the range of the answer type (where it has none: the spread of magnitudes, the greater of the answer and d).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.messages import Failure
from manyhands.spec import Answer, Method
from manyhands_aggregator.merge import NOTHING, Column


@dataclass(frozen=True, slots=True)
class Decision:
    """The answers of a suite of n tasks.

    ``values`` and ``confidences`` (0..1) have n entries, None where the task failed; ``counts`` says on how many
    judgments each rests; ``errors`` maps an index to why it failed; ``ties`` counts the answers the tie rule decided.
    """

    values: Sequence[Any]
    confidences: Sequence[float | None]
    counts: Sequence[int]
    errors: Mapping[int, Failure]
    ties: int = 0


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgment in a decision: its value, the weight of its judge, and its own confidence if it stated one."""

    value: Any
    weight: float
    confidence: float | None


#: One task's votes, in the order of the plan -> value, confidence, whether the tie rule decided.
Rule = Callable[[Sequence[Vote]], tuple[Any, float, bool]]

#: What a task without any judgment is said to have failed of.
NO_JUDGMENT = Failure(code="no-judgment", message="no judge gave a judgment")


def decide(columns: Sequence[Column], weights: Sequence[float], rule: Rule, unanimous: bool) -> Decision:
    """Decide a suite; ``columns`` and ``weights`` stand in the order of the plan, one for each judge and slot.

    ``unanimous`` says that equal values need no rule (votes, not means).
    """
    count = len(columns[0].values)
    if len(columns) == 1 and not columns[0].errors and columns[0].covered == count and unanimous:
        only = columns[0]
        stated = only.confidences
        confidences = [1.0] * count if stated is None else [1.0 if c is None else float(c) for c in stated]
        return Decision(only.values, confidences, [1] * count, {})
    values: list[Any] = []
    shares: list[float | None] = []
    counts: list[int] = []
    errors: dict[int, Failure] = {}
    ties = 0
    for index, row in enumerate(zip(*(c.values for c in columns), strict=True)):
        if unanimous and len(row) > 1 and row[0] is not NOTHING and all(v == row[0] for v in row[1:]):
            values.append(row[0])
            shares.append(1.0)
            counts.append(len(row))
            continue
        votes = [
            Vote(v, w, c.confidences[index] if c.confidences is not None else None)
            for v, w, c in zip(row, weights, columns, strict=True)
            if v is not NOTHING
        ]
        if votes:
            value, share, tied = rule(votes)
            ties += tied
            values.append(value)
            shares.append(share)
        else:
            errors[index] = next((c.errors[index] for c in columns if index in c.errors), NO_JUDGMENT)
            values.append(None)
            shares.append(None)
        counts.append(len(votes))
    return Decision(values, shares, counts, errors, ties)


def rule(method: Method, answer: Answer) -> tuple[Rule, bool]:
    """The rule of a method for an answer type, and whether equal values need no rule."""
    if method == "first":
        return (lambda votes: (votes[0].value, _own(votes[0]), False)), False
    if method in ("mean", "median"):
        return _average(method, answer), False
    weighted = method == "weighted"
    if answer.type == "choices":
        return _labels(answer.options or (), weighted), True
    return _vote(answer.options, weighted, _canonical if answer.type == "json" else None), True


def _own(vote: Vote) -> float:
    return 1.0 if vote.confidence is None else float(vote.confidence)


def _strength(vote: Vote, weighted: bool) -> float:
    """A weighted vote counts its judge's weight times its own confidence, where it stated one."""
    return vote.weight * _own(vote) if weighted else 1.0


def _vote(options: Sequence[str] | None, weighted: bool, key: Callable[[Any], Any] | None) -> Rule:
    order = {option: index for index, option in enumerate(options or ())}

    def decide_one(votes: Sequence[Vote]) -> tuple[Any, float, bool]:
        if len(votes) == 1:
            return votes[0].value, _own(votes[0]), False
        strength: dict[Any, float] = {}
        stated: dict[Any, float] = {}
        value: dict[Any, Any] = {}
        for vote in votes:
            name = vote.value if key is None else key(vote.value)
            value.setdefault(name, vote.value)
            strength[name] = strength.get(name, 0.0) + _strength(vote, weighted)
            stated[name] = stated.get(name, 0.0) + (vote.confidence or 0.0)
        total = sum(strength.values())
        best = max(strength.values())
        tied = [name for name, s in strength.items() if s == best]
        # min is stable: among equals the first seen wins, which is the judge named first in the plan
        winner = min(tied, key=lambda name: (-stated[name], order.get(name, 0)))
        return value[winner], best / total if total else 0.0, len(tied) > 1

    return decide_one


def _labels(options: Sequence[str], weighted: bool) -> Rule:
    """Each label is a vote of its own; a label that is tied is left out. Confidence is the mean over the labels."""

    def decide_one(votes: Sequence[Vote]) -> tuple[Any, float, bool]:
        if len(votes) == 1:
            return votes[0].value, _own(votes[0]), False
        total = sum(_strength(v, weighted) for v in votes)
        chosen, shares, tied = [], 0.0, False
        for option in options:
            share = sum(_strength(v, weighted) for v in votes if option in v.value) / total if total else 0.0
            tied = tied or share == 0.5
            shares += max(share, 1 - share)
            if share > 0.5:
                chosen.append(option)
        return chosen, shares / len(options), tied

    return decide_one


def _average(method: str, answer: Answer) -> Rule:
    average = statistics.fmean if method == "mean" else statistics.median
    span = None if answer.min is None or answer.max is None else answer.max - answer.min

    def decide_one(votes: Sequence[Vote]) -> tuple[Any, float, bool]:
        numbers = [v.value for v in votes]
        value = float(average(numbers))
        if len(votes) == 1:
            return value, _own(votes[0]), False
        distance = statistics.fmean(abs(n - value) for n in numbers)
        scale = span if span is not None else max(abs(value), distance)
        return value, 1.0 if distance == 0 else max(0.0, 1 - distance / scale), False

    return decide_one


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
