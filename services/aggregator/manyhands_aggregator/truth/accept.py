"""When a task has judgments enough: the rules of a stage, the same for the aggregator and for ``manyhands replay``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.belief import Vote, tally

#: Posteriors and split votes are floats: what is this close to a limit has reached it.
CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a stage asks of a task before its answer is accepted; of what is given, all must hold.

    ``confidence`` (0..1): the posterior of the likeliest answer. ``margin``: how many more voters say it than say the
    next. ``agree``: how many voters say it. ``at_most``: after so many judgments the stage buys no more. A rule
    without any condition accepts whatever there is; one of ``at_most`` alone accepts at so many judgments.
    """

    confidence: float | None = None
    margin: int | None = None
    agree: int | None = None
    at_most: int | None = None


def accepts(rule: Rule, posterior: NDArray[np.float64], votes: Sequence[Vote]) -> bool:
    """Whether the likeliest answer is accepted; never without a vote.

    ``posterior`` has K entries, that of `Beliefs.posterior` for these votes. Monotone: a rule that asks for less
    accepts whatever a rule that asks for more accepts.
    """
    if not votes:
        return False
    if rule.confidence is None and rule.margin is None and rule.agree is None:
        return rule.at_most is None or len(votes) >= rule.at_most
    if rule.confidence is not None and float(posterior.max()) < rule.confidence - CLOSE:
        return False
    if rule.margin is None and rule.agree is None:
        return True
    counts = tally(votes, len(posterior))
    first, *others = sorted(counts, reverse=True)
    if rule.agree is not None and first < rule.agree - CLOSE:
        return False
    return rule.margin is None or first - max(others, default=0.0) >= rule.margin - CLOSE


def error_of_margin(margin: int, right: float, classes: int) -> float:
    """The probability, 0..1, that an answer accepted as soon as it is so many voters ahead of every other is wrong.

    For independent voters who are right with probability ``right``, above chance, and else say any of the other K - 1
    as likely as the next: by Bayes from equal chances, each other answer is at most r^m times as likely as the one
    ahead, with r = (1 - right) / (K - 1) / right, so the error is at most (K - 1) r^m / (1 + (K - 1) r^m). With two
    classes it is exact whatever number of votes it took: 1 / (1 + (p / q)^m), the error of Wald's sequential
    probability ratio test (A. Wald, *Sequential Analysis*, 1947, section 3.2) and of the gambler's ruin.
    """
    if classes < 2:
        return 0.0
    ratio = (1 - right) / (classes - 1) / right
    odds = (classes - 1) * ratio**margin
    return odds / (1 + odds)


def margin_for(error: float, right: float, classes: int) -> int:
    """The least margin by which an answer is wrong with at most this probability; see `error_of_margin`.

    Raises:
        ValueError: the voters are no better than chance, so that no margin is enough; or the error is not above 0.
    """
    if error <= 0 or (classes > 1 and right * classes <= 1):
        raise ValueError("no margin is enough")
    margin = 1
    while error_of_margin(margin, right, classes) > error + CLOSE:
        margin += 1
    return margin


def spent(rule: Rule, votes: Sequence[Vote]) -> bool:
    """Whether the stage may buy no more judgments of the task; at the plan's end it is then answered as it stands."""
    return rule.at_most is not None and len(votes) >= rule.at_most


def stops(rule: Rule, posterior: NDArray[np.float64], votes: Sequence[Vote]) -> bool:
    """Whether the stage is done with the task, accepted or not."""
    return spent(rule, votes) or accepts(rule, posterior, votes)
