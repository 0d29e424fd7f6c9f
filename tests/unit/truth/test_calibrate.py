"""What a voter's own confidence is worth."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth.belief import Beliefs, Vote
from manyhands_aggregator.truth.calibrate import ENOUGH, Calibration, log_odds

ONE = st.tuples(st.sampled_from([0.0, 0.3, 0.6, 0.9, 0.98, 1.0]), st.booleans())
STATED = st.lists(ONE, max_size=60)


def calibrated(stated: list[tuple[float, bool]]) -> Calibration:
    """Calibrated by these, in this order."""
    calibration = Calibration()
    for confidence, right in stated:
        calibration.learn(confidence, right)
    return calibration


def test_without_evidence_nothing_is_believed() -> None:
    """Up to thirty comparisons there is no saying."""
    assert calibrated([(0.98, True)] * (ENOUGH - 1)).right(0.98) is None
    assert calibrated([(0.98, True)] * ENOUGH).right(0.98) is not None


def test_a_judge_that_says_98_and_is_right_60_times_of_100_is_believed_60() -> None:
    """What was stated is one thing, what came of it another."""
    calibration = calibrated([(0.98, True)] * 60 + [(0.98, False)] * 40)
    assert calibration.right(0.98) == pytest.approx(0.6, abs=0.02)


def test_thirty_right_ones_are_no_98_percent() -> None:
    """Only as much is believed as the evidence can bear: by hand, the prior of a new voter and 30 right ones."""
    calibration = calibrated([(0.99, True)] * 30)
    # a alone moves: the maximum of 30 log sigmoid(a) - (a - 0.85)² / (2 · 1.3²) is at a = 3.079
    assert 30 / (1 + math.exp(3.079)) == pytest.approx((3.079 - 0.85) / 1.3**2, abs=2e-3)
    found = calibration.right(0.99)
    assert found is not None
    assert 0.93 < found < 1 / (1 + math.exp(-3.079))
    assert calibrated([(0.99, True)] * 400).right(0.99) == pytest.approx(0.99, abs=0.005)


def test_a_true_line_is_found() -> None:
    """A judge who is right as sigmoid(1 + 0.6 x) of the log-odds it states is believed so after enough of them."""
    rng = random.Random(1)
    stated = []
    for _ in range(5000):
        x = rng.gauss(2, 1.5)
        stated.append((1 / (1 + math.exp(-x)), rng.random() < 1 / (1 + math.exp(-1 - 0.6 * x))))
    calibration = calibrated(stated)
    for confidence in (0.5, 0.8, 0.95, 0.99):
        expected = 1 / (1 + math.exp(-1 - 0.6 * log_odds(confidence)))
        assert calibration.right(confidence) == pytest.approx(expected, abs=0.02)


def test_nothing_is_believed_beyond_what_was_seen() -> None:
    """A confidence higher than any that was compared counts as the highest that was."""
    calibration = calibrated([(0.5, False), (0.9, True)] * 50)
    assert calibration.right(0.9999) == calibration.right(0.9)


@given(STATED, st.randoms(use_true_random=False))
def test_calibrating_in_another_order_is_the_same(stated: list[tuple[float, bool]], rng: Any) -> None:
    """Counts in bins do not know in which order they came."""
    shuffled = list(stated)
    rng.shuffle(shuffled)
    one, other = calibrated(stated), calibrated(shuffled)
    assert one.bins() == other.bins()
    assert [one.right(c) for c in (0.1, 0.7, 0.98)] == [other.right(c) for c in (0.1, 0.7, 0.98)]


def test_memory_is_bounded() -> None:
    """However many confidences are stated: 29 bins."""
    odds = [x / 10 for x in range(-100, 101)]
    assert len(calibrated([(1 / (1 + math.exp(-x)), True) for x in odds]).bins()) == 29


@given(st.lists(ONE, min_size=ENOUGH, max_size=80), st.sampled_from([0.0, 0.5, 0.98, 1.0]))
def test_a_probability_at_all_times(stated: list[tuple[float, bool]], confidence: float) -> None:
    """Whatever was stated and right: a number between 0 and 1, neither of them."""
    found = calibrated(stated).right(confidence)
    assert found is not None
    assert 0 < found < 1


def test_a_stated_confidence_counts_once_it_may_be_believed() -> None:
    """First it is a plain vote; with evidence, a sure vote weighs more than an unsure one. A stored state knows it."""
    beliefs = Beliefs(2)
    sure, unsure = Vote("svm", 1, 0.99), Vote("svm", 1, 0.55)
    assert beliefs.posterior([sure]).tolist() == beliefs.posterior([unsure]).tolist()
    for n in range(200):
        beliefs.learn("svm", 1, 1, 0.99)
        beliefs.learn("svm", n % 2, 1, 0.55)
    again = Beliefs.of_counts(beliefs.counts())
    for known in (beliefs, again):
        assert known.posterior([sure])[1] > 0.95
        assert known.posterior([unsure])[1] < 0.65
