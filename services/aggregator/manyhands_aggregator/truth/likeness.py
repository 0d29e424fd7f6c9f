"""Judgments that are no choice among options, against those of others: numbers that are near, texts that are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints
from manyhands_aggregator.truth.belief import RIGHT, WRONG
from manyhands_aggregator.truth.nearness import is_near
from manyhands_aggregator.truth.peers import LEAST, ROUNDS, SUREST, TOLERANCE, Peers

#: Wrong texts that are as likely as one another, in the mean of many tasks.
WRONGS = 10
#: Numbers within so many deviations of what the others say count as right.
NEAR = 2.5
#: The median deviation of normal numbers times this is their standard deviation.
NORMAL = 1.4826


class Alike(NamedTuple):
    """Who agrees with whom, and how the values of some rows go with the tasks of other rows of the same worker.

    ``fits(rows, there)`` has a number for each pair of rows: 1 if anybody else there says what is said here, or 0.
    Where values have an ``order`` it is 1 if the two are in that in which the others have their tasks, 1/2 if they are
    the same, nan if the tasks are.
    """

    peers: Peers
    fits: Callable[[Indices, Indices], Floats]
    order: bool


def same(ballots: Ballots, truth: Ints | None = None) -> Alike:
    """How far others said the same; each label is a value.

    ``agreed`` is the share of the others who gave the value, or 0 or 1 where ``truth`` (T,) has a code, -1 elsewhere;
    -2 for a truth that nobody said.
    """
    task, label = ballots.task, ballots.label
    given = np.bincount(task, minlength=ballots.tasks)[task]
    keys, at, alike = np.unique(
        task.astype(np.int64) * ballots.classes + label, return_inverse=True, return_counts=True
    )
    agreed = (alike[at] - 1.0) / np.maximum(given - 1, 1)
    peers = _right(
        _peers(ballots, agreed, given > 1, label, truth), np.asarray(alike[at] - 1.0), np.asarray(given - 1.0)
    )

    def fits(rows: Indices, there: Indices) -> Floats:
        wanted = task[there].astype(np.int64) * ballots.classes + label[rows]
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        others = np.where(keys[place] == wanted, alike[place], 0) - (label[rows] == label[there])
        known = peers.gold[task[there]]
        return np.asarray(np.where(known == -1, others > 0, label[rows] == known), np.float64)

    return Alike(peers, fits, order=False)


def near(ballots: Ballots, value: Floats, truth: Floats | None = None, within: Floats | float | None = None) -> Alike:
    """Which numbers are near what the others say, their median, or the truth where ``truth`` (T,) is not nan.

    Near is within 2.5 standard deviations: of the job's errors, from their median, so that wild ones do not count. If
    more than half of all say just what others do, only that is right. Where a truth is known and ``within`` says how
    far from it is right, a number or (T,), that holds. The labels of the ballots are no matter.
    """
    task = ballots.task
    order = np.lexsort((value, task))
    given = np.bincount(task, minlength=ballots.tasks)
    begin = np.cumsum(given) - given
    place = np.empty(len(task), np.int64)
    place[order] = np.arange(len(task)) - begin[task[order]]
    m, ranked = given[task], value[order]

    def other(rank: NDArray[np.int64]) -> Floats:  # of the m - 1 others in order
        rank = np.clip(rank, 0, np.maximum(m - 2, 0))
        at = begin[task] + np.minimum(rank + (rank >= place), m - 1)
        return np.asarray(ranked[at], np.float64)

    expected = (other((m - 2) // 2) + other((m - 1) // 2)) / 2
    compared = m > 1
    if truth is not None:
        known = ~np.isnan(truth[task])
        expected, compared = np.where(known, truth[task], expected), compared | known
    error = np.abs(value - expected)
    usual = NORMAL * float(np.median(error[compared])) if compared.any() else 0.0

    close = is_near(value, expected, NEAR * usual)
    if truth is not None and within is not None:
        reached = is_near(value, expected, np.broadcast_to(within, ballots.tasks)[task])
        close = np.where(known, reached, close)

    def fits(rows: Indices, there: Indices) -> Floats:
        tasks = np.sign(expected[rows] - expected[there])
        return np.where(tasks == 0.0, np.nan, (1.0 + np.sign(value[rows] - value[there]) * tasks) / 2.0)

    return Alike(_peers(ballots, close.astype(np.float64), compared, ballots.label, None), fits, order=True)


def _right(peers: Peers, same_: Floats, others: Floats) -> Peers:
    """What is right where ``same_`` of so many ``others`` said the same: under the one-coin model of open values.

    Who is right agrees with others who are; who is wrong says one of :data:`WRONGS` that are as likely. So to agree
    with some is enough of many, and to agree with nobody is worse the better the others are.
    """
    ballots, worker = peers.ballots, peers.ballots.worker
    known = peers.gold[ballots.task] != -1
    judged = np.bincount(worker, peers.compared, ballots.workers)
    skill = np.full(ballots.workers, RIGHT / (RIGHT + WRONG))
    for _ in range(ROUNDS):
        mine = np.clip(skill, LEAST, SUREST)[worker]
        usual = float(np.clip(mine.mean(), LEAST, SUREST)) if len(mine) else 0.5
        by_chance = (1.0 - usual) / WRONGS
        odds = np.exp(
            np.clip(
                same_ * np.log(usual / by_chance) + (others - same_) * np.log((1.0 - usual) / (1.0 - by_chance)),
                -99,
                99,
            )
        )
        seen = np.where(known, peers.agreed, odds / (1.0 + odds))
        right = seen * mine / (seen * mine + (1.0 - seen) * (1.0 - mine))
        found = (np.bincount(worker, right * peers.compared, ballots.workers) + RIGHT) / (judged + RIGHT + WRONG)
        moved = float(np.abs(found - skill).max(initial=0.0))
        skill = found
        if moved < TOLERANCE:
            break
    either = mine * seen + (1.0 - mine) * (1.0 - seen)
    return replace(peers, right=right, tells=1.0 - seen * (1.0 - seen) / (either * (1.0 - either)))


def _peers(ballots: Ballots, agreed: Floats, compared: NDArray[np.bool_], label: Ints, truth: Ints | None) -> Peers:
    known = np.full(ballots.tasks, -1, np.int32) if truth is None else truth
    if truth is not None:
        of_task = truth[ballots.task]
        agreed = np.where(of_task == -1, agreed, (label == of_task).astype(np.float64))
        compared = compared | (of_task != -1)
    return Peers(
        ballots, agreed, compared, np.zeros((0, 0)), np.zeros(ballots.workers), known, agreed, np.ones(len(agreed))
    )
