"""What is known of a task apart from one worker's judgment of it: what that judgment is measured against.

Each judgment is compared with the truth as gold has it, or else as all the other judgments of its task let it appear,
under the one-coin model of :func:`manyhands_aggregator.truth.dawid_skene.one_coin`. Where the others are not sure, to
agree with them as far as they are is no share of right judgments: whoever is always right agrees with two that
contradict each other in half. So it is the likelihood of a skill that counts, in which what nobody knows says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints
from manyhands_aggregator.truth.belief import RIGHT, WRONG

#: No worker is taken to be right more often than this: a vote must not outweigh all others.
SUREST = 0.99
#: Nor to be wrong more often than always but for this: who always errs is no sure sign of what is not.
LEAST = 0.01
#: Rounds of expectation maximisation at most, and the change of a skill that ends them before.
ROUNDS, TOLERANCE = 20, 1e-3
#: Rows looked at in one go where a row costs K numbers.
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Peers:
    """For n judgments of T tasks by W workers over K classes.

    ``agreed`` (n,): the probability that the label is the truth, by gold or the others alone; ``compared`` (n,):
    whether there is gold or another judgment to compare with; ``scores`` (T, K): the logarithm of the posterior of all
    judgments, but for a constant; ``gain`` (W,): what a vote of the worker adds to it; ``gold`` (T,): -1 where unknown.
    ``right`` (n,): the probability that the label is the truth for all one knows, the worker's own skill included;
    ``tells`` (n,): how much a comparison with so sure others tells of that skill, from 0 to 1 of one with gold.
    """

    ballots: Ballots
    agreed: Floats
    compared: NDArray[np.bool_]
    scores: Floats
    gain: Floats
    gold: Ints
    right: Floats
    tells: Floats

    def truths(self, rows: Indices) -> Floats:
        """What the truth of some rows' tasks is without them, shape (len(rows), K); each row sums to 1."""
        task, label, own = self.ballots.task[rows], self.ballots.label[rows], self.gain[self.ballots.worker[rows]]
        scores = self.scores[task]
        scores[np.arange(len(rows)), label] -= own
        return self._normal(scores, task)

    def without_two(self, first: Indices, second: Indices) -> Floats:
        """The same without two rows of one task each, shape (len(first), K)."""
        ballots = self.ballots
        scores = self.scores[ballots.task[first]]
        for rows in (first, second):
            scores[np.arange(len(rows)), ballots.label[rows]] -= self.gain[ballots.worker[rows]]
        return self._normal(scores, ballots.task[first])

    def _normal(self, scores: Floats, task: Ints) -> Floats:
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64)
        known = self.gold[task]
        (at,) = np.nonzero(known >= 0)
        shares[at] = 0.0
        shares[at, known[at]] = 1.0
        return shares


def peers(ballots: Ballots, gold: Ints | None = None, voters: NDArray[np.bool_] | None = None) -> Peers:
    """What the others say of each judgment; O(n + T K) a round, a handful of rounds.

    A worker's skill has the prior Beta(2.8, 1.2), the classes the shares of all votes: those are counted, not inferred,
    so they cannot feed on themselves. ``gold`` (T,): the truths that are known, -1 elsewhere. ``voters`` (W,): who
    counts for others; the judgments of the rest are compared with theirs all the same.

    A skill is the most likely one (expectation maximisation). What a comparison tells of it is the expected share of
    the information that the truth itself would give: with q_l what the others give to the labels and s the skill,
    1 - sum_l q_l u_l / (s q_l + (1 - s) u_l), u_l = (1 - q_l) / (K - 1).

    Source: T. A. Louis, "Finding the Observed Information Matrix when Using the EM Algorithm", J. R. Stat. Soc. B 44
    (1982) 226-233: information is that of the whole less what is missing.
    """
    task, worker, label, k = ballots.task, ballots.worker, ballots.label, ballots.classes
    known = np.full(ballots.tasks, -1, np.int32) if gold is None else gold
    cells = task.astype(np.intp) * k + label
    is_gold = known[task] >= 0
    right_gold = (known[task] == label).astype(np.float64)
    counts = np.ones(ballots.workers) if voters is None else voters.astype(np.float64)
    votes_of = counts[worker]
    compared = is_gold | (np.bincount(task, weights=votes_of, minlength=ballots.tasks)[task] > votes_of)
    shares = np.log((np.bincount(label, weights=votes_of, minlength=k) + 1.0) / (votes_of.sum() + k))
    judged = np.bincount(worker, weights=compared, minlength=ballots.workers)
    skill = np.full(ballots.workers, RIGHT / (RIGHT + WRONG))
    for _ in range(ROUNDS):
        sure = np.clip(skill, 1.0 / k, SUREST)
        gain = np.log(sure * max(1, k - 1) / (1.0 - sure)) if k > 1 else np.zeros(ballots.workers)
        gain = gain * counts
        own = gain[worker]
        scores = shares + np.bincount(cells, weights=own, minlength=ballots.tasks * k).reshape(ballots.tasks, k)
        votes = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        said = votes.reshape(-1)[cells]
        without = said * np.exp(-own)
        others = np.maximum(votes.sum(axis=1)[task] - said, 0.0)
        agreed = np.where(is_gold, right_gold, without / np.maximum(others + without, np.finfo(np.float64).tiny))
        mine = np.clip(skill[worker], LEAST, SUREST)
        right = agreed * mine / (agreed * mine + (1.0 - agreed) * (1.0 - mine) / max(1, k - 1))
        found = np.bincount(worker, weights=right * compared, minlength=ballots.workers) + RIGHT
        found /= judged + RIGHT + WRONG
        moved = float(np.abs(found - skill).max(initial=0.0))
        skill = found
        if moved < TOLERANCE:
            break
    tells = np.zeros(len(ballots))
    measured = Peers(ballots, agreed, compared, scores, gain, known, right, tells)
    (some,) = np.nonzero(compared)
    for start in range(0, len(some), CHUNK):
        rows = some[start : start + CHUNK]
        truths, mine = measured.truths(rows), np.clip(skill[worker[rows], None], LEAST, SUREST)
        apart = (1.0 - truths) / max(1, k - 1)
        tells[rows] = 1.0 - (truths * apart / (mine * truths + (1.0 - mine) * apart)).sum(axis=1)
    return measured
