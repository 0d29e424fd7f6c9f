"""Who does not look at its tasks at all, told from those who look and err."""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.peers import Peers

#: Shares of right judgments that are tried of those who look.
SKILLS: NDArray[np.float64] = np.linspace(0.01, 0.99, 50)
#: The shares of spammers that a crowd may have, and how likely each is beforehand: the more, the less.
SPAMMERS: NDArray[np.float64] = np.array([0.04, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5])
_PRIOR: NDArray[np.float64] = (1.0 - SPAMMERS) ** 6 / ((1.0 - SPAMMERS) ** 6).sum()
#: The means of the honest, and how alike they are, that a crowd may have: Beta(m c, (1 - m) c).
MEANS, ALIKE = (0.45, 0.55, 0.62, 0.68, 0.74, 0.8, 0.85, 0.9, 0.94, 0.97), (4.0, 8.0, 16.0, 32.0)
#: The labels of who has a favourite come as if drawn with the prior Dirichlet(LINED / K, ...).
LINED = 0.05


def attention(ballots: Ballots, peers: Peers, evidence: Floats | None = None, *, rows: int = 1) -> Floats:
    """How probable it is of each worker that it does not look at its tasks; (W,), 0..1.

    Who does not look says one of its own labels, as often as it uses them. Who looks is right with a probability of its
    own, s: with k classes it says the truth of a share g = (k s - 1) / (k - 1) of its tasks, and one of its own labels
    of the rest; if g is negative, it avoids the truth in such a share. So who always says what is mostly right is no
    expert, who is often wrong need not be a spammer, and who errs more often than chance does look.

    The skills of those who look are a Beta distribution of which nothing is known, and so is the share of the others:
    all of :data:`MEANS`, :data:`ALIKE` and :data:`SPAMMERS` are weighed by how well they explain the whole crowd. That
    weak workers are to be expected in a crowd of few good ones is what keeps them from being accused. Those with a
    favourite label have a share of spammers of their own: that many always say the same makes nobody else suspicious.

    ``evidence`` (W,): what else speaks for spamming, as the logarithm of a likelihood ratio: that of speed. Where a
    judgment has several ``rows``, they count as one. Time O(50 n + 2000 W).

    Sources: the model is that of D. Hovy et al., "Learning Whom to Trust with MACE", NAACL 2013, with two groups as in
    B. Efron et al., "Empirical Bayes Analysis of a Microarray Experiment", J. Am. Stat. Assoc. 96 (2001) 1151-1160.
    """
    k, w = ballots.classes, ballots.workers
    if not w:
        return np.zeros(0)
    # of several rows each is a question of its own, that of an option; some options are always there
    question = ballots.worker.astype(np.intp) * rows + ballots.task % rows
    mine = question * k + ballots.label
    used = np.bincount(mine, minlength=w * rows * k)
    given = np.bincount(question, minlength=w * rows)
    # how often the worker says this label otherwise; half a judgment of each label beforehand
    idly = (used[mine] - 0.5) / (given[question] - 1.0 + k / 2)
    (kept,) = np.nonzero(peers.compared)
    agreed, idly = peers.agreed[kept], idly[kept]

    def logs(look: float) -> Floats:
        said = agreed if look >= 0 else (1.0 - agreed) / max(1, k - 1)
        return np.asarray(np.log(abs(look) * said + (1.0 - abs(look)) * idly) / rows)

    looks = (k * SKILLS - 1.0) / max(1, k - 1)
    lined = _lined(used.reshape(w * rows, k).astype(np.float64)).reshape(w, rows).mean(axis=1)
    return weighed(ballots.worker[kept], w, logs, looks, lined, evidence)


def weighed(
    worker: Ints, w: int, logs: Callable[[float], Floats], looks: Floats, lined: Floats, evidence: Floats | None
) -> Floats:
    """The same of any judgments: ``logs`` has the logarithm of the likelihood of each if its worker looks so often.

    ``looks``: how often those of :data:`SKILLS` look; 0 is never. ``lined`` (W,): who has a favourite value.
    """
    look = np.stack([np.bincount(worker, logs(share), w) for share in looks.tolist()], axis=1)
    idles = np.bincount(worker, logs(0.0), w) + (0.0 if evidence is None else evidence)
    best = np.maximum(look.max(axis=1), idles)
    idle, look = np.exp(idles - best)[:, None], np.exp(look - best[:, None]) @ _crowds().T
    # (2, shares, crowds): how well they explain those with a favourite, and the others
    fits = np.array([np.stack([lined, 1.0 - lined]) @ np.log(p * idle + (1.0 - p) * look) for p in SPAMMERS])
    fits = fits.transpose(1, 0, 2) + np.log(_PRIOR)[:, None]
    top = fits.max(axis=1)
    others = (np.log(np.exp(fits - top[:, None]).sum(axis=1)) + top)[::-1]
    found = np.zeros(w)
    for fit, other, of in zip(fits, others, (lined, 1.0 - lined), strict=True):
        weights = np.exp(fit + other - (fit + other).max())
        weights /= weights.sum()
        for share, each in zip(SPAMMERS, weights, strict=True):
            found += of * ((share * idle / (share * idle + (1.0 - share) * look)) @ each)
    return found


def _lined(used: Floats) -> Floats:
    """How probable it is that a worker who uses labels so often, (W, K), has a favourite, against any use; (W,)."""
    k, n = used.shape[1], used.sum(axis=1)

    def likelihood(each: float) -> Floats:  # of the counts, where shares have the prior Dirichlet(each, ...)
        labels = _lgamma(used + each).sum(axis=1) - k * lgamma(each)
        return np.asarray(labels - _lgamma(n + k * each) + lgamma(k * each))

    return np.asarray(1.0 / (1.0 + np.exp(np.clip(likelihood(1.0) - likelihood(LINED / k), -700.0, 700.0))))


def _lgamma(x: Floats) -> Floats:
    """The logarithm of the gamma function, where few of many numbers differ."""
    values, at = np.unique(x, return_inverse=True)
    return np.array([lgamma(value) for value in values.tolist()])[at].reshape(x.shape)


def _crowds() -> Floats:
    """How the skills of those who look may be spread; a row a distribution over :data:`SKILLS`, each sums to 1."""
    mean, alike = (axis.ravel()[:, None] for axis in np.meshgrid(MEANS, ALIKE))
    shares = np.exp((mean * alike - 1.0) * np.log(SKILLS) + ((1.0 - mean) * alike - 1.0) * np.log1p(-SKILLS))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
