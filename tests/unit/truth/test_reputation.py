"""A worker's matrix and its bounds: by hand, and laws that hold for any worker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import peers
from manyhands_aggregator.truth.reputation import bounds, confusions, tally
from tests.unit.truth.small import ballots_of, crowd, names, renamed, shuffled

seeds = st.integers(0, 10_000)


def test_bounds_by_hand() -> None:
    """Of nobody seen yet: 70 % of four judgments, Wilson's formula with z = 1.645."""
    low, high = bounds(0, 0)
    assert low == pytest.approx(0.6193 - 0.3021, abs=1e-3)
    assert high == pytest.approx(0.6193 + 0.3021, abs=1e-3)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.55, 0.999))
def test_bounds_have_no_cliff(right: int, wrong: int, sure: float) -> None:
    """They hold the share, move the right way with each judgment, and never by more than the judgment is worth."""
    n = right + wrong
    low, high = bounds(right, n, sure)
    share = (right + 2.8) / (n + 4)
    assert low <= share <= high
    for one in (1, 0):
        next_low, next_high = bounds(right + one, n + 1, sure)
        assert max(abs(next_low - low), abs(next_high - high)) < 2 / (n + 4)
    assert bounds(right + 1, n + 1, sure)[0] > low
    assert bounds(right, n + 1, sure)[1] < high


@given(st.integers(1, 50), st.integers(1, 50))
def test_bounds_close_in_on_the_share(right: int, wrong: int) -> None:
    """A hundred times as many judgments: a much narrower place."""
    low, high = bounds(right, right + wrong)
    lower, higher = bounds(100 * right, 100 * (right + wrong))
    assert higher - lower < (high - low) / 2


def test_bounds_hold_the_truth_as_often_as_they_say() -> None:
    """Over many workers of a skill of 0.75, each bound is wrong of at most about one in twenty."""
    right = np.random.default_rng(1).binomial(60, 0.75, 2000)
    found = np.array([bounds(int(r), 60) for r in right])
    assert (found[:, 0] > 0.75).mean() < 0.07
    assert (found[:, 1] < 0.75).mean() < 0.07


def test_confusions_by_hand() -> None:
    """Truths 0, 0, 1 called 0, 1, 1; of the other worker nothing is known but how the crowd errs."""
    ballots = Ballots.of([0, 1, 2], [0, 0, 0], [0, 1, 1], workers=2)
    matrices = confusions(ballots, peers(ballots, np.array([0, 0, 1], np.int32)))
    # the crowd's rows: counts, plus the labels' shares 0.4 and 0.6, plus one on the diagonal
    crowd_has = np.array([[2.4 / 4, 1.6 / 4], [0.4 / 3, 2.6 / 3]])
    assert matrices[1] == pytest.approx(crowd_has)
    assert matrices[0] == pytest.approx(np.array([[(1 + 2.4) / 6, (1 + 1.6) / 6], [1.6 / 15, (1 + 10.4 / 3) / 5]]))


def test_bounds_hold_the_share_however_unsure_the_others_are() -> None:
    """Two or five judgments a task, two options: each bound is wrong of about one in twenty, and of nobody by much."""
    for redundancy in (2, 5):
        low, high = [], []
        for seed in range(5):
            said = simulate(Crowd(redundancy=redundancy, workers=40, tasks=800, seed=seed))
            ballots = ballots_of(said)
            found = [bounds(*one) for one in zip(*tally(ballots, peers(ballots)), strict=True)]
            low += [below > skill for (below, _), skill in zip(found, said.skill, strict=True)]
            high += [above < skill for (_, above), skill in zip(found, said.skill, strict=True)]
        assert np.mean(low) < 0.13
        assert np.mean(high) < 0.13


def test_what_nobody_knows_tells_nothing() -> None:
    """Of two who contradict each other nobody knows who is right, so it tells little of a third; gold does."""
    ballots = Ballots.of([0, 0, 0], [0, 1, 2], [0, 1, 0])
    assert tally(ballots, peers(ballots))[1][2] < 0.3
    right, told = tally(ballots, peers(ballots, np.array([0], np.int32)))
    assert (right.tolist(), told.tolist()) == ([1.0, 0.0, 1.0], [1.0, 1.0, 1.0])


def test_tally_by_hand() -> None:
    """Right and wrong by gold; what cannot be compared is not counted."""
    ballots = Ballots.of([0, 1, 2, 2], [0, 0, 0, 1], [0, 1, 1, 1], tasks=3)
    right, compared = tally(ballots, peers(ballots, np.array([0, -1, 0], np.int32)))
    assert (right[0], compared[0]) == (1.0, 2.0)
    assert (right[1], compared[1]) == (0.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(seeds, seeds)
def test_names_and_order_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels, another order of rows: the same workers."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    again = shuffled(other, renamed(ballots, workers, labels))
    one, two = peers(ballots), peers(again)
    for told, moved in zip(tally(ballots, one), tally(again, two), strict=True):
        assert moved[workers] == pytest.approx(told)
    moved = confusions(again, two)[workers][:, labels][:, :, labels]
    assert moved == pytest.approx(confusions(ballots, one))
