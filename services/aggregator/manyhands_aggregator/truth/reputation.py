"""How good a worker is: a confusion matrix, a share of right judgments with bounds, and whether it looks at all.

Nothing here begins at a number of judgments: with few of them the bounds are wide and the probabilities near the prior.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.belief import RIGHT, WRONG
from manyhands_aggregator.truth.peers import CHUNK, Peers

#: How often a worker may have looked at its tasks, on a scale of 0 (never) to 1 that `attention` tries.
GRID: NDArray[np.float64] = np.concatenate([np.linspace(0.0, 0.95, 20), [0.99]])
#: Who looks at no more than this share is a spammer: with two options, right in 52.5 % of all judgments.
IDLE = 0.05
#: The crowd is taken to have this many more workers, as `_BASE` has them: so few of them are a crowd, too.
_MORE = 4.0
#: A tenth never look; of the others, more the more they look.
_BASE: NDArray[np.float64] = np.concatenate([[0.1], 0.9 * GRID[1:] / GRID[1:].sum()])
#: Rounds until the crowd's distribution is found; it needs no more digits.
_ROUNDS = 100


def tally(ballots: Ballots, peers: Peers) -> tuple[Floats, Floats]:
    """How many judgments of each worker were right, so far as one can tell, and how many were compared; (W,) each."""
    weights = np.where(peers.compared, peers.agreed, 0.0)
    right = np.bincount(ballots.worker, weights=weights, minlength=ballots.workers)
    compared = np.bincount(ballots.worker, weights=peers.compared, minlength=ballots.workers)
    return np.asarray(right, np.float64), np.asarray(compared, np.float64)


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
    That matrix has a prior, too: the labels' shares, worth one judgment a row, and the truth, worth one more.
    Memory W K K, so it is for classes that fit into a table.
    """
    k, w = ballots.classes, ballots.workers
    counts = np.zeros(w * k * k)
    (kept,) = np.nonzero(peers.compared)
    for start in range(0, len(kept), CHUNK):
        rows = kept[start : start + CHUNK]
        cells = ballots.worker[rows].astype(np.intp)[:, None] * k + np.arange(k)
        cells = cells * k + ballots.label[rows][:, None]
        counts += np.bincount(cells.ravel(), weights=peers.truths(rows).ravel(), minlength=w * k * k)
    matrices = counts.reshape(w, k, k)
    shares = (np.bincount(ballots.label, minlength=k) + 1.0) / (len(ballots.label) + k)
    crowd = matrices.sum(axis=0) + shares + np.eye(k)
    crowd /= crowd.sum(axis=1, keepdims=True)
    matrices += strength * crowd
    return np.asarray(matrices / matrices.sum(axis=2, keepdims=True))


def attention(
    ballots: Ballots, peers: Peers, evidence: Floats | None = None, *, rows: int = 1
) -> tuple[Floats, Floats]:
    """How probable it is of each worker that it spams, and how often it looks; (W,) each, 0..1.

    A worker looks at a share g of its tasks and says the truth of those (as far as the others know it); of the rest it
    says one of its own labels, as often as it uses them. So who always says what is mostly right is no expert, and who
    is often wrong need not be a spammer. The crowd's distribution of g is found from all workers (an empirical Bayes
    estimate over :data:`GRID`), and a worker's probability is its posterior at g <= :data:`IDLE`.

    ``evidence`` (W,): what else speaks for spamming, as the logarithm of a likelihood ratio: that of speed. Where a
    judgment has several ``rows``, they count as one.

    Sources: the model is that of D. Hovy et al., "Learning Whom to Trust with MACE", NAACL 2013; the estimate that of
    J. Kiefer, J. Wolfowitz, "Consistency of the Maximum Likelihood Estimator in the Presence of Infinitely Many
    Incidental Parameters", Ann. Math. Stat. 27 (1956) 887-906.
    """
    k, w = ballots.classes, ballots.workers
    used = np.bincount(ballots.worker.astype(np.intp) * k + ballots.label, minlength=w * k)
    given = np.bincount(ballots.worker, minlength=w)
    mine = ballots.worker.astype(np.intp) * k + ballots.label
    # how often the worker says this label otherwise; half a judgment of each label beforehand
    idly = (used[mine] - 0.5) / (given[ballots.worker] - 1.0 + k / 2)
    (kept,) = np.nonzero(peers.compared)
    agreed, idly, worker = peers.agreed[kept], idly[kept], ballots.worker[kept]
    score = np.zeros((w, len(GRID)))
    for at, g in enumerate(GRID):
        score[:, at] = np.bincount(worker, weights=np.log(g * agreed + (1.0 - g) * idly), minlength=w)
    score /= rows
    if evidence is not None:
        score = score + np.outer(evidence, GRID <= IDLE)
    likelihood = np.exp(score - score.max(axis=1, keepdims=True, initial=-np.inf))
    crowd = _BASE
    for _ in range(_ROUNDS):
        posterior = likelihood * crowd
        posterior /= posterior.sum(axis=1, keepdims=True)
        crowd = (posterior.sum(axis=0) + _MORE * _BASE) / (w + _MORE)
    posterior = likelihood * crowd
    posterior /= posterior.sum(axis=1, keepdims=True)
    return np.asarray(posterior[:, GRID <= IDLE].sum(axis=1)), np.asarray(posterior @ GRID)
