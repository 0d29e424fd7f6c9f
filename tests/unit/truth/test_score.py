"""How right answers are, and how far they can be believed."""

from __future__ import annotations

import numpy as np
import pytest

from manyhands_aggregator.truth.score import score


def test_a_score_by_hand() -> None:
    """Right, half right of two that are level, wrong, of a label that nobody gave, and unknown."""
    posterior = np.array([[0.96, 0.04], [0.5, 0.5], [0.32, 0.68], [0.99, 0.01], [1.0, 0.0]])
    found = score(posterior, np.array([0, 1, 0, 2, -1], dtype=np.int32))
    assert (found.known, found.accuracy, found.sure, found.sure_right) == (4, 1.5 / 4, 0.5, 0.5)
    # bins: 0.96 and 0.99 together, of which one is right; 0.5 is met; 0.68 is not
    assert found.calibration_error == pytest.approx((0.96 + 0.99 - 1 + 0 + 0.68) / 4)


def test_without_truths_there_is_no_score() -> None:
    """And none of the sure ones where nothing is sure."""
    assert score(np.ones((2, 1)), np.full(2, -1, dtype=np.int32)).accuracy is None
    assert score(np.array([[0.6, 0.4]]), np.array([0], dtype=np.int32)).sure_right is None
