"""The default: methods that fail differently, averaged, and stated as surely as they deserve."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.bwa import bwa
from manyhands_aggregator.truth.ibcc import ibcc
from manyhands_aggregator.truth.inferred import UNKNOWN, Inferred, pinned
from manyhands_aggregator.truth.pooled import pooled

#: Powers that posteriors are raised to at the least and at the most, and halvings until one is found.
POWERS, HALVINGS = (0.25, 8.0), 25
#: No class is quite impossible.
FLOOR = 1e-9
#: How near the confidence comes to that of the pooled model, from the mean's own.
NEARER = 0.75
#: From so many judgments a task on estimates are taken for the truth when workers are measured by them.
SEVERAL = 5
#: The share of tasks where the crowd says one thing and the truth is another, for all that judgments can tell.
AGAINST_ALL = 0.04


def blend(ballots: Ballots, /, *, gold: Ints | None = None) -> Inferred:
    """The mean of the posteriors of ``pooled`` and ``bwa``, raised to a power; skills and matrices are ``pooled``'s.

    Confusion matrices win where workers have habits or classes are uneven, and go astray together where a few workers
    share their mistakes; the weighted average never goes far from the votes. With fewer than ``SEVERAL`` judgments a
    task the average is that with doubt, or else one busy worker could decide alone.

    Where classes are two, half of what counts as ``pooled``'s is the posterior of ``ibcc`` with ``two_kinds``, stated
    as surely: of more classes a matrix of two kinds has too many rows.

    The mean of those that disagree understates, so it is raised to the power with which its mean confidence lies three
    quarters of the way to that of ``pooled``, which is what held-out judgments bear out. They cannot tell of mistakes
    that everybody makes: of ``AGAINST_ALL`` of the tasks nothing is said, so no confidence exceeds 0.98 of two classes,
    or 0.964 of ten. docs/truth.md has the figures.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Sources: those of the methods; J. A. Hoeting and others, "Bayesian Model Averaging", Statistical Science 14 (1999).
    """
    few = len(ballots) < SEVERAL * len(np.unique(ballots.task))
    first, second = pooled(ballots, gold=gold), bwa(ballots, gold=gold, doubted=few)
    found = np.zeros_like(first.posterior)
    open_ = np.ones(ballots.tasks, dtype=np.bool_) if gold is None else gold == UNKNOWN
    if open_.any():
        matrices = first.posterior[open_]
        sure = matrices.max(axis=1).mean()
        if ballots.classes == 2:
            kinds = ibcc(ballots, gold=gold, two_kinds=True).posterior[open_]
            matrices = 0.5 * (matrices + _stated(kinds, sure))
        mean = 0.5 * (matrices + second.posterior[open_])
        own = mean.max(axis=1).mean()
        stated = _stated(mean, own + NEARER * (sure - own))
        found[open_] = (1.0 - AGAINST_ALL) * stated + AGAINST_ALL / ballots.classes
    return Inferred(pinned(found, gold), skill=first.skill, confusion=first.confusion, iterations=first.iterations)


def _stated(posterior: Floats, confidence: float) -> Floats:
    """The posterior (T, K) raised to the power with which its mean confidence is as wanted."""
    logits = np.log(np.maximum(posterior, FLOOR))
    logits -= logits.max(axis=1, keepdims=True)
    low, high = np.log(POWERS)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        # the likeliest class has the logit 0
        reached = (1.0 / np.exp(np.exp(middle) * logits).sum(axis=1)).mean()
        low, high = (middle, high) if reached < confidence else (low, middle)
    found: Floats = np.exp(np.exp(0.5 * (low + high)) * logits)
    found /= found.sum(axis=1, keepdims=True)
    return found
