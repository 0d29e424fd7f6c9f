"""Who is too fast to have looked: a worker's typical time against the crowd's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats

#: Who does not look takes about this share of the time of those who do.
HASTE = 0.2
#: Workers who look differ by a factor of at least e^0.35 = 1.4, however alike those of this job are.
LEAST_SPREAD = 0.35
#: What speed alone can say, for or against, as the logarithm of a likelihood ratio: a factor of 20. Experts are fast.
MOST = 3.0
#: No judgment counts as quicker than this (seconds): a clock's tick is no time.
TICK = 1e-3


class Pace(NamedTuple):
    """Of each worker, (W,): the typical seconds a judgment takes, as a share of the crowd's; nan without times.

    ``evidence``: the logarithm of how much likelier that is of one who does not look, -MOST..MOST, 0 without times.
    """

    share: Floats
    evidence: Floats


def pace(ballots: Ballots, seconds: Floats) -> Pace:
    """How fast workers are; ``seconds`` (n,) has what each judgment took, nan where nobody knows.

    A worker's pace is the geometric mean of its times; the crowd's is the median over workers (one worker one vote, so
    a third of spammers do not move it by much). Both kinds of workers are taken to be log-normal around their kind's
    pace, with the spread of the crowd (from the median deviation): a worker with few judgments counts as less certain.
    """
    known = seconds > 0
    logs = np.log(np.maximum(seconds[known], TICK))
    worker = ballots.worker[known]
    counts = np.bincount(worker, minlength=ballots.workers)
    there = counts > 0
    if not there.any():
        return Pace(np.full(ballots.workers, np.nan), np.zeros(ballots.workers))
    n = np.maximum(counts, 1)
    mean = np.bincount(worker, weights=logs, minlength=ballots.workers) / n
    within = float(((logs - mean[worker]) ** 2).sum() / max(1, len(logs) - int(there.sum())))
    middle = float(np.median(mean[there]))
    apart = mean - middle
    spread = max(LEAST_SPREAD, 1.4826 * float(np.median(np.abs(apart[there]))))
    variance = spread**2 + within / n
    hasty = float(np.log(HASTE))
    evidence = np.clip((apart * hasty - hasty**2 / 2) / variance, -MOST, MOST)
    return Pace(np.where(there, np.exp(apart), np.nan), np.where(there, evidence, 0.0))
