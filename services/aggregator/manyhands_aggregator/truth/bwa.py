"""Bayesian weighted average: votes weigh by how near their workers have been to the averages."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, Inferred, pinned, shares
from manyhands_aggregator.truth.sums import tally

#: Rounds after which it ends if it has not settled.
ROUNDS = 500


def bwa(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    strength: float = 15.0,
    towards: float = 1.0,
    tolerance: float = 1e-3,
    doubted: bool = False,
) -> Inferred:
    """Each class by itself is a number to be measured, 1 or 0, and each worker an instrument of its own precision.

    The estimate of a task is the mean of what its workers said, weighed by their precisions, with the mean of all tasks
    as one more judgment of weight ``towards``. A worker's precision is that of its judgments and of ``strength`` more
    with the error of the crowd. The posterior keeps something of the shares of votes, and seldom overstates. It ends
    when no estimate moves by ``tolerance`` of itself. Time O(n K) an iteration, memory O(n + T K).

    The paper takes the estimates for the truth. Where tasks have three or four judgments, one worker who has judged
    most of them may then be borne out by nobody but itself, weigh hundreds of times what others do, and decide alone.
    ``doubted`` counts the variance of each estimate as error of its judgments too, as variational inference does:
    then nobody comes to weigh more than those who bear it out allow.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: Y. Li, B. I. P. Rubinstein, T. Cohn, "Truth Inference at Scale: A Bayesian Model for Adjudicating Highly
    Redundant Crowd Annotations", WWW 2019.
    """
    task, worker = ballots.task.astype(np.intp), ballots.worker.astype(np.intp)
    said = np.bincount(worker, minlength=ballots.workers)
    votes = np.bincount(task, minlength=ballots.tasks)
    share = shares(ballots.votes().astype(np.float64))
    found = np.zeros_like(share)
    known = None if gold is None else gold != UNKNOWN
    rounds = 0
    for label in range(ballots.classes if len(ballots) else 0):
        chosen = (ballots.label == label).astype(np.float64)
        estimate = share[:, label].copy()
        # what the crowd's judgments err by, about four times too little if the votes are taken for the truth
        error = strength * (votes @ (estimate * (1 - estimate))) / len(ballots) * 4 * (1 - 1 / ballots.classes)
        variance: Floats = np.zeros(ballots.tasks)
        for step in range(1, ROUNDS + 1):
            if known is not None and gold is not None:
                estimate[known] = gold[known] == label
                variance[known] = 0.0
            apart = np.bincount(worker, (estimate[task] - chosen) ** 2 + variance[task], ballots.workers)
            precision = ((strength + said) / np.maximum(error + apart, 1e-12))[worker]
            heavy = towards * estimate.mean() + np.bincount(task, precision * chosen, ballots.tasks)
            total = tally(task, precision, ballots.tasks) + towards
            last, estimate = estimate, heavy / total
            if doubted:
                np.reciprocal(total, out=variance)
            rounds = max(rounds, step)
            if (np.abs(estimate - last) <= 1e-8 + tolerance * np.abs(estimate)).all():
                break
        found[:, label] = estimate
    posterior = pinned(shares(found), gold)
    return Inferred(posterior, skill=_agreement(ballots, posterior, strength), iterations=rounds)


def _agreement(ballots: Ballots, posterior: Floats, strength: float) -> Floats:
    right = np.bincount(ballots.worker, posterior[ballots.task, ballots.label], ballots.workers)
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    usual = right.sum() / len(ballots) if len(ballots) else 0.5
    found: Floats = (right + strength * usual) / (said + strength)
    return found
