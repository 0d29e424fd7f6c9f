"""What the others say of a judgment: by hand, and by what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import peers
from tests.unit.truth.small import crowd, names, renamed

seeds = st.integers(0, 10_000)


def test_gold_is_what_counts_where_there_is_gold() -> None:
    """Two who agree on the wrong label are wrong."""
    found = peers(Ballots.of([0, 0, 0], [0, 1, 2], [1, 1, 0]), np.array([0], np.int32))
    assert found.agreed.tolist() == [0.0, 0.0, 1.0]
    assert found.truths(np.array([0])).tolist() == [[1.0, 0.0]]


def test_who_is_alone_is_compared_with_nobody() -> None:
    """Neither for nor against the worker, unless there is gold."""
    ballots = Ballots.of([0, 1, 1], [0, 0, 1], [0, 1, 1])
    assert peers(ballots).compared.tolist() == [False, True, True]
    assert peers(ballots, np.array([0, -1], np.int32)).compared.tolist() == [True, True, True]


def test_two_by_hand() -> None:
    """Both say 0 of one task: the labels' shares are 3/4 and 1/4, and each sees the other's single vote."""
    found = peers(Ballots.of([0, 0], [0, 1], [0, 0], classes=2))
    skill = 0.7
    for _ in range(50):  # the fixed point of the two equations
        agreed = 0.75 * skill / (0.75 * skill + 0.25 * (1 - skill))
        own = agreed * skill / (agreed * skill + (1 - agreed) * (1 - skill))
        skill = (own + 2.8) / 5
    assert found.agreed == pytest.approx([agreed, agreed], abs=2e-3)


def test_who_is_no_voter_counts_for_nobody_and_is_compared_all_the_same() -> None:
    """Three agree against one; without them the one is right, and nobody is there to say so of them."""
    ballots = Ballots.of([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1])
    found = peers(ballots, voters=np.array([False, False, False, True]))
    assert found.compared.tolist() == [True, True, True, False]
    assert (found.agreed[:3] < peers(ballots).agreed[:3]).all()


@settings(max_examples=40, deadline=None)
@given(seeds, seeds)
def test_names_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels: the same probabilities, row by row."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    found, again = peers(ballots), peers(renamed(ballots, workers, labels))
    assert again.agreed == pytest.approx(found.agreed)
    assert again.gain[workers] == pytest.approx(found.gain)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_own_vote_never_counts(seed: int) -> None:
    """Whatever a worker says of a task, with the same skills what the others say of it is the same."""
    ballots, _ = crowd(seed)
    found = peers(ballots)
    rows = np.arange(len(ballots))
    truths = found.truths(rows)
    assert truths.sum(axis=1) == pytest.approx(np.ones(len(rows)))
    assert truths[rows, ballots.label] == pytest.approx(found.agreed)
    changed = found.scores.copy()
    row, label = 7, (ballots.label[7] + 1) % ballots.classes
    changed[ballots.task[row], ballots.label[row]] -= found.gain[ballots.worker[row]]
    changed[ballots.task[row], label] += found.gain[ballots.worker[row]]
    labels = ballots.label.copy()
    labels[row] = label
    said_otherwise = Ballots.of(ballots.task, ballots.worker, labels, tasks=ballots.tasks, classes=ballots.classes)
    otherwise = type(found)(
        said_otherwise, found.agreed, found.compared, changed, found.gain, found.gold, found.right, found.tells
    )
    assert otherwise.truths(np.array([row])) == pytest.approx(truths[[row]])


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_without_two_is_without_both(seed: int) -> None:
    """Leaving out one row twice over is leaving out both."""
    ballots, _ = crowd(seed, redundancy=3)
    found = peers(ballots)
    order, begins = ballots.by_task()
    first, second, third = order[begins[:-1]], order[begins[:-1] + 1], order[begins[:-1] + 2]
    left = found.without_two(first, second)
    alone = np.zeros_like(left)
    np.add.at(alone, (np.arange(len(third)), ballots.label[third]), found.gain[ballots.worker[third]])
    shares = np.log((np.bincount(ballots.label, minlength=ballots.classes) + 1) / (len(ballots) + ballots.classes))
    expected = np.exp(alone + shares)
    assert left == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
