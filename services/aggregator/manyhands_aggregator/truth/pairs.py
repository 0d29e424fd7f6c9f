"""Scores of items from comparisons of two: Bradley and Terry's model, and the same with workers who do not all look.

A comparison says which of two items is better. The model: i wins against j with probability p_i / (p_i + p_j). A prior
holds every score finite where comparisons connect not all items, or somebody only ever wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from manyhands_aggregator.truth.ballots import Floats, Indices


@dataclass(frozen=True, slots=True)
class Pairs:
    """n comparisons of I items by W workers, one row each: ``left`` and ``right`` are what was shown, ``first`` wins.

    ``left``, ``right`` and ``worker`` (n,) count from 0; ``first`` (n,) says whether the left one won.

    Raises:
        ValueError: the columns differ in length, an item is compared with itself, or a number is out of its range.
    """

    left: Indices
    right: Indices
    first: np.typing.NDArray[np.bool_]
    worker: Indices
    items: int
    workers: int

    def __post_init__(self) -> None:
        if not self.left.shape == self.right.shape == self.first.shape == self.worker.shape or self.left.ndim != 1:
            raise ValueError("left, right, first and worker must be columns of one length")
        for name, column, end in (
            ("left", self.left, self.items),
            ("right", self.right, self.items),
            ("worker", self.worker, self.workers),
        ):
            if len(column) and not 0 <= column.min() <= column.max() < end:
                raise ValueError(f"every {name} must be between 0 and {end - 1}")
        if (self.left == self.right).any():
            raise ValueError("no item can be compared with itself")

    @classmethod
    def of(cls, left: ArrayLike, right: ArrayLike, first: ArrayLike, worker: ArrayLike | None = None) -> Pairs:
        """Comparisons of three or four columns; by one worker, if none is named."""
        one, other = (np.asarray(column, dtype=np.intp).reshape(-1) for column in (left, right))
        who = np.zeros(len(one), np.intp) if worker is None else np.asarray(worker, dtype=np.intp).reshape(-1)
        items = int(max(one.max(initial=-1), other.max(initial=-1))) + 1
        won = np.asarray(first, dtype=bool).reshape(-1)
        return cls(one, other, won, who, items, int(who.max(initial=-1)) + 1)

    @property
    def won(self) -> Indices:
        """The item that won, shape (n,)."""
        return np.where(self.first, self.left, self.right)

    @property
    def lost(self) -> Indices:
        """The item that lost, shape (n,)."""
        return np.where(self.first, self.right, self.left)


@dataclass(frozen=True, slots=True)
class Ranked:
    """What is believed of every item, and of every worker where the method says anything of workers.

    Attributes:
        score: (I,), the greater the better; they sum to 1.
        confidence: (I,), 0..1: the probability of winning against an item of the middle score.
        skill: (W,), the probability that a worker has looked, and not answered by habit.
        bias: (W,), the probability that a worker who has not looked says the left one.
        iterations: rounds until the method had settled.
    """

    score: Floats
    confidence: Floats
    skill: Floats | None = None
    bias: Floats | None = None
    iterations: int = 0


class Method(Protocol):
    """Scores I items by n comparisons of W workers."""

    def __call__(self, pairs: Pairs, /) -> Ranked:
        """What the comparisons tell; scores have no unit. It raises nothing: ``Pairs`` has looked."""


def bradley_terry(pairs: Pairs, /, *, prior: float = 0.1, iterations: int = 10_000, tolerance: float = 1e-8) -> Ranked:
    """Bradley and Terry's scores, by Hunter's MM algorithm.

    ``prior`` comparisons of each item with one of a middling score are counted beforehand, half of them won. Without
    (0) it is maximum likelihood, as in crowd-kit's ``BradleyTerry``, and scores exist only where each item can be
    reached from each other by wins. It ends when no score moves by more than ``tolerance`` of itself. Time O(n) an
    iteration, and few pairs of items that are compared often cost as much as as many that are compared once.
    A further win never lowers the winner's score, nor raises the loser's. Shapes and errors: :class:`Method`.

    Source: D. R. Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 32 (2004) 384-406;
    F. Caron, A. Doucet, "Efficient Bayesian Inference for Generalized Bradley-Terry Models" (2012) for the prior.
    """
    won, lost, times = _counted(pairs)
    start = np.ones(pairs.items)
    score, rounds = _scores(start, won, lost, times, prior, iterations, tolerance)
    return _ranked(score, rounds)


def noisy(
    pairs: Pairs,
    /,
    *,
    prior: float = 0.1,
    skill: tuple[float, float] = (4.0, 1.0),
    iterations: int = 500,
    tolerance: float = 1e-6,
) -> Ranked:
    """As :func:`bradley_terry`, with workers who look only some of the time, and else say left or right by habit.

    A worker looks with the probability of its ``skill``, of which as many comparisons as given, looked at and not, are
    counted beforehand; if not it says the left one with its bias, of which one comparison each way is. By expectation
    maximisation: what each comparison counts is the probability that its worker had looked. It is the model of
    crowd-kit's ``NoisyBradleyTerry``, which climbs the likelihood by another way and with another prior.
    A further win may lower the winner's score, for with it changes what is believed of workers. Shapes and errors:
    :class:`Method`.

    Source: N. Bugakova, V. Fedorova, G. Gusev, A. Drutsa, "Aggregation of pairwise comparisons with reduction of
    biases" (2019, arXiv:1906.03711).
    """
    won, lost, first = pairs.won, pairs.lost, pairs.first
    able, habit = np.full(pairs.workers, skill[0] / sum(skill)), np.full(pairs.workers, 0.5)
    said = np.bincount(pairs.worker, minlength=pairs.workers)
    score, rounds = np.ones(pairs.items), 0
    while rounds < iterations:
        rounds += 1
        by_habit = np.where(first, habit[pairs.worker], 1.0 - habit[pairs.worker])
        looked = able[pairs.worker] * score[won] / (score[won] + score[lost])
        looked /= looked + (1.0 - able[pairs.worker]) * by_habit
        heard = np.bincount(pairs.worker, weights=looked, minlength=pairs.workers)
        lefts = np.bincount(pairs.worker, weights=(1.0 - looked) * first, minlength=pairs.workers)
        moved, _ = _scores(score, won, lost, looked, prior, 20, tolerance)
        new = (heard + skill[0]) / (said + sum(skill)), (lefts + 1.0) / (said - heard + 2.0)
        step = max(
            float(np.abs(a - b).max(initial=0.0))
            for a, b in ((moved / (1 + moved), score / (1 + score)), (new[0], able), (new[1], habit))
        )
        score, able, habit = moved, *new
        if step <= tolerance:
            break
    return _ranked(score, rounds, able, habit)


METHODS: Mapping[str, Method] = {"bradley-terry": bradley_terry, "noisy-bradley-terry": noisy}
DEFAULT = "noisy-bradley-terry"


def _counted(pairs: Pairs) -> tuple[Indices, Indices, Floats]:
    """Who won against whom, and how often."""
    keys, times = np.unique(pairs.won * pairs.items + pairs.lost, return_counts=True)
    return keys // max(pairs.items, 1), keys % max(pairs.items, 1), times.astype(np.float64)


def _scores(
    score: Floats, won: Indices, lost: Indices, times: Floats, prior: float, iterations: int, tolerance: float
) -> tuple[Floats, int]:
    """Hunter's iteration from these scores: p_i = wins_i / sum over comparisons of 1 / (p_i + p_j); and its rounds.

    The prior is an item of the score 1, and all scores are multiplied by what it likes best, in one step of Newton's.
    Without a prior nothing sets the scale: then the mean is kept at 1.
    """
    items, rounds = len(score), 0
    wins = np.bincount(won, weights=times, minlength=items) + prior / 2
    while rounds < iterations:
        rounds += 1
        met = times / (score[won] + score[lost])
        chances: Floats = prior / (score + 1.0)
        for side in (won, lost):
            chances = chances + np.bincount(side, weights=met, minlength=items)
        moved = np.divide(wins, chances, out=np.zeros(items), where=chances > 0)
        if prior and items:  # it says little of the scale, which the iteration would reach last
            middling = moved / (1.0 + moved)
            moved *= np.exp(np.clip((items / 2 - middling.sum()) / (middling * (1.0 - middling)).sum(), -1.0, 1.0))
        elif moved.any():
            moved /= moved.mean()
        step = np.abs(moved - score) - tolerance * moved
        score = moved
        if not (step > 0).any():
            break
    return score, rounds


def _ranked(score: Floats, rounds: int, skill: Floats | None = None, bias: Floats | None = None) -> Ranked:
    middle = float(np.exp(np.mean(np.log(np.maximum(score, 1e-300))))) if len(score) else 1.0
    return Ranked(score / max(float(score.sum()), 1e-300), score / (score + middle), skill, bias, rounds)
