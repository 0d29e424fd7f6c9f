"""What is known of a task apart from one worker's judgment of it: what that judgment is measured against.

A worker's own vote must not count for the worker: of three votes it would make a guess look right twice as often as it
is. So each judgment is compared with the truth as gold has it, or else as all the other judgments of its task let it
appear, under the one-coin model of :func:`manyhands_aggregator.truth.dawid_skene.one_coin`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints
from manyhands_aggregator.truth.belief import RIGHT, WRONG

#: No worker is taken to be right more often than this: a vote must not outweigh all others.
SUREST = 0.99
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
    """

    ballots: Ballots
    agreed: Floats
    compared: NDArray[np.bool_]
    scores: Floats
    gain: Floats
    gold: Ints

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
        right = np.bincount(worker, weights=agreed * compared, minlength=ballots.workers)
        found = (right + RIGHT) / (judged + RIGHT + WRONG)
        moved = float(np.abs(found - skill).max(initial=0.0))
        skill = found
        if moved < TOLERANCE:
            break
    return Peers(ballots, agreed, compared, scores, gain, known)
