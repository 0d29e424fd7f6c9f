"""Straight-lining: by hand, and what explains repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import peers
from manyhands_aggregator.truth.repetition import repetition
from tests.unit.truth.small import crowd, names, renamed


def alone(labels: list[int]) -> Ballots:
    """One worker who says this of task after task."""
    return Ballots.of(np.arange(len(labels)), np.zeros(len(labels)), labels, classes=2)


def test_always_the_same_by_hand() -> None:
    """Tasks take turns and the labels do not: half of the 39 pairs would repeat, and all do."""
    ballots = alone([0] * 40)
    found = repetition(ballots, peers(ballots, np.array([0, 1] * 20, np.int32)))
    assert found.share[0] == 1.0
    assert found.expected[0] == pytest.approx(0.5)
    assert found.chance[0] == pytest.approx(2.0**-19.5, rel=1e-6)


def test_sorted_tasks_explain_repeats() -> None:
    """Who is right about sorted tasks repeats itself, and must."""
    truth = [0] * 20 + [1] * 20
    ballots = alone(truth)
    found = repetition(ballots, peers(ballots, np.array(truth, np.int32)))
    assert found.share[0] == pytest.approx(38 / 39)
    assert found.chance[0] == pytest.approx(1.0)


def test_who_has_judged_once_has_repeated_nothing() -> None:
    """No share of nothing."""
    ballots = alone([1])
    found = repetition(ballots, peers(ballots))
    assert np.isnan(found.share[0])
    assert found.chance[0] == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_names_mean_nothing_and_the_honest_do_not_repeat(seed: int, other: int) -> None:
    """Other numbers, the same chances; which are probabilities, and 1 where nothing is repeated beyond expectation."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    again = renamed(ballots, workers, labels)
    found, moved = repetition(ballots, peers(ballots)), repetition(again, peers(again))
    assert moved.chance[workers] == pytest.approx(found.chance)
    assert ((found.chance > 0) & (found.chance <= 1)).all()
    assert (found.chance[found.share <= found.expected] == 1).all()
    assert found.chance.min() > 0.001
