"""Gold that a job finds by itself: answers beyond doubt, against which everybody can be measured."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Ints
from manyhands_aggregator.truth.peers import CHUNK, Peers

#: How probable an answer must be, whichever of its judgments is left out, and how many must bear it out at least.
BEYOND_DOUBT, BEARERS = 0.99, 3


def promoted(ballots: Ballots, peers: Peers, *, probability: float = BEYOND_DOUBT, bearers: int = BEARERS) -> Ints:
    """The truths that are known and those beyond doubt, shape (T,), -1 for all others.

    Beyond doubt is an answer to which all the *other* judgments of the task give at least ``probability``, whichever
    judgment one looks at, and which at least ``bearers`` workers gave. So no worker is measured against its own vote:
    without it the answer is beyond doubt all the same. What is known stays as it is.
    """
    truth = peers.gold.copy()
    least = np.full(ballots.tasks, np.inf)
    best = np.asarray(peers.scores.argmax(axis=1), np.int32)
    for start in range(0, len(ballots), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(ballots)))
        task = ballots.task[rows]
        without = peers.truths(rows)[np.arange(len(rows)), best[task]]
        np.minimum.at(least, task, without)
    counts = (peers.gain > 0)[ballots.worker] & (ballots.label == best[ballots.task])
    bore = np.bincount(ballots.task, weights=counts, minlength=ballots.tasks)
    found = (truth < 0) & (least >= probability) & (least <= 1.0) & (bore >= bearers)
    truth[found] = best[found]
    return truth
