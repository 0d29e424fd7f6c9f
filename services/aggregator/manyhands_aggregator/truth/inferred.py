"""What a method of inference says, and the answers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints

#: Posteriors that differ by less are level: the same sum in another order differs by about so much.
LEVEL = 1e-9
#: In ``gold``: nobody knows the truth of this task.
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Inferred:
    """What is believed of every task, and of every worker if the method says anything of workers.

    Attributes:
        posterior: (T, K), the probability of each class for each task; rows sum to 1.
        skill: (W,), the probability that a worker is right, 0..1.
        confusion: (W, K, K), [w, k, l] is the probability that worker w says l where k is true. None also where it
            would be too large to hold.
        iterations: rounds until the method had settled; 0 if it needs none.
    """

    posterior: Floats
    skill: Floats | None = None
    confusion: Floats | None = None
    iterations: int = 0


class Method(Protocol):
    """Infers the truth of T tasks from n judgments by W workers over K classes."""

    def __call__(self, ballots: Ballots, /, *, gold: Ints | None = None) -> Inferred:
        """What the judgments tell.

        ``gold`` (T,) has the classes that are known to be true, 0..K-1, and -1 for all others: those are certain, and
        what is believed of workers rests on them. Without any judgment nothing is preferred.
        All that is returned are probabilities, 0..1, and the same judgments in another order or under other names give
        the same up to rounding.

        Raises:
            IndexError: ``gold`` is of another length, or of a class that there is not; :func:`infer` looks first.
        """


def level(posterior: Floats) -> NDArray[np.bool_]:
    """Which classes share the highest probability of each task, shape (T, K)."""
    found: NDArray[np.bool_] = posterior >= posterior.max(axis=1, keepdims=True) - LEVEL
    return found


def answers(posterior: Floats, votes: NDArray[np.int64]) -> Ints:
    """The answer of each task, shape (T,), from posterior and votes, both (T, K).

    It is the class of the highest probability; of those level, the one with the most votes; of those level again, the
    first. It is the only place that breaks ties.
    """
    found: Ints = np.where(level(posterior), votes, -1).argmax(axis=1).astype(np.int32)
    return found


def pinned(posterior: Floats, gold: Ints | None) -> Floats:
    """The posterior (T, K) with certainty where the truth is known. In place."""
    if gold is not None:
        known = np.flatnonzero(gold != UNKNOWN)
        posterior[known] = 0.0
        posterior[known, gold[known]] = 1.0
    return posterior


def shares(weights: Floats) -> Floats:
    """Rows (T, K) of weights that are not negative, each divided by its sum; a row of nothing says nothing."""
    total = weights.sum(axis=1, keepdims=True)
    found: Floats = np.divide(weights, total, out=np.full(weights.shape, 1.0 / weights.shape[1]), where=total > 0)
    return found
