"""Confusion matrices that lean on each other, and are believed as far as held-out judgments bear them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, Inferred, pinned, shares
from manyhands_aggregator.truth.special import digamma
from manyhands_aggregator.truth.sums import Choices, softmax, tally

#: Correlations that are tried: how alike the mistakes of two workers on one task are.
CORRELATIONS = (0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
#: Judgments of an average worker, and guesses of the average habit, that are counted beforehand for each worker.
USUAL = 4.0
#: Judgments that are held out at most, and how many are looked at in one go.
HELD_OUT, CHUNK = 1 << 18, 1 << 16
#: It has settled also when the tasks move by this share of the tolerance in the mean.
STILL = 0.01
#: How much the shares of votes count in the frequencies of classes, where what is believed of the tasks counts 1. They
#: hold frequencies from feeding on themselves; but mistaken votes are no tasks of their class.
BEFOREHAND = 0.1
#: Bounds of what each row of a worker's matrix counts beforehand, in judgments.
LEAST, MOST = 0.5, 200.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """What is believed of the workers, as what each counts beforehand for its matrix."""

    guesses: Floats  # (W,) how often a worker guesses
    habit: Floats  # (P,) how often it says this when it guesses
    common: Floats  # (K,) how often the crowd does
    leaning: Floats  # (W,) how much of its habit is the crowd's
    rows: Floats  # (K, P) the probability of a choice in each class that follows from these
    strength: float  # judgments that each row counts for
    sums: Floats  # (K, P) the digamma function of these and of the judgments expected


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the model has come to. Logarithms are of independent judgments; tables have a row for each class."""

    beliefs: Floats  # (K, T)
    frequency: Floats  # (K,) logarithms
    evidence: Floats  # (K, T) logarithms
    weight: Floats  # (K, P) what a choice adds to the evidence
    counts: Floats  # (K, P) expected judgments, with those counted beforehand
    totals: Floats  # (K, W)
    crowd: Crowd
    rounds: int


def pooled(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    correlation: float | None = None,
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> Inferred:
    """A confusion matrix for each worker, whose prior is that worker's own share of guesses and habit of guessing.

    Three levels: a worker guesses with a probability that leans on the crowd's; when it guesses, it says what it mostly
    says when it guesses, which leans on the crowd's habit (as in MACE); and its confusion matrix leans on the one that
    follows from these two (as in IBCC), the more the better they explain the crowd. Workers of few judgments are
    understood by the upper levels, workers of many by their matrices.

    Judgments of one task are not independent: hard tasks and tempting mistakes make posteriors that multiply them
    overstate. With ``correlation`` r the evidence of n judgments counts as that of n / (1 + (n - 1) r). If it is None,
    that of ``CORRELATIONS`` is taken with which each judgment is best foretold from all others of its task.

    Class frequencies count ``BEFOREHAND`` of the shares of votes beforehand. Mean-field variational inference from the
    shares of votes; ends when no probability of a task moves by ``tolerance``. Time O(n K) an iteration, memory
    O(n + (T + P) K) with P pairs of a worker and a label it has used.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Sources: H.-C. Kim, Z. Ghahramani, "Bayesian Classifier Combination", AISTATS 2012; D. Hovy et al., "Learning Whom
    to Trust with MACE", NAACL 2013; T. P. Minka, "Estimating a Dirichlet distribution", 2000 (how much the matrices
    lean); L. Kish, "Survey Sampling", 1965 (the design effect: what correlated judgments are worth).
    """
    choices = Choices.of(ballots)
    votes = np.bincount(choices.task, minlength=ballots.tasks)
    start = np.ascontiguousarray(pinned(shares(ballots.votes().astype(np.float64)), gold).T)
    taken = correlation or 0.0
    fit = _fit(choices, votes, start, taken, gold, iterations, tolerance)
    for _ in range(3 if correlation is None and len(ballots) else 0):
        found = _best(choices, votes, fit, gold)
        if found == taken:
            break
        taken = found
        fit = _fit(choices, votes, start, taken, gold, iterations, tolerance, fit)
    posterior = np.ascontiguousarray(fit.beliefs.T)
    right = tally(ballots.worker, posterior[ballots.task, ballots.label], ballots.workers)
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    usual = right.sum() / len(ballots) if len(ballots) else 0.5
    skill = (right + USUAL * usual) / (said + USUAL)
    return Inferred(posterior, skill=skill, confusion=_matrices(choices, fit), iterations=fit.rounds)


def _fit(
    choices: Choices,
    votes: Indices,
    start: Floats,
    correlation: float,
    gold: Ints | None,
    iterations: int,
    tolerance: float,
    last: Fit | None = None,
) -> Fit:
    """The model with this correlation, from the shares of votes or from where it came to with another."""
    worth = 1.0 / (1.0 + np.maximum(votes - 1, 0) * correlation)
    shares_of_votes = BEFOREHAND * start.sum(axis=1)
    beliefs, crowd, rounds = (start, None, 0) if last is None else (last.beliefs, last.crowd, 0)
    while True:
        rounds += 1
        counts = choices.over_choices(beliefs)
        totals = choices.over_workers(counts)
        crowd = _crowd(choices, counts, totals, crowd, learn=rounds > 2)
        counts = counts + crowd.strength * crowd.rows
        totals = totals + crowd.strength
        weight = crowd.sums - digamma(totals).take(choices.worker, axis=1)
        evidence = choices.over_tasks(weight)
        frequency = digamma(shares_of_votes + beliefs.sum(axis=1) + LEAST)
        found = pinned(softmax((evidence + frequency[:, None]) * worth).T, gold).T
        moved = np.abs(found - beliefs).max(axis=0, initial=0.0)
        beliefs = found
        if moved.max(initial=0.0) < tolerance or moved.mean() < tolerance * STILL or rounds >= iterations:
            return Fit(beliefs, frequency, evidence, weight, counts, totals, crowd, rounds)


def _crowd(choices: Choices, counts: Floats, totals: Floats, last: Crowd | None, learn: bool) -> Crowd:
    """What the workers are believed to be, from the judgments expected of each choice in each class (K, P)."""
    at = np.arange(len(choices.worker))
    said, right = counts.sum(axis=0), counts[choices.label, at]
    if last is None:
        guessed = 0.5 * said
    else:  # what is right may be guessed all the same
        by_luck = last.guesses.take(choices.worker) * last.habit / last.rows[choices.label, at]
        guessed = said - right + right * np.minimum(1.0, by_luck)
    guesses_of = tally(choices.worker, guessed, choices.workers)
    said_by = tally(choices.worker, said, choices.workers)
    common: Floats = tally(choices.label, guessed, choices.classes) + 1.0
    common /= common.sum()
    leaning: Floats = USUAL / (guesses_of + USUAL)
    habit = guessed / (guesses_of + USUAL).take(choices.worker)
    habit += (leaning.take(choices.worker)) * common.take(choices.label)
    usual = (guesses_of.sum() + 1.0) / (said_by.sum() + 2.0)
    guesses = (guesses_of + USUAL * usual) / (said_by + USUAL)
    rows = np.tile(guesses.take(choices.worker) * habit, (choices.classes, 1))
    rows[choices.label, at] += 1.0 - guesses.take(choices.worker)
    np.maximum(rows, 1e-4, out=rows)
    strength = USUAL if last is None else last.strength
    sums = digamma(strength * rows + counts)
    if learn:  # one step of Minka's fixed point; but for the own label the rows of a choice are alike
        own = rows[choices.label, at]
        gained = np.sum(rows * sums) - own @ digamma(strength * own)
        other = rows.sum(axis=0) - own
        gained -= other @ digamma(strength * np.maximum(guesses.take(choices.worker) * habit, 1e-4))
        all_gained = np.sum(digamma(strength + totals) - digamma(np.array(strength)))
        strength = float(np.clip(strength * gained / max(all_gained, 1e-9), LEAST, MOST))
    return Crowd(guesses, habit, common, leaning, rows, strength, sums)


def _best(choices: Choices, votes: Indices, fit: Fit, gold: Ints | None) -> float:
    """The correlation with which judgments held out, one at a time, are best foretold from the others of their task."""
    open_ = np.ones(len(choices.task), dtype=np.bool_) if gold is None else (gold == UNKNOWN)[choices.task]
    rows = np.flatnonzero(open_ & (votes[choices.task] > 1))
    rows = rows[:: max(1, -(-len(rows) // HELD_OUT))]
    foretold = np.zeros(len(CORRELATIONS))
    for begin in range(0, len(rows), CHUNK):
        chunk = rows[begin : begin + CHUNK]
        task, choice = choices.task[chunk], choices.choice[chunk]
        # without itself a judgment is not in its task's evidence, nor in what is known of its worker
        logits = fit.evidence[:, task] - fit.weight[:, choice] + fit.frequency[:, None]
        share = fit.beliefs[:, task]
        says = np.maximum(fit.counts[:, choice] - share, 1e-3)
        says /= np.maximum(fit.totals[:, choices.worker[choice]] - share, 1e-2)
        for number, correlation in enumerate(CORRELATIONS):
            others = softmax(logits / (1.0 + (votes[task] - 2) * correlation))
            foretold[number] += np.log(np.maximum((others * says).sum(axis=0), 1e-12)).sum()
    return CORRELATIONS[int(foretold.argmax())]


def _matrices(choices: Choices, fit: Fit) -> Floats | None:
    """The confusion matrices (W, K, K), with what is counted beforehand of labels that a worker has not used."""
    crowd = fit.crowd

    def unused() -> Floats:
        found = np.tile((crowd.guesses * crowd.leaning)[:, None, None] * crowd.common, (1, choices.classes, 1))
        found += np.eye(choices.classes) * (1.0 - crowd.guesses)[:, None, None]
        return crowd.strength * found

    return choices.matrices(fit.counts, unused)
