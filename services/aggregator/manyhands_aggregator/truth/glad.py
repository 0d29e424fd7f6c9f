"""GLAD: workers have abilities, tasks have difficulties."""

from __future__ import annotations

import math

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import Inferred, pinned, shares
from manyhands_aggregator.truth.sums import softmax, tally

#: Steps of Newton's method for abilities and for difficulties in each round; they begin where the last round ended.
STEPS = 3


def glad(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
    prior: tuple[float, float] = (1.0, 1.0),
) -> Inferred:
    """Worker w is right on task t with probability 1 / (1 + exp(-a_w b_t)), and else says any other class alike.

    Abilities a and the logarithms of b, the tasks' easiness, have normal priors of variance 1 about ``prior``. Where
    the paper climbs along the gradient, we take Newton's steps, in turn for all abilities and for all tasks: given
    the others, each is a problem of one number. It ends when no probability of a task moves by ``tolerance``. Time
    and memory O(n + T K) an iteration.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: J. Whitehill, P. Ruvolo, T. Wu, J. Bergsma, J. Movellan, "Whose Vote Should Count More", NIPS 2009.
    """
    task, worker = ballots.task.astype(np.intp), ballots.worker.astype(np.intp)
    cells = task * ballots.classes + ballots.label
    posterior = pinned(shares(ballots.votes().astype(np.float64)), gold)
    ability, ease = np.full(ballots.workers, prior[0]), np.full(ballots.tasks, prior[1])
    rounds = 0
    while rounds < iterations and len(ballots) and ballots.classes > 1:
        rounds += 1
        right = posterior.reshape(-1).take(cells)
        for _ in range(STEPS):
            times = np.exp(ease)[task]
            chance = _logistic(ability[worker] * times)
            slope = tally(worker, (right - chance) * times, ballots.workers) - (ability - prior[0])
            bend = tally(worker, chance * (1 - chance) * times * times, ballots.workers) + 1.0
            ability = ability + np.clip(slope / bend, -1.0, 1.0)
            product = ability[worker] * times
            chance = _logistic(product)
            slope = tally(task, (right - chance) * product, ballots.tasks) - (ease - prior[1])
            bend = tally(task, chance * (1 - chance) * product * product, ballots.tasks) + 1.0
            ease = ease + np.clip(slope / bend, -1.0, 1.0)
        # a vote moves the odds of its class by chance / (1 - chance) x (K - 1)
        weight = ability[worker] * np.exp(ease)[task] + math.log(ballots.classes - 1)
        logits = tally(cells, weight, ballots.tasks * ballots.classes).reshape(ballots.tasks, ballots.classes)
        found = pinned(np.ascontiguousarray(softmax(logits.T.copy()).T), gold)
        moved = np.abs(found - posterior).max()
        posterior = found
        if moved < tolerance:
            break
    chance = _logistic(ability[worker] * np.exp(ease)[task])
    said = np.bincount(worker, minlength=ballots.workers)
    sums = tally(worker, chance, ballots.workers)
    usual = _logistic(np.full(ballots.workers, prior[0] * math.exp(prior[1])))
    return Inferred(posterior, skill=np.divide(sums, said, out=usual, where=said > 0), iterations=rounds)


def _logistic(x: Floats) -> Floats:
    found: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return found
