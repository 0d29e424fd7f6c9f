"""Recorded judgments revealed one at a time to the rules by which a stage stops: what would have been bought."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.accept import Rule, error_of_margin, stops
from manyhands_aggregator.truth.ballots import Ballots, Indices, Ints
from manyhands_aggregator.truth.belief import Beliefs, Vote
from manyhands_aggregator.truth.methods import DEFAULT, infer
from manyhands_aggregator.truth.score import score

#: The fixed redundancies that a rule is compared with, besides all judgments.
FIXED = (1, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class Bought:
    """So many judgments bought, and the share of the tasks of known truth that is then answered right."""

    judgments: float
    accuracy: float


def shuffled(ballots: Ballots, seed: int) -> list[Indices]:
    """The rows of each task, T lists, in an order that the seed decides."""
    rows, ends = ballots.among(order := np.random.default_rng(seed).permutation(len(ballots))).by_task()
    return [order[rows[begin:end]] for begin, end in pairwise(ends.tolist())]


def reveal(ballots: Ballots, queues: Sequence[Indices], rule: Rule) -> Indices:
    """The rows that the rule buys, in rounds as a pipeline would: every open task gets one, then all are looked at.

    ``queues`` has the rows of each task in the order in which they come. What is believed of the workers grows with the
    rounds, and it decides what is open in the next: `Beliefs` and `stops`, as in the aggregator.
    """
    beliefs = Beliefs(ballots.classes)
    workers, labels = ballots.worker.tolist(), ballots.label.tolist()
    waiting = [iter(queue.tolist()) for queue in queues]
    votes: list[list[Vote]] = [[] for _ in queues]
    bought: list[int] = []
    open_ = list(range(len(queues)))
    while open_:
        judged = []
        for task in open_:
            if (row := next(waiting[task], None)) is None:
                continue
            bought.append(row)
            before = list(votes[task])
            votes[task].append(Vote(workers[row], labels[row]))
            beliefs.study(votes[task], before)
            judged.append(task)
        open_ = [task for task in judged if not stops(rule, beliefs.posterior(votes[task], votes[task]), votes[task])]
    return np.array(bought, np.intp)


def bought(ballots: Ballots, rows: Indices, truth: Ints, method: str = DEFAULT) -> Bought:
    """What the job's method makes of some of the judgments in the end; ``truth`` (T,) is -1 where it is unknown."""
    return Bought(len(rows), score(infer(ballots.among(rows), method).posterior, truth).accuracy or 0.0)


def error_bound(ballots: Ballots, truth: Ints, rule: Rule) -> float | None:
    """The bound of `error_of_margin` for the margin of a rule, workers being as often right as these are in the mean.

    None for a rule without a margin, without any known truth, or where the judgments are no better than chance.
    """
    known = truth[ballots.task] >= 0
    if rule.margin is None or not known.any():
        return None
    right = float((ballots.label == truth[ballots.task])[known].mean())
    if right * ballots.classes <= 1:
        return None
    return 0.0 if right == 1.0 else error_of_margin(rule.margin, right, ballots.classes)


def needed(curve: Sequence[Bought], accuracy: float) -> float:
    """The judgments at which a fixed redundancy is as accurate.

    Linear between the points of ``curve``, which is in the order of judgments; a point that is less accurate than one
    before it counts as accurate as that. Below the first point it is the first's judgments, above the last the last's.
    """
    best = np.maximum.accumulate([point.accuracy for point in curve])
    place = bisect.bisect_left(best.tolist(), accuracy)
    if place == 0:
        return curve[0].judgments
    if place == len(curve):
        return curve[-1].judgments
    share = (accuracy - best[place - 1]) / (best[place] - best[place - 1])
    low, high = curve[place - 1].judgments, curve[place].judgments
    return float(low + share * (high - low))


def mean(points: Sequence[Bought]) -> Bought:
    """The mean over several seeds."""
    columns: NDArray[np.float64] = np.array([(point.judgments, point.accuracy) for point in points])
    judgments, accuracy = columns.mean(axis=0).tolist()
    return Bought(judgments, accuracy)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a rule bought over the seeds, in the mean, and what fixed redundancies would have bought."""

    rule: Bought
    fixed: dict[str, Bought]

    @property
    def saved_against_all(self) -> float:
        """The share of all judgments that the rule did not buy."""
        return 1 - self.rule.judgments / self.fixed["all"].judgments

    @property
    def saved_against_fixed(self) -> float:
        """The share that it did not buy of what a fixed redundancy of the same accuracy would have; see `needed`."""
        return 1 - self.rule.judgments / needed(list(self.fixed.values()), self.rule.accuracy)


def replay(
    ballots: Ballots,
    truth: Ints,
    rule: Rule,
    *,
    seeds: int = 1,
    method: str = DEFAULT,
    begins: Callable[[int], None] = lambda _seed: None,
) -> Replayed:
    """Replay the judgments in the orders of the seeds 0..n-1; the answers are then those of the job's method.

    ``begins`` is told of each seed.
    """
    ruled: list[Bought] = []
    fixed: dict[str, list[Bought]] = {str(redundancy): [] for redundancy in FIXED}
    every = bought(ballots, np.arange(len(ballots)), truth, method)
    for seed in range(seeds):
        begins(seed)
        queues = shuffled(ballots, seed)
        ruled.append(bought(ballots, reveal(ballots, queues, rule), truth, method))
        for redundancy in FIXED:
            rows = np.concatenate([queue[:redundancy] for queue in queues])
            fixed[str(redundancy)].append(bought(ballots, rows, truth, method))
    return Replayed(mean(ruled), {name: mean(points) for name, points in fixed.items()} | {"all": every})
