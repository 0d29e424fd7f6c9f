"""How right posteriors are where the truth is known, and how much they can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyhands_aggregator.truth.ballots import Floats, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, level

#: Stated with this much or more an answer counts as sure.
SURE = 0.95
#: Bins of equal width between 0 and 1, for the calibration error.
BINS = 10


@dataclass(frozen=True, slots=True)
class Score:
    """Of the tasks whose truth is known; None where there is none of the kind.

    Attributes:
        known: how many these are.
        accuracy: the share of right answers; of m level classes each is right to 1/m.
        sure: the share that is stated with ``SURE`` or more.
        sure_right: the accuracy of those.
        calibration_error: the mean difference of what is stated and what is right, over ``BINS`` bins (ECE).
    """

    known: int
    accuracy: float | None = None
    sure: float | None = None
    sure_right: float | None = None
    calibration_error: float | None = None


def score(posterior: Floats, truth: Ints) -> Score:
    """The score of posteriors (T, K) against truths (T,): -1 where unknown; K or more is a label that nobody gave.

    Source of the calibration error: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning", AAAI 2015.
    """
    known = np.flatnonzero(truth != UNKNOWN)
    if not len(known):
        return Score(0)
    stated, first = posterior[known].max(axis=1), level(posterior[known])
    given = truth[known] < posterior.shape[1]
    right = np.zeros(len(known))
    at = np.flatnonzero(given)
    right[at] = first[at, truth[known][at]] / first[at].sum(axis=1)
    bins = np.minimum((stated * BINS).astype(np.intp), BINS - 1)
    apart = np.abs(np.bincount(bins, right - stated)).sum() / len(known)
    sure = stated >= SURE
    return Score(
        len(known),
        accuracy=float(right.mean()),
        sure=float(sure.mean()),
        sure_right=float(right[sure].mean()) if sure.any() else None,
        calibration_error=float(apart),
    )
