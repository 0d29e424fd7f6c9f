"""Who gets better or worse: the change of a worker's share of right judgments from the first to the last."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.peers import Peers

#: Before anything is seen, a worker's change is taken to be 0, give or take this (a standard deviation).
USUAL = 0.2


class Drift(NamedTuple):
    """Of each worker, (W,): the change from its first judgment to its last, -1..1, and its standard deviation."""

    change: Floats
    deviation: Floats


def drift(ballots: Ballots, peers: Peers, *, rows: int = 1) -> Drift:
    """How workers change; the rows must be in the order in which they were given.

    A straight line through right (1) and wrong (0) over the worker's own count of judgments, by least squares, drawn
    towards 0 as far as its error is large: with few judgments it says nothing, and nothing begins at a number of them.
    Judgments count as far as the others are sure of the truth.
    Where a judgment has several ``rows``, they count as one.
    """
    order, begins = ballots.by_worker()
    counts = np.diff(begins)
    place = np.arange(len(order)) - np.repeat(begins[:-1], counts)
    when = (place + 0.5) / np.repeat(np.maximum(counts, 1), counts) - 0.5
    kept = peers.compared[order]
    worker, when, row = ballots.worker[order][kept], when[kept], order[kept]
    right, tells = peers.right[row], peers.tells[row]

    def total(of: Floats) -> Floats:
        return np.asarray(np.bincount(worker, weights=of, minlength=ballots.workers))

    tiny = np.finfo(np.float64).tiny
    middle = total(tells * when) / np.maximum(total(tells), tiny)
    off = when - middle[worker]
    spread = total(tells * off * off)
    n = total(np.ones(len(worker)))
    # what is above the worker's own share is the slope of the likelihood where others are unsure of the truth
    slope = total(off * (right - (total(right) / np.maximum(n, 1.0))[worker])) / np.maximum(spread, tiny)
    # a share of 0 or 1 leaves no errors to be seen: two judgments more, one of them right
    smooth = (total(right) + 1.0) / (n + 2.0)
    error = rows * smooth * (1.0 - smooth) / np.maximum(spread, tiny)
    kept_of = USUAL**2 / (USUAL**2 + error)
    return Drift(np.clip(slope * kept_of, -1.0, 1.0), np.sqrt(kept_of * error))
