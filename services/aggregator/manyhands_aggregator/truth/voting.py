"""Majority, and majority with votes that weigh as much as their workers have agreed with it."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import Inferred, level, pinned, shares


def majority(ballots: Ballots, /, *, gold: Ints | None = None) -> Inferred:
    """Each class has the share of its votes; a task without a vote has no preference.

    The skill of a worker is the share of its judgments that the majority (or gold) agrees with; where m classes are
    level each counts 1/m. A further judgment never lowers its class. Shapes and errors: :class:`Method`.

    Source: N. de Condorcet, "Essai sur l'application de l'analyse a la probabilite des decisions", 1785.
    """
    posterior = pinned(shares(ballots.votes().astype(np.float64)), gold)
    return Inferred(posterior, skill=agreement(ballots, posterior))


def wawa(ballots: Ballots, /, *, gold: Ints | None = None) -> Inferred:
    """Worker agreement with aggregate: the majority, in which a vote then weighs its worker's agreement with it.

    A further judgment never lowers its class: of those who judged the task it makes nobody weigh less who says the
    same, and nobody more who does not. Shapes and errors: :class:`Method`.

    Source: Appen's "Worker Agreement With Aggregate"; ``Wawa`` in crowd-kit (https://crowd-kit.readthedocs.io).
    """
    skill = agreement(ballots, pinned(shares(ballots.votes().astype(np.float64)), gold))
    return Inferred(pinned(weighted(ballots, skill), gold), skill=skill, iterations=1)


def zero_based_skill(
    ballots: Ballots, /, *, gold: Ints | None = None, iterations: int = 100, halved_every: int = 20
) -> Inferred:
    """Votes weigh their workers' skills, which go step by step to the agreement with what the votes say.

    The first step goes all the way, and steps halve every ``halved_every`` of them.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: ``ZeroBasedSkill`` in crowd-kit (https://crowd-kit.readthedocs.io).
    """
    skill = np.full(ballots.workers, 1.0 / ballots.classes + 1e-5)
    for step in range(1, iterations + 1):
        rate = 0.5 ** (step // halved_every)
        skill = skill + rate * (agreement(ballots, pinned(weighted(ballots, skill), gold)) - skill)
    return Inferred(pinned(weighted(ballots, skill), gold), skill=skill, iterations=iterations)


def weighted(ballots: Ballots, weight: Floats) -> Floats:
    """Each class's share (T, K) of the votes where a vote weighs ``weight`` (W,); all the same where all weigh 0."""
    cells = ballots.task.astype(np.intp) * ballots.classes + ballots.label
    sums = np.bincount(cells, weights=weight[ballots.worker], minlength=ballots.tasks * ballots.classes)
    heavy = sums.reshape(ballots.tasks, ballots.classes)
    return shares(np.where(heavy.sum(axis=1, keepdims=True) > 0, heavy, ballots.votes()))


def agreement(ballots: Ballots, posterior: Floats) -> Floats:
    """The share (W,) of each worker's judgments that are the likeliest class; 1/m where m classes are level.

    A worker who has said nothing has 0.5.
    """
    credit = level(posterior) / level(posterior).sum(axis=1, keepdims=True)
    said = np.bincount(ballots.worker, minlength=ballots.workers)
    right = np.bincount(ballots.worker, weights=credit[ballots.task, ballots.label], minlength=ballots.workers)
    found: Floats = np.divide(right, said, out=np.full(ballots.workers, 0.5), where=said > 0)
    return found
