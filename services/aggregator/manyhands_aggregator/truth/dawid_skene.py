"""Dawid and Skene's model: each worker mistakes one class for another with probabilities of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, Inferred, pinned, shares
from manyhands_aggregator.truth.sums import Choices

#: No probability is less: a logarithm must be finite. crowd-kit has the same.
FLOOR = 1e-10


def dawid_skene(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    iterations: int = 100,
    tolerance: float = 1e-5,
    smoothing: float = 0.0,
) -> Inferred:
    """A confusion matrix for each worker and the frequency of each class, by expectation maximisation.

    Begins with the shares of votes, and ends when the mean log-likelihood of a judgment rises by less than
    ``tolerance``. ``smoothing`` is added to each cell of the matrices; without it the result is that of crowd-kit's
    ``DawidSkene``. Time O(n K) an iteration, memory O(n + (T + P) K) with P pairs of a worker and a label it has used.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: A. P. Dawid, A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
    J. R. Stat. Soc. C 28 (1979) 20-28.
    """
    choices = Choices.of(ballots)

    def errors(counts: Floats) -> Floats:
        counts = np.maximum(counts + smoothing, FLOOR)
        total = choices.over_workers(counts)
        if smoothing:  # of the labels that a worker has never used, too
            unused = choices.classes - np.bincount(choices.worker, minlength=choices.workers)
            total += smoothing * unused
        return counts / total.take(choices.worker, axis=1)

    posterior, found, rounds = _expectation_maximisation(ballots, choices, errors, gold, iterations, tolerance)
    confusion = choices.matrices(found, lambda: np.full((ballots.classes, ballots.classes), FLOOR))
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    right = np.bincount(ballots.worker, posterior[ballots.task, ballots.label], ballots.workers)
    skill = np.divide(right, said, out=np.full(ballots.workers, 0.5), where=said > 0)
    return Inferred(posterior, skill=skill, confusion=confusion, iterations=rounds)


def one_coin(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    iterations: int = 100,
    tolerance: float = 1e-5,
    prior: tuple[float, float] = (0.0, 0.0),
) -> Inferred:
    """Each worker is right with a probability of its own, and else says any other class alike.

    ``prior`` are judgments, right and wrong, that are counted for every worker beforehand; without them the result is
    that of crowd-kit's ``OneCoinDawidSkene``. Time and memory as ``dawid_skene``.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: Y. Zhang, X. Chen, D. Zhou, M. I. Jordan, "Spectral Methods Meet EM", JMLR 17 (2016), section 4.
    """
    choices = Choices.of(ballots)
    said = np.bincount(ballots.worker, minlength=ballots.workers).astype(np.float64) + sum(prior)
    others = max(1, ballots.classes - 1)
    at = np.arange(len(choices.worker))

    def skills(counts: Floats) -> Floats:
        right = np.bincount(choices.worker, counts[choices.label, at], choices.workers) + prior[0]
        found: Floats = np.divide(right, said, out=np.full(ballots.workers, 0.5), where=said > 0)
        return found

    def errors(counts: Floats) -> Floats:
        skill = skills(counts).take(choices.worker)
        found = np.tile((1.0 - skill) / others, (choices.classes, 1))
        found[choices.label, at] = skill
        return np.clip(found, FLOOR, 1.0 - FLOOR)

    posterior, _, rounds = _expectation_maximisation(ballots, choices, errors, gold, iterations, tolerance)
    return Inferred(posterior, skill=skills(choices.over_choices(posterior.T)), iterations=rounds)


def _expectation_maximisation(
    ballots: Ballots,
    choices: Choices,
    errors: Callable[[Floats], Floats],
    gold: Ints | None,
    iterations: int,
    tolerance: float,
) -> tuple[Floats, Floats, int]:
    """Posterior (T, K), the errors (K, P) that ``errors`` makes of counts (K, P), and how many rounds it took."""
    posterior = pinned(shares(ballots.votes().astype(np.float64)), gold)
    if not len(ballots):
        return posterior, errors(np.zeros((ballots.classes, 0))), 0
    beliefs = np.ascontiguousarray(posterior.T)
    counts = choices.over_choices(beliefs)
    prior, found, reached, rounds = beliefs.mean(axis=1), errors(counts), -math.inf, 0
    while rounds < iterations:
        rounds += 1
        logits = choices.over_tasks(np.log(found))
        logits += np.log(np.maximum(prior, FLOOR))[:, None]
        beliefs, doubt = _softmax(logits)
        if gold is not None:
            beliefs, doubt = pinned(beliefs.T, gold).T, doubt * (gold == UNKNOWN)
        counts = choices.over_choices(beliefs)
        prior, found = beliefs.mean(axis=1), errors(counts)
        likelihood = (_expected(counts, prior, found) + doubt.sum()) / len(ballots)
        if likelihood - reached < tolerance:
            break
        reached = likelihood
    return np.ascontiguousarray(beliefs.T), found, rounds


def _expected(counts: Floats, prior: Floats, errors: Floats) -> float:
    """The log-likelihood expected of classes and judgments; as in crowd-kit a class counts once for each judgment."""
    return float(np.sum(counts * np.log(errors)) + counts.sum(axis=1) @ np.log(np.maximum(prior, FLOOR)))


def _softmax(logits: Floats) -> tuple[Floats, Floats]:
    """Columns (K, T) of logarithms, normed in place, as probabilities, and the entropy of each, shape (T,)."""
    logits -= logits.max(axis=0)
    found = np.exp(logits)
    total = found.sum(axis=0)
    found /= total
    return found, np.log(total) - np.einsum("kt,kt->t", found, logits)
