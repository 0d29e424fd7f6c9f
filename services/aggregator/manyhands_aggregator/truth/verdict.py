"""What is done about a worker: rules of the job over evidence, and which tasks are judged anew for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.spec.quality import Bounds, Quality
from manyhands_aggregator.truth.ballots import Ballots, Indices, Ints
from manyhands_aggregator.truth.reputation import bounds

#: From the gravest to the kindest; a worker of whom none holds is new, or neither good nor bad.
Action = Literal["retire", "pause", "warn", "qualify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one worker; nan where a measure does not apply, as speed does not to machines.

    ``judgments`` given; ``right`` of ``compared`` that could be compared with gold or others; ``spam`` (0..1): how
    probable it is that it does not look at its tasks; ``change`` (-1..1) of its share of right judgments from the first
    to the last, and the ``deviation`` of that; ``pace``: its typical time as a share of the crowd's; ``repeats``: the
    share of judgments equal to the one before, ``repeats_expected`` of them, and the ``repeats_chance`` that it repeats
    itself so often; ``copies``: the number of the worker whom it copies; ``twin``: of one that makes the same mistakes,
    where nobody can tell who copies whom, as with two machines of one model; ``earlier``: what is right and what was
    compared in earlier jobs, as far as it counts in this one.
    """

    judgments: int
    compared: float
    right: float
    spam: float = math.nan
    change: float = 0.0
    deviation: float = math.inf
    pace: float = math.nan
    repeats: float = math.nan
    repeats_expected: float = math.nan
    repeats_chance: float = 1.0
    copies: int | None = None
    twin: int | None = None
    earlier: tuple[float, float] = (0.0, 0.0)

    def bounds(self, sure: float) -> tuple[float, float]:
        """Between what shares of right judgments the worker's own lies, by this job and earlier ones."""
        right, compared = self.earlier
        return bounds(self.right + right, self.compared + compared, sure)

    @property
    def judged(self) -> str:
        """Of which judgments these are the bounds, in words."""
        return "its judgments, earlier jobs included" if self.earlier[1] else "its judgments"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done, or None; and why, as sentences."""

    action: Action | None
    reasons: Sequence[str] = ()


def verdict(rules: Quality, evidence: Evidence) -> Verdict:
    """The gravest of the job's rules that holds for the worker.

    Bounds are compared, never shares: so a worker with few judgments is not judged by chance, and no number of
    judgments makes a difference by itself.
    """
    steps: tuple[tuple[Action, Bounds | Literal[False]], ...] = (
        ("retire", rules.retire),
        ("pause", rules.pause),
        ("warn", rules.warn),
    )
    for action, rule in steps:
        if rule and (reasons := _reasons(action, rule, evidence)):
            return Verdict(action, reasons)
    if rules.qualify is not None:
        low, _ = evidence.bounds(rules.qualify.sure)
        if low >= rules.qualify.accuracy:
            return Verdict("qualify", (f"right in at least {low:.1%} of {evidence.judged}",))
    return Verdict(None)


def _reasons(action: Action, rule: Bounds, evidence: Evidence) -> tuple[str, ...]:
    reasons = []
    if rule.spam is not None and evidence.spam >= rule.spam:
        reasons.append(f"does not look at its tasks, with a probability of {evidence.spam:.1%}")
    if rule.copying and evidence.copies is not None:
        reasons.append("copies another worker")
    if rule.copying and action == "warn" and evidence.twin is not None:
        reasons.append("makes the same mistakes as another worker")
    if rule.accuracy is not None:
        _, high = evidence.bounds(rule.sure)
        if high < rule.accuracy:
            reasons.append(f"right in at most {high:.1%} of {evidence.judged}")
    if rule.loss is not None:
        least = -evidence.change - NormalDist().inv_cdf(rule.sure) * evidence.deviation
        if least > rule.loss:
            reasons.append(f"has become worse by at least {least:.1%}")
    if rule.repeats is not None and evidence.repeats_chance <= rule.repeats:
        reasons.append(
            f"repeats itself in {evidence.repeats:.1%} of its judgments, not in {evidence.repeats_expected:.1%}"
        )
    return tuple(reasons)


def to_reopen(ballots: Ballots, answers: Ints, retired: NDArray[np.bool_]) -> Indices:
    """The tasks to be judged anew when workers are retired: those whose answer rests on a judgment of theirs.

    ``answers`` (T,): the accepted label, -1 for a task that is open; ``retired`` (W,). Where a retired worker said
    something else the answer stands the better without it.
    """
    supports = retired[ballots.worker] & (ballots.label == answers[ballots.task])
    return np.unique(ballots.task[supports]).astype(np.intp)
