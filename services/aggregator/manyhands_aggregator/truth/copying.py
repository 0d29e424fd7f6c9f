"""Who copies: judgments that agree with another worker's where nobody would agree by chance.

Two honest workers agree mostly where both are right; one who copies agrees in the errors, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints
from manyhands_aggregator.truth.peers import CHUNK, Peers
from manyhands_aggregator.truth.reputation import confusions

#: Pairs of judgments looked at in one go and at most; beyond it, whole tasks are left out evenly.
PAIRS = 2_000_000
#: Shares of judgments that a copier may copy, all of them tried.
SHARES = (0.5, 0.8, 0.95)
#: Cells of confusion matrices at most; with more, workers are taken to err evenly.
CELLS = 1 << 22
#: What share of the pairs that are called copies may be none, in the mean.
FALSE = 0.05


class Copying(NamedTuple):
    """Of each worker, (W,): whom it copies (-1: nobody), and the logarithm of the evidence (an e-value) that it does.

    The evidence is that of its strongest pair, found or not; 0 where it has none above even.
    """

    victim: Ints
    evidence: Floats


def copying(
    ballots: Ballots,
    peers: Peers,
    haste: Floats | None = None,
    *,
    ordered: bool = True,
    false: float = FALSE,
    rows: int = 1,
) -> Copying:
    """Who copies whom. Of two who agree it is the one who comes later; the rows are in the order they were given.

    With ``ordered=False`` the order means nothing: then each of the two is named as the other's copier, and which one
    it is has to be found out otherwise.

    For each pair of judgments of one task the probability p that the later worker says what the earlier said is that
    of its confusion matrix and of the truth as the others see it, corrected by how often judgments of like p agree in
    the whole crowd: tempting wrong options and hard tasks make honest workers agree in errors, too. A copier would
    agree with c + (1 - c) p. The product of the ratios is an e-value: its mean is 1 for a worker who does not copy. Of
    all pairs those are named that the weighted e-BH procedure finds with a share of at most ``false`` false ones,
    however the pairs depend on each other. Pairs weigh by the square of how many tasks they have in common, and by
    ``haste`` (W,), the evidence of speed: copying is quickly done. Where a judgment has several ``rows``, the evidence
    is their geometric mean, which is an e-value, too, however they hang together.

    Source: R. Wang, A. Ramdas, "False Discovery Rate Control with E-values", J. R. Stat. Soc. B 84 (2022) 822-852.
    """
    return _named(ballots, partial(_predicted, ballots, peers), haste, ordered, false, rows)


def alike(
    ballots: Ballots,
    haste: Floats | None = None,
    *,
    ordered: bool = True,
    false: float = FALSE,
    right: NDArray[np.bool_] | None = None,
) -> Copying:
    """The same of values that are no options, each of them a label of its own.

    To say what is known to be ``right`` (n,) is no sign of copying, however seldom others say it: such rows are left
    out as those of whom it would be.

    How probable it is that the later says what the earlier said follows from how many of the others say it, again
    corrected by how often it is so in the whole crowd: numbers that are the same to many digits, and texts that nobody
    else writes, are no chance.
    """
    return _named(ballots, partial(_shared, ballots), haste, ordered, false, 1, right)


def _named(
    ballots: Ballots,
    predicted: Callable[[Indices, Indices], Floats],
    haste: Floats | None,
    ordered: bool,
    false: float,
    rows: int,
    right: NDArray[np.bool_] | None = None,
) -> Copying:
    workers = ballots.workers
    victim, evidence = np.full(workers, -1, np.int32), np.zeros(workers)
    first, second = _met(ballots)
    if not ordered:
        first, second = np.concatenate([first, second]), np.concatenate([second, first])
    if right is not None:
        first, second = first[~right[first]], second[~right[first]]
    if not len(first):
        return Copying(victim, evidence)
    same = ballots.label[first] == ballots.label[second]
    chance = _calibrated(predicted(first, second), same)
    pair = ballots.worker[first].astype(np.int64) * workers + ballots.worker[second]
    keys, at, common = np.unique(pair, return_inverse=True, return_counts=True)
    e = evidence_of(at, chance, same) / rows
    weight = 2 * np.log(common) + (0.0 if haste is None else haste[keys % workers])
    e += weight - np.log(np.exp(weight).mean())  # weights whose mean is 1 leave the share of false ones as it is
    order = np.argsort(-e, kind="stable")
    # e-BH: the k-th largest of m must reach m / (k false)
    enough = e[order] >= np.log(len(keys) / (np.arange(1, len(keys) + 1) * false))
    found = int(np.flatnonzero(enough).max(initial=-1)) + 1
    early, late = keys // workers, keys % workers
    for place in reversed(range(found)):  # the strongest last: it stays
        victim[late[order[place]]] = early[order[place]]
    np.maximum.at(evidence, late, e)
    return Copying(victim, evidence)


def evidence_of(pair: Indices, chance: Floats, same: NDArray[np.bool_]) -> Floats:
    """The logarithm of each pair's e-value, shape (pairs,); a row is of a ``pair``, and the two agree in it or not.

    A copier of a share c agrees with c + (1 - c) p where others do with the probability p, ``chance``; the e-value is
    the mean over :data:`SHARES` of the products of likelihood ratios.
    """
    scores = np.stack(
        [np.bincount(pair, np.where(same, np.log(c / chance + 1.0 - c), np.log1p(-c))) for c in SHARES], axis=1
    )
    top = scores.max(axis=1)
    return np.asarray(top + np.log(np.exp(scores - top[:, None]).mean(axis=1)))


def _met(ballots: Ballots) -> tuple[Indices, Indices]:
    """Rows of one task, the earlier and the later of each pair; of at most about `PAIRS` pairs."""
    order, begins = ballots.by_task()
    counts = np.diff(begins)
    pairs = counts.astype(np.int64) * (counts - 1) // 2
    step = -(-int(pairs.sum()) // PAIRS)
    if step > 1:
        order = order[np.repeat(np.arange(ballots.tasks) % step == 0, counts)]
    task = ballots.task[order]
    firsts: list[Indices] = []
    seconds: list[Indices] = []
    for apart in range(1, int(counts.max(initial=0))):
        (at,) = np.nonzero(task[apart:] == task[:-apart])
        if not len(at):
            break
        firsts.append(order[at])
        seconds.append(order[at + apart])
    nothing = np.zeros(0, np.intp)
    return np.concatenate([nothing, *firsts]), np.concatenate([nothing, *seconds])


def _predicted(ballots: Ballots, peers: Peers, first: Indices, second: Indices) -> Floats:
    """The probability that the second row's worker says the first's label, had it not seen it; one a pair."""
    k = ballots.classes
    matrices = confusions(ballots, peers) if ballots.workers * k * k <= CELLS else None
    skill = float(peers.right[peers.compared].mean()) if peers.compared.any() else 1.0 / k
    shares = (np.bincount(ballots.label, minlength=k) + 1.0) / (len(ballots.label) + k)
    found = np.empty(len(first))
    for start in range(0, len(first), CHUNK):
        one, two = first[start : start + CHUNK], second[start : start + CHUNK]
        truths, said = peers.without_two(one, two), ballots.label[one]
        if matrices is None:
            of_truth = skill * truths[np.arange(len(one)), said] + (1.0 - skill) * shares[said]
        else:
            of_truth = np.einsum("rk,rk->r", truths, matrices[ballots.worker[two], :, said])
        found[start : start + CHUNK] = of_truth
    return found


def _shared(ballots: Ballots, first: Indices, second: Indices) -> Floats:
    """The share of the others of the task who say what the first row's worker says, without the two; one a pair.

    Half a judgment of two is added, that says it.
    """
    given = np.bincount(ballots.task, minlength=ballots.tasks)[ballots.task]
    _, at, alike_ = np.unique(
        ballots.task.astype(np.int64) * ballots.classes + ballots.label, return_inverse=True, return_counts=True
    )
    others = alike_[at][first] - 1 - (ballots.label[first] == ballots.label[second])
    return np.asarray((others + 0.5) / (given[first] - 2.0 + 2.0))


def _calibrated(predicted: Floats, same: NDArray[np.bool_]) -> Floats:
    """How often pairs of such a prediction do agree: by bins of the logit, ten pairs as predicted beforehand."""
    clipped = np.clip(predicted, 1e-3, 1.0 - 1e-3)
    bins = np.round(np.log(clipped / (1.0 - clipped)) * 2).astype(np.intp) + 14
    n = np.bincount(bins)
    mean = np.bincount(bins, clipped) / np.maximum(n, 1)
    agree = (np.bincount(bins, same) + 10.0 * mean) / (n + 10.0)
    return np.asarray(np.clip(agree[bins] * clipped / mean[bins], 1e-3, 1.0 - 1e-6))
