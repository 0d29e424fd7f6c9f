"""Straight-lining: who says the same again and again, more often than the tasks explain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.peers import CHUNK, Peers


class Repetition(NamedTuple):
    """Of each worker, (W,): the share of judgments equal to the one before, the share to expect, and how improbable.

    ``chance`` is an upper bound of the probability that a worker who judges each task for itself repeats itself so
    often: 1 where it does so as often as expected or less. The shares are nan for a worker of one judgment.
    """

    share: Floats
    expected: Floats
    chance: Floats


def repetition(ballots: Ballots, peers: Peers) -> Repetition:
    """How often workers repeat themselves; the rows must be in the order in which they were given.

    What is expected follows from the tasks: with g the share of right judgments in the crowd, a judgment says the truth
    that the others see with the probability g, and else any label as often as all use it. Sorted tasks and frequent
    classes are no repetition.

    The bound is exp(-n/2 KL(share || expected)): Hoeffding's, of the n/2 pairs that have no judgment in common.
    Source: W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", J. Am. Stat. Assoc. 58
    (1963) 13-30, theorem 1 and section 5.
    """
    order, begins = ballots.by_worker()
    pairs = np.ones(len(order), bool)
    pairs[begins[:-1][begins[:-1] < len(order)]] = False  # a worker's first judgment repeats nothing
    (second,) = np.nonzero(pairs)
    shares = np.bincount(ballots.label, minlength=ballots.classes) / max(1, len(order))
    right = float(peers.right[peers.compared].mean()) if peers.compared.any() else 0.0
    expected = np.empty(len(second))
    for start in range(0, len(second), CHUNK):
        at = second[start : start + CHUNK]
        here, before = (
            right * np.where(peers.compared[rows][:, None], peers.truths(rows), shares) + (1.0 - right) * shares
            for rows in (order[at], order[at - 1])
        )
        expected[start : start + CHUNK] = np.einsum("rk,rk->r", here, before)
    worker = ballots.worker[order[second]]
    n = np.bincount(worker, minlength=ballots.workers)
    again = np.bincount(worker, ballots.label[order[second]] == ballots.label[order[second - 1]], ballots.workers)
    with np.errstate(invalid="ignore"):
        share, awaited = again / n, np.bincount(worker, expected, ballots.workers) / n
    return Repetition(share, awaited, improbable(n, share, awaited))


def improbable(n: NDArray[np.int64], share: Floats, expected: Floats) -> Floats:
    """The bound for n pairs; 1 where nothing is above what is expected."""
    tiny = np.finfo(np.float64).tiny
    low = np.clip(np.nan_to_num(expected), 1e-12, 1.0 - 1e-12)
    high = np.maximum(np.nan_to_num(share), low)
    apart = high * np.log(high / low) + (1.0 - high) * np.log(np.maximum(1.0 - high, tiny) / (1.0 - low))
    return np.asarray(np.exp(-n / 2 * np.maximum(apart, 0.0)))
