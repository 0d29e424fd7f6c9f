"""A worker's matrix, its bounds and its attention: by hand, and laws that hold for any worker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import peers
from manyhands_aggregator.truth.reputation import GRID, attention, bounds, confusions, tally
from tests.unit.truth.small import crowd, names, renamed, shuffled

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


def test_tally_by_hand() -> None:
    """Right and wrong by gold; what cannot be compared is not counted."""
    ballots = Ballots.of([0, 1, 2, 2], [0, 0, 0, 1], [0, 1, 1, 1], tasks=3)
    right, compared = tally(ballots, peers(ballots, np.array([0, -1, 0], np.int32)))
    assert (right[0], compared[0]) == (1.0, 2.0)
    assert (right[1], compared[1]) == (0.0, 1.0)


def test_attention_without_judgments_is_that_of_anybody() -> None:
    """A tenth of all never look, and the next point of the grid counts as spam, too."""
    nobody = Ballots.of([], [], [], workers=3, classes=2)
    spam, look = attention(nobody, peers(nobody))
    assert spam == pytest.approx(0.1 + 0.9 * 0.05 / GRID.sum())
    assert look == pytest.approx(0.9 * (GRID[1:] ** 2).sum() / GRID.sum())


def test_who_always_says_what_is_mostly_right_is_no_expert() -> None:
    """One names the rare ones, one never does: 100 % and 90 % right, and all and nothing of attention."""
    truth = np.array(([0] * 9 + [1]) * 20, np.int32)
    tasks = np.arange(len(truth))
    ballots = Ballots.of(np.tile(tasks, 3), np.repeat([0, 1, 2], len(tasks)), np.concatenate([truth, 0 * truth, truth]))
    spam, look = attention(ballots, peers(ballots, truth))
    assert spam[0] < 0.001
    assert spam[1] > 0.9
    assert look[0] > 0.9


def test_who_is_often_wrong_may_be_looking() -> None:
    """Right in half of a hundred judgments among ten options is no guessing."""
    lot = np.random.default_rng(2)
    truth = lot.integers(0, 10, 100).astype(np.int32)
    said = np.where(np.arange(100) % 2, truth, lot.integers(0, 10, 100))
    ballots = Ballots.of(np.tile(np.arange(100), 2), np.repeat([0, 1], 100), np.concatenate([said, truth]))
    spam, look = attention(ballots, peers(ballots, truth))
    assert spam[0] < 0.001
    assert 0.3 < look[0] < 0.7


def test_speed_counts_as_evidence() -> None:
    """The more it says, the likelier."""
    ballots, _ = crowd(3)
    known = peers(ballots)
    spam = [attention(ballots, known, np.full(ballots.workers, e))[0] for e in (-3.0, 0.0, 3.0)]
    assert (spam[0] <= spam[1]).all()
    assert (spam[1] <= spam[2]).all()


@settings(max_examples=30, deadline=None)
@given(seeds, seeds)
def test_names_and_order_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels, another order of rows: the same workers."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    again = shuffled(other, renamed(ballots, workers, labels))
    one, two = peers(ballots), peers(again)
    assert attention(again, two)[0][workers] == pytest.approx(attention(ballots, one)[0], abs=1e-6)
    moved = confusions(again, two)[workers][:, labels][:, :, labels]
    assert moved == pytest.approx(confusions(ballots, one))
