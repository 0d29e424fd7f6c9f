"""Recorded judgments, revealed to the rules by which a stage stops."""

from __future__ import annotations

import numpy as np
import pytest

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth.accept import Rule
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.policy import parse
from manyhands_aggregator.truth.replay import Bought, Replayed, bought, error_bound, needed, replay, reveal, shuffled

#: Five workers, three tasks: all agree on the first, the second is split until its last judgment, one has two.
SMALL = Ballots.of(
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1], [1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0]
)
IN_ORDER = [np.arange(0, 5), np.arange(5, 10), np.arange(10, 12)]


@pytest.mark.parametrize(
    ("rule", "each"),
    [
        (Rule(agree=2), [2, 3, 2]),
        (Rule(margin=2), [2, 5, 2]),
        (Rule(margin=3), [3, 5, 2]),
        (Rule(margin=2, at_most=4), [2, 4, 2]),
        (Rule(at_most=3), [3, 3, 2]),
        (Rule(), [1, 1, 1]),
        (Rule(confidence=1.0), [5, 5, 2]),
    ],
)
def test_what_a_rule_buys(rule: Rule, each: list[int]) -> None:
    """By hand: until it accepts, or they run out."""
    rows = reveal(SMALL, IN_ORDER, rule)
    assert np.bincount(SMALL.task[rows], minlength=3).tolist() == each
    for task, count in enumerate(each):
        assert [row for row in rows if SMALL.task[row] == task] == IN_ORDER[task][:count].tolist()


def test_every_open_task_gets_one_before_any_gets_two() -> None:
    """Rounds, as in a pipeline."""
    rows = reveal(SMALL, IN_ORDER, Rule(at_most=2))
    assert SMALL.task[rows].tolist() == [0, 1, 2, 0, 1, 2]


def test_orders_are_the_seeds() -> None:
    """The same seed gives the same order, another one another; each task has its own rows."""
    one, same, other = (np.concatenate(shuffled(SMALL, seed)).tolist() for seed in (0, 0, 1))
    assert one == same != other
    assert sorted(one) == list(range(12))
    assert [sorted(queue.tolist()) for queue in shuffled(SMALL, 3)] == [q.tolist() for q in IN_ORDER]


def test_a_task_without_judgments_is_passed_over() -> None:
    """It can happen that a task of the file has none."""
    assert reveal(SMALL, [*IN_ORDER, np.arange(0)], Rule()).tolist() == [0, 5, 10]


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0.5, 100), (0.6, 100), (0.65, 150), (0.7, 200), (0.75, 250), (0.8, 300), (0.85, 450), (0.9, 500), (0.95, 500)],
)
def test_the_fixed_redundancy_of_the_same_accuracy(accuracy: float, expected: float) -> None:
    """Linear between the points; a later point that is worse counts as good as the best before it."""
    curve = [Bought(100, 0.6), Bought(200, 0.7), Bought(300, 0.8), Bought(400, 0.75), Bought(500, 0.9)]
    assert needed(curve, accuracy) == pytest.approx(expected)


def test_the_error_of_a_margin_is_bounded() -> None:
    """By hand: of ten judgments with a known truth eight are right; two of them ahead, 1 / (1 + 4²) may be wrong."""
    truth = np.array([1, 1, -1], np.int32)
    assert error_bound(SMALL, truth, Rule(margin=2)) == pytest.approx(1 / 17)
    assert error_bound(SMALL, np.array([1, -1, -1], np.int32), Rule(margin=2)) == 0.0
    assert error_bound(SMALL, truth, Rule(confidence=0.9)) is None
    assert error_bound(SMALL, np.full(3, -1, np.int32), Rule(margin=2)) is None
    assert error_bound(SMALL, 1 - np.array([1, 1, 1], np.int32), Rule(margin=2)) is None


def test_what_is_saved() -> None:
    """By hand: 250 judgments at 0.8, which two a task reach with 400, of 1,000."""
    found = Replayed(Bought(250, 0.8), {"1": Bought(200, 0.7), "2": Bought(400, 0.8), "all": Bought(1000, 0.9)})
    assert found.saved_against_all == pytest.approx(0.75)
    assert found.saved_against_fixed == pytest.approx(0.375)


def test_adaptive_redundancy_saves() -> None:
    """On a simulated crowd with some spammers: as right as five a task with a third less, and close to all of them."""
    crowd = simulate(Crowd(tasks=400, classes=3, workers=40, redundancy=9, seed=5, skill=(8, 2.5), random=0.1))
    ballots = Ballots.of(crowd.task, crowd.worker, crowd.label)
    begun: list[int] = []
    found = replay(ballots, crowd.truth.astype(np.int32), Rule(confidence=0.9), seeds=2, begins=begun.append)
    assert begun == [0, 1]
    assert found.rule.accuracy >= found.fixed["5"].accuracy
    assert found.rule.accuracy >= found.fixed["all"].accuracy - 0.05
    assert found.saved_against_all > 0.6
    assert found.saved_against_fixed > 0.3
    assert found.fixed["5"].judgments == 400 * 5


def test_adaptive_is_as_right_as_twenty_judgments_make_it() -> None:
    """Where a task has so many, the bounds that suit five lose eight points to the majority of all, and save no more.

    Workers differ much, and so do tasks.
    """
    for seed in (0, 1):
        crowd = simulate(Crowd(tasks=400, workers=100, redundancy=20, seed=seed, skill=(2, 0.7), difficulty=0.7))
        ballots = Ballots.of(crowd.task, crowd.worker, crowd.label)
        truth = crowd.truth.astype(np.int32)
        votes = bought(ballots, np.arange(len(ballots)), truth, "majority").accuracy
        sparing, found = (replay(ballots, truth, parse("adaptive", each)) for each in (5, 20))
        assert sparing.rule.accuracy < votes - 0.08
        assert found.rule.accuracy > votes - 0.02
        assert found.saved_against_fixed > max(0.4, sparing.saved_against_fixed)
        assert found.saved_against_all > 0.55
