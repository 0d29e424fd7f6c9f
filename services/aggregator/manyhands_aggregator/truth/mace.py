"""MACE: a worker either knows, or says what it always says."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import Inferred, pinned, shares
from manyhands_aggregator.truth.special import digamma
from manyhands_aggregator.truth.sums import Choices, softmax, tally


def mace(
    ballots: Ballots,
    /,
    *,
    gold: Ints | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
    guesses: tuple[float, float] = (0.5, 0.5),
    habit: float = 10.0,
) -> Inferred:
    """With a probability of its own a worker guesses, by habits of its own; else it says the truth.

    ``guesses`` are the judgments counted beforehand for every worker, guessed and known, ``habit`` the guesses counted
    beforehand, over all classes. Variational inference as in the paper; where that begins at random and keeps the best
    of several, we begin with the shares of votes, so that the same judgments give the same result. It ends when no
    probability of a task moves by ``tolerance``. Time and memory O(n + T K) an iteration.

    A further judgment may lower its class, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: D. Hovy, T. Berg-Kirkpatrick, A. Vaswani, E. Hovy, "Learning Whom to Trust with MACE", NAACL 2013.
    """
    choices = Choices.of(ballots)
    cells = ballots.task.astype(np.intp) * ballots.classes + ballots.label
    chosen = np.bincount(choices.choice, minlength=len(choices.worker)).astype(np.float64)
    order, _ = ballots.by_task()
    cells = cells[order]
    posterior = pinned(shares(ballots.votes().astype(np.float64)), gold)
    said = np.bincount(ballots.worker, minlength=ballots.workers).astype(np.float64)
    # at first half of what everybody says is guessed
    guess, know = np.full(ballots.workers, 0.5), np.full(ballots.workers, 0.5)
    habits = (chosen + habit / ballots.classes) / (said + habit).take(choices.worker)
    guessed: Floats = 0.5 * said
    rounds = 0
    while rounds < iterations and len(ballots) and ballots.classes > 1:
        rounds += 1
        by_habit = guess.take(choices.worker) * habits
        known = know.take(choices.worker)
        right = posterior.reshape(-1).take(cells)
        # of the judgments that are right some are guessed all the same
        share = (known / (known + by_habit)).take(choices.choice)
        guesses_of = tally(choices.choice, 1.0 - right * share, len(choices.worker))
        guessed = tally(choices.worker, guesses_of, ballots.workers)
        total = digamma(said + sum(guesses))
        guess = np.exp(digamma(guessed + guesses[0]) - total)
        know = np.exp(digamma(said - guessed + guesses[1]) - total)
        habits = np.exp(digamma(guesses_of + habit / ballots.classes) - digamma(guessed + habit).take(choices.worker))
        by_habit = guess.take(choices.worker) * habits
        weight = np.log1p(know.take(choices.worker) / by_habit)
        logits = tally(cells, weight.take(choices.choice), ballots.tasks * ballots.classes)
        found = pinned(np.ascontiguousarray(softmax(logits.reshape(ballots.tasks, ballots.classes).T.copy()).T), gold)
        moved = np.abs(found - posterior).max()
        posterior = found
        if moved < tolerance:
            break
    guessing = (guessed + guesses[0]) / (said + sum(guesses))
    return Inferred(posterior, skill=1.0 - guessing * (1.0 - 1.0 / ballots.classes), iterations=rounds)
