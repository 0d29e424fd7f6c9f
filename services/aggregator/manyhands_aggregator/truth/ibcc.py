"""Bayesian confusion matrices: Dawid and Skene's model with priors, and with what is not known for sure kept so."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Ints
from manyhands_aggregator.truth.inferred import Inferred, pinned, shares
from manyhands_aggregator.truth.special import digamma
from manyhands_aggregator.truth.sums import Choices, softmax


def ibcc(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    right: float = 4.0,
    wrong: float = 1.0,
    frequency: float = 1.0,
    iterations: int = 500,
    tolerance: float = 1e-3,
) -> Inferred:
    """A confusion matrix for each worker with a Dirichlet prior on each row, by mean-field variational inference.

    ``right`` and ``wrong`` are the judgments counted beforehand on and off the diagonal of every matrix, ``frequency``
    the tasks counted beforehand for every class. It ends when no probability of a task moves by ``tolerance``. Time
    O(n K) an iteration, memory O(n + (T + P) K) with P pairs of a worker and a label it has used.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: H.-C. Kim, Z. Ghahramani, "Bayesian Classifier Combination", AISTATS 2012; E. Simpson, S. Roberts,
    I. Psorakis, A. Smith, "Dynamic Bayesian Combination of Multiple Imperfect Classifiers", 2013, section 3.
    """
    choices, classes = Choices.of(ballots), ballots.classes
    beliefs = np.ascontiguousarray(pinned(shares(ballots.votes().astype(np.float64)), gold).T)
    at = np.arange(len(choices.worker))
    rounds = 0
    while True:
        counts = choices.over_choices(beliefs)
        total = choices.over_workers(counts) + (right + (classes - 1) * wrong)
        counts += wrong
        counts[choices.label, at] += right - wrong
        if rounds == iterations or not len(ballots):
            break
        rounds += 1
        weight = digamma(counts) - digamma(total).take(choices.worker, axis=1)
        logits = choices.over_tasks(weight)
        logits += digamma(frequency + beliefs.sum(axis=1))[:, None]
        found = pinned(softmax(logits).T, gold).T
        moved = np.abs(found - beliefs).max()
        beliefs = found
        if moved < tolerance:
            break
    confusion = choices.matrices(counts, lambda: wrong + (right - wrong) * np.eye(classes))
    posterior = np.ascontiguousarray(beliefs.T)
    expected = np.bincount(ballots.worker, weights=posterior[ballots.task, ballots.label], minlength=ballots.workers)
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    skill = (expected + right) / (said + right + (classes - 1) * wrong)
    return Inferred(posterior, skill=skill, confusion=confusion, iterations=rounds)
