"""From judgments to one answer a task: pure functions of columns.

Confidence is the share of the (weighted) votes that the answer got; a single judgment that states its own confidence
passes it on. A tie goes to the value whose voters stated the higher confidence in all, then to the option named first
in the job file, then to the judge named first. For numbers it is 1 - d / r, with d the mean distance of the judgments
from the answer and r the range of the answer type (where it has none: the greater of the answer's magnitude and d).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from manyhands.messages import Failure
from manyhands.spec import Answer, Method
from manyhands_aggregator.course import Basis
from manyhands_aggregator.merge import NOTHING, Column
from manyhands_aggregator.values import canonical


@dataclass(slots=True)
class Decision:
    """The answers of a suite of n tasks.

    ``values`` and ``confidences`` (0..1) have n entries, None where the task failed; ``counts`` says on how many
    judgments each rests; ``errors`` maps an index to why it failed; ``ties`` counts the answers the tie rule decided;
    ``agreements`` has, in no order, the share of the judgments that are the answer of each task that was voted on.
    ``stages`` says, where there are several, which of them ended with the answer; None where the task failed. ``bases``
    says what each rests on, in a plan that cascades or whose method weighs voters; None where that is not on record.
    """

    values: Sequence[Any]
    confidences: Sequence[float | None]
    counts: Sequence[int]
    errors: dict[int, Failure]
    ties: int = 0
    agreements: list[float] = field(default_factory=list)
    stages: Sequence[int | None] | None = None
    bases: Sequence[Basis | None] | None = None

    def replaced(self, found: Mapping[int, tuple[Any, float]]) -> Decision:
        """The same with other values and confidences at some indices, found from all judgments; the failed have failed.

        What was believed when these were accepted has no part in them any more.
        """
        values, confidences = list(self.values), list(self.confidences)
        bases = None if self.bases is None else list(self.bases)
        for index, (value, confidence) in found.items():
            if index in self.errors:
                continue
            values[index], confidences[index] = value, confidence
            if bases is not None and (basis := bases[index]) is not None:
                bases[index] = basis._replace(rights=None)
        return replace(self, values=values, confidences=confidences, bases=bases)


class Vote(NamedTuple):
    """One judgment in a decision: its value, the weight of its judge, and its own confidence if it stated one."""

    value: Any
    weight: float
    confidence: float | None


class Verdict(NamedTuple):
    """What a rule makes of one task's votes.

    ``tied`` says that the tie rule decided; ``agreement``, where there was a vote, how large a share is the value.
    """

    value: Any
    confidence: float
    tied: bool = False
    agreement: float | None = None


#: One task's votes, at least two, in the order of the plan.
Rule = Callable[[Sequence[Vote]], Verdict]

#: What a task without any judgment is said to have failed of.
NO_JUDGMENT = Failure(code="no-judgment", message="no judge gave a judgment")


def decide(
    columns: Sequence[Column], weights: Sequence[float], rule: Rule, otherwise: Failure | None = None
) -> Decision:
    """Decide a suite; ``columns`` and ``weights`` stand in the order of the plan, one for each judge and slot.

    A task of which no column has a value or an error fails of ``otherwise``.
    """
    count = len(columns[0].values)
    if len(columns) == 1 and not columns[0].errors and columns[0].covered == count:
        only = columns[0]
        stated = only.confidences
        confidences = [1.0] * count if stated is None else [1.0 if c is None else float(c) for c in stated]
        return Decision(only.values, confidences, [1] * count, {})
    verdict = _remembering(rule, weights)
    decision = Decision([], [], [], {})
    says = zip(
        zip(*(c.values for c in columns), strict=True),
        zip(*(c.confidences or (None,) * count for c in columns), strict=True),
        strict=True,
    )
    for index, (row, stated_row) in enumerate(says):
        votes = len(row) - row.count(NOTHING)
        value, confidence, tied, agreement = verdict(row, stated_row) if votes else (None, None, False, None)
        if not votes:
            said = next((c.errors[index] for c in columns if index in c.errors), None)
            decision.errors[index] = said or otherwise or NO_JUDGMENT
        decision.values.append(value)  # type: ignore[attr-defined]  # they are lists, made above
        decision.confidences.append(confidence)  # type: ignore[attr-defined]
        decision.counts.append(votes)  # type: ignore[attr-defined]
        decision.ties += tied
        if agreement is not None:
            decision.agreements.append(agreement)
    return decision


def _remembering(
    rule: Rule, weights: Sequence[float]
) -> Callable[[tuple[Any, ...], tuple[float | None, ...]], Verdict]:
    """The rule for a row of values and one of confidences; where many rows say the same, most are looked up."""
    seen: dict[tuple[Any, ...], Verdict] = {}

    def look(row: tuple[Any, ...], stated: tuple[float | None, ...]) -> Verdict:
        try:
            found = seen.get((row, stated))
        except TypeError:  # lists and maps are not remembered
            return _apply(rule, row, weights, stated)
        if found is None:
            found = seen[row, stated] = _apply(rule, row, weights, stated)
        return found

    return look


def _apply(rule: Rule, row: Sequence[Any], weights: Sequence[float], stated: Sequence[float | None]) -> Verdict:
    votes = [Vote(*vote) for vote in zip(row, weights, stated, strict=True) if vote[0] is not NOTHING]
    return rule(votes) if len(votes) > 1 else Verdict(votes[0].value, _own(votes[0]))


def rule(method: Method, answer: Answer) -> Rule:
    """The rule of a method for an answer type."""
    if method == "first":
        return lambda votes: Verdict(votes[0].value, _own(votes[0]), agreement=_agreement(votes, votes[0].value))
    if method in ("mean", "median"):
        return _average(method, answer)
    if method in ("normalised", "rover"):
        return _written(method)
    weighted = method == "weighted"
    if answer.type == "choices":
        return _labels(answer.options or (), weighted)
    return _vote(answer.options or (), weighted, canonical if answer.type == "json" else lambda value: value)


def _own(vote: Vote) -> float:
    return 1.0 if vote.confidence is None else float(vote.confidence)


def _agreement(votes: Sequence[Vote], value: Any) -> float:
    """The share of the votes that are this value."""
    return [vote.value for vote in votes].count(value) / len(votes)


def _strength(vote: Vote, weighted: bool) -> float:
    """A weighted vote counts its judge's weight times its own confidence, where it stated one."""
    return vote.weight * _own(vote) if weighted else 1.0


def _vote(options: Sequence[str], weighted: bool, key: Callable[[Any], Any]) -> Rule:
    order = {option: index for index, option in enumerate(options)}

    def decide_one(votes: Sequence[Vote]) -> Verdict:
        strength: dict[Any, float] = {}
        stated: dict[Any, float] = {}
        value: dict[Any, Any] = {}
        heads: dict[Any, int] = {}
        for vote in votes:
            name = key(vote.value)
            value.setdefault(name, vote.value)
            heads[name] = heads.get(name, 0) + 1
            strength[name] = strength.get(name, 0.0) + _strength(vote, weighted)
            stated[name] = stated.get(name, 0.0) + (vote.confidence or 0.0)
        if len(value) == 1:
            return Verdict(votes[0].value, 1.0, agreement=1.0)
        total, best = sum(strength.values()), max(strength.values())
        tied = [name for name, s in strength.items() if math.isclose(s, best)]  # 0.1 + 0.2 is 0.3 here
        # min is stable: among equals the first seen wins, which is the judge named first in the plan
        winner = min(tied, key=lambda name: (-stated[name], order.get(name, 0)))
        share = strength[winner] / total if total else 0.0
        return Verdict(value[winner], share, len(tied) > 1, heads[winner] / len(votes))

    return decide_one


def _labels(options: Sequence[str], weighted: bool) -> Rule:
    """Each label is a vote of its own; a label that is tied is left out. Confidence is the mean over the labels."""

    def decide_one(votes: Sequence[Vote]) -> Verdict:
        if all(vote.value == votes[0].value for vote in votes):
            return Verdict(votes[0].value, 1.0, agreement=1.0)
        total = sum(_strength(v, weighted) for v in votes)
        chosen, shares, tied = [], 0.0, False
        for option in options:
            share = sum(_strength(v, weighted) for v in votes if option in v.value) / total if total else 0.0
            even = math.isclose(share, 0.5)
            tied = tied or even
            shares += max(share, 1 - share)
            if share > 0.5 and not even:
                chosen.append(option)
        return Verdict(chosen, shares / len(options), tied, _agreement(votes, chosen))

    return decide_one


def _average(method: Method, answer: Answer) -> Rule:
    average = _mean if method == "mean" else _median
    span = None if answer.min is None or answer.max is None else answer.max - answer.min

    def decide_one(votes: Sequence[Vote]) -> Verdict:
        numbers = [v.value for v in votes]
        value = average(numbers)
        distance = _mean([abs(n / 2 - value / 2) for n in numbers]) * 2  # halves: the ends may be 1e308 apart
        scale = span if span is not None else max(abs(value), distance)
        return Verdict(value, 1.0 if distance == 0 else max(0.0, 1 - distance / scale))

    return decide_one


def _written(method: Method) -> Rule:
    """Texts that are the same but for their form, or put together of words."""
    from manyhands_aggregator.truth.texts import METHODS  # numpy takes its time to load

    of_texts = METHODS[method]

    def decide_one(votes: Sequence[Vote]) -> Verdict:
        value, share = of_texts([vote.value for vote in votes])
        return Verdict(value, share)

    return decide_one


def _mean(numbers: Sequence[float]) -> float:
    try:
        return statistics.fmean(numbers)
    except OverflowError:  # the sum is too large for a float, the mean is not
        return math.fsum(n / len(numbers) for n in numbers)


def _median(numbers: Sequence[float]) -> float:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else ordered[middle - 1] / 2 + ordered[middle] / 2


#: Methods under which equal values make an answer, so that judges can be said to agree with it.
VOTES: frozenset[Method] = frozenset({"majority", "weighted", "first"})
