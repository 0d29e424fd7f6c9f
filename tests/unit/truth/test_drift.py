"""Who changes: by hand, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.drift import USUAL, drift
from manyhands_aggregator.truth.peers import peers
from tests.unit.truth.small import crowd


def test_drift_by_hand() -> None:
    """Right, right, wrong, wrong: a slope of -1.6, of a variance of 0.8, against a prior of 0.04."""
    ballots = Ballots.of([0, 1, 2, 3], [0, 0, 0, 0], [0, 0, 1, 1])
    found = drift(ballots, peers(ballots, np.zeros(4, np.int32)))
    assert found.change[0] == pytest.approx(-1.6 * 0.04 / 0.84)
    assert found.deviation[0] == pytest.approx((0.04 / 0.84 * 0.8) ** 0.5)


def test_a_long_decline_is_seen() -> None:
    """From nine in ten to five in ten over 400 judgments."""
    lot = np.random.default_rng(0)
    said = (lot.random(400) > np.linspace(0.9, 0.5, 400)).astype(np.int32)
    ballots = Ballots.of(np.arange(400), np.zeros(400), said)
    found = drift(ballots, peers(ballots, np.zeros(400, np.int32)))
    assert found.change[0] == pytest.approx(-0.4, abs=2 * found.deviation[0])
    assert found.change[0] + 1.645 * found.deviation[0] < -0.1


def test_of_nobody_seen_nothing_is_said() -> None:
    """No change, as sure as the prior is."""
    ballots = Ballots.of([], [], [], workers=1, classes=2)
    found = drift(ballots, peers(ballots))
    assert found.change[0] == 0
    assert found.deviation[0] == pytest.approx(USUAL)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_backwards_is_the_other_way_round(seed: int) -> None:
    """The last first: who became better becomes worse, as surely; and nothing is beyond the prior's certainty."""
    ballots, _ = crowd(seed)
    back = ballots.among(np.arange(len(ballots))[::-1])
    forth, backwards = drift(ballots, peers(ballots)), drift(back, peers(back))
    assert backwards.change == pytest.approx(-forth.change, abs=1e-6)
    assert backwards.deviation == pytest.approx(forth.deviation, abs=1e-6)
    assert (forth.deviation <= USUAL).all()
