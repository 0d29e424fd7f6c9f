"""Judgments that are no choice among options, against those of others: numbers that are near, texts that are alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.peers import Peers

#: Numbers within so many deviations of what the others say count as right.
NEAR = 2.5
#: The median deviation of normal numbers times this is their standard deviation.
NORMAL = 1.4826


def same(ballots: Ballots, truth: Ints | None = None) -> Peers:
    """How far others said the same; the labels are codes of values, which mean nothing beyond their task.

    ``agreed`` is the share of the others who gave the value, or 0 or 1 where ``truth`` (T,) has a code, -1 elsewhere;
    -2 for a truth that nobody said.
    """
    task, label = ballots.task, ballots.label
    given = np.bincount(task, minlength=ballots.tasks)[task]
    _, at, alike = np.unique(task.astype(np.int64) * ballots.classes + label, return_inverse=True, return_counts=True)
    agreed = (alike[at] - 1.0) / np.maximum(given - 1, 1)
    return _peers(ballots, agreed, given > 1, label, truth)


def near(ballots: Ballots, value: Floats, truth: Floats | None = None) -> Peers:
    """Which numbers are near what the others say, their median, or the truth where ``truth`` (T,) is not nan.

    Near is within 2.5 standard deviations: of the job's errors, from their median, so that wild ones do not count. If
    more than half of all say just what others do, only that is right. The labels of the ballots are no matter.
    """
    task = ballots.task
    order = np.lexsort((value, task))
    given = np.bincount(task, minlength=ballots.tasks)
    begin = np.cumsum(given) - given
    place = np.empty(len(task), np.int64)
    place[order] = np.arange(len(task)) - begin[task[order]]
    m, ranked = given[task], value[order]

    def other(rank: NDArray[np.int64]) -> Floats:  # of the m - 1 others in order
        rank = np.clip(rank, 0, np.maximum(m - 2, 0))
        at = begin[task] + np.minimum(rank + (rank >= place), m - 1)
        return np.asarray(ranked[at], np.float64)

    expected = (other((m - 2) // 2) + other((m - 1) // 2)) / 2
    compared = m > 1
    if truth is not None:
        known = ~np.isnan(truth[task])
        expected, compared = np.where(known, truth[task], expected), compared | known
    error = np.abs(value - expected)
    usual = NORMAL * float(np.median(error[compared])) if compared.any() else 0.0
    close = np.isclose(value, expected, rtol=1e-9, atol=1e-9) | (error <= NEAR * usual)
    return _peers(ballots, close.astype(np.float64), compared, ballots.label, None)


def _peers(ballots: Ballots, agreed: Floats, compared: NDArray[np.bool_], label: Ints, truth: Ints | None) -> Peers:
    known = np.full(ballots.tasks, -1, np.int32)
    if truth is not None:
        of_task = truth[ballots.task]
        agreed = np.where(of_task == -1, agreed, (label == of_task).astype(np.float64))
        compared = compared | (of_task != -1)
    return Peers(
        ballots, agreed, compared, np.zeros((0, 0)), np.zeros(ballots.workers), known, agreed, np.ones(len(agreed))
    )
