"""Bayesian confusion matrices: Dawid and Skene's model with priors, and with what is not known for sure kept so."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, Inferred, pinned, shares
from manyhands_aggregator.truth.special import digamma
from manyhands_aggregator.truth.sums import Choices, softmax

#: How clear a task is taken to be at first, at the least and at the most.
CLEAR = (0.05, 0.95)


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
    two_kinds: bool = False,
) -> Inferred:
    """A confusion matrix for each worker with a Dirichlet prior on each row, by mean-field variational inference.

    ``right`` and ``wrong`` are the judgments counted beforehand on and off the diagonal of every matrix, ``frequency``
    the tasks counted beforehand for every class. It ends when no probability of a task moves by ``tolerance``. Time
    O(n K) an iteration, memory O(n + (T + P) K) with P pairs of a worker and a label it has used.

    With ``two_kinds`` the tasks of a class are of two kinds and a matrix has a row for each: that some workers err on
    the same tasks is then no sign of the other class. It begins halfway from the votes to where one kind ends, with
    tasks as clear as the votes for their first class are many, and the rest of each unclear. Rows have half as many
    judgments: it pays where classes are two.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: H.-C. Kim, Z. Ghahramani, "Bayesian Classifier Combination", AISTATS 2012; E. Simpson, S. Roberts,
    I. Psorakis, A. Smith, "Dynamic Bayesian Combination of Multiple Imperfect Classifiers", 2013, section 3; Y. Li,
    B. I. P. Rubinstein, T. Cohn, "Exploiting Worker Correlation for Label Aggregation in Crowdsourcing", ICML 2019
    (the kinds; there they are ten, begin at random, and the best of 40 runs is kept).
    """
    choices, classes = Choices.of(ballots), ballots.classes
    beliefs = np.ascontiguousarray(shares(ballots.votes().astype(np.float64)).T)
    if two_kinds and classes > 1:
        clear = np.clip((beliefs.max(axis=0) - 1 / classes) / (1 - 1 / classes), *CLEAR)
        one_kind = ibcc(ballots, gold=gold, right=right, wrong=wrong, frequency=frequency, iterations=iterations)
        beliefs = 0.5 * (beliefs + one_kind.posterior.T)
        beliefs = np.concatenate([beliefs * clear, beliefs * (1 - clear)])
    kinds = len(beliefs) // classes
    beliefs = softmax(_barred(np.log(np.maximum(beliefs, 1e-300)), gold, classes))
    at = np.arange(len(choices.worker))
    rounds = 0
    while True:
        counts = choices.over_choices(beliefs)
        total = choices.over_workers(counts) + (right + (classes - 1) * wrong)
        counts += wrong
        for kind in range(kinds):
            counts[kind * classes + choices.label, at] += right - wrong
        if rounds == iterations or not len(ballots):
            break
        rounds += 1
        weight = digamma(counts) - digamma(total).take(choices.worker, axis=1)
        logits = choices.over_tasks(weight)
        logits += digamma(frequency + beliefs.sum(axis=1))[:, None]
        found = softmax(_barred(logits, gold, classes))
        moved = np.abs(found - beliefs).max()
        beliefs = found
        if moved < tolerance:
            break
    both = counts.reshape(kinds, classes, -1).sum(axis=0)
    confusion = choices.matrices(both, lambda: kinds * (wrong + (right - wrong) * np.eye(classes)))
    posterior = pinned(np.ascontiguousarray(beliefs.reshape(kinds, classes, -1).sum(axis=0).T), gold)
    expected = np.bincount(ballots.worker, weights=posterior[ballots.task, ballots.label], minlength=ballots.workers)
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    skill = (expected + right) / (said + right + (classes - 1) * wrong)
    return Inferred(posterior, skill=skill, confusion=confusion, iterations=rounds)


def _barred(logits: Floats, gold: Ints | None, classes: int) -> Floats:
    """The logits (kinds x K, T), with nothing left for the classes that a known truth excludes. In place."""
    if gold is not None:
        known = np.flatnonzero(gold != UNKNOWN)
        others = np.arange(len(logits))[:, None] % classes != gold[known]
        logits[:, known] = np.where(others, -np.inf, logits[:, known])
    return logits
