"""How good a worker is: a confusion matrix, and a share of right judgments with bounds.

Nothing here begins at a number of judgments: with few of them the bounds are wide and the shares near the prior.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.belief import RIGHT, WRONG
from manyhands_aggregator.truth.peers import CHUNK, Peers

#: Rounds until workers' matrices are found; those of the one-coin model, at which it begins, are near.
_ROUNDS = 5


def tally(ballots: Ballots, peers: Peers) -> tuple[Floats, Floats]:
    """How many judgments of each worker were right, so far as one can tell, and of how many; (W,) each.

    They are counted as what they tell of the worker: one that is compared with gold is a whole one, and one where the
    others contradict each other is none. Their ratio is the most likely skill.
    """

    def total(of: Floats) -> Floats:
        return np.asarray(np.bincount(ballots.worker, np.where(peers.compared, of, 0.0), ballots.workers))

    told = total(peers.tells)
    share = (total(peers.right) + RIGHT) / (total(np.ones(len(ballots))) + RIGHT + WRONG)
    return np.clip(share * (told + RIGHT + WRONG) - RIGHT, 0.0, told), told


def expected(right: float, judged: float) -> float:
    """The share of right judgments that is expected of the worker, 0..1: the mean over the same prior as `bounds`.

    It lies within these, whatever the number of judgments.
    """
    return (right + RIGHT) / (judged + RIGHT + WRONG)


def bounds(right: float, judged: float, sure: float = 0.95) -> tuple[float, float]:
    """Between what shares of right judgments the worker's own lies, each bound with the probability ``sure``; 0..1.

    Wilson's score interval over the judgments and a prior of four, 2.8 of them right: ``judged`` may be 0, and a
    judgment more never moves a bound by leaps.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", J. Am. Stat. Assoc. 22
    (1927) 209-212.
    """
    n = judged + RIGHT + WRONG
    share = expected(right, judged)
    z = NormalDist().inv_cdf(sure)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def confusions(ballots: Ballots, peers: Peers, strength: float = 4.0) -> Floats:
    """P(says l | truth k) of each worker, shape (W, K, K), ``[w, k, l]``; rows sum to 1.

    The prior is the crowd's own matrix, worth ``strength`` judgments a row: a worker of few judgments is like all.
    That matrix has a prior, too: the labels' shares, worth one judgment a row, and the truth, worth one more. Where the
    others are not sure of the truth, what the worker says is evidence of it, too (expectation maximisation).
    Memory W K K, so it is for classes that fit into a table.
    """
    k, w = ballots.classes, ballots.workers
    (kept,) = np.nonzero(peers.compared)
    sure = (np.bincount(ballots.worker[kept], peers.right[kept], w) + RIGHT) / (
        np.bincount(ballots.worker[kept], minlength=w) + RIGHT + WRONG
    )
    away = (1.0 - sure[:, None, None]) / max(1, k - 1)
    matrices = np.where(np.eye(k, dtype=bool), sure[:, None, None], away)
    shares = (np.bincount(ballots.label, minlength=k) + 1.0) / (len(ballots.label) + k)
    for _ in range(_ROUNDS):
        counts = np.zeros(w * k * k)
        for start in range(0, len(kept), CHUNK):
            rows = kept[start : start + CHUNK]
            worker, label = ballots.worker[rows].astype(np.intp), ballots.label[rows]
            truths = peers.truths(rows) * matrices[worker, :, label]
            truths /= truths.sum(axis=1, keepdims=True)
            cells = (worker[:, None] * k + np.arange(k)) * k + label[:, None]
            counts += np.bincount(cells.ravel(), weights=truths.ravel(), minlength=w * k * k)
        matrices = counts.reshape(w, k, k)
        crowd = matrices.sum(axis=0) + shares + np.eye(k)
        crowd /= crowd.sum(axis=1, keepdims=True)
        matrices += strength * crowd
        matrices /= matrices.sum(axis=2, keepdims=True)
    return np.asarray(matrices)
