"""Who is too fast: by hand, and whatever the unit of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.speed import MOST, pace


def of_times(times: list[list[float]]) -> Ballots:
    """Ballots of workers who took these times."""
    worker = np.repeat(np.arange(len(times)), [len(own) for own in times])
    return Ballots.of(np.arange(len(worker)), worker, np.zeros(len(worker)), workers=len(times))


def test_pace_by_hand() -> None:
    """Three take ten seconds, one a fifth of that, one the geometric mean of both: for, against, and neither."""
    times = [[10.0, 10.0]] * 3 + [[2.0, 2.0], [20**0.5, 20**0.5]]
    found = pace(of_times(times), np.concatenate(times))
    assert found.share == pytest.approx([1, 1, 1, 0.2, 0.2**0.5])
    assert found.evidence == pytest.approx([-MOST, -MOST, -MOST, MOST, 0.0], abs=1e-9)


def test_without_times_there_is_no_evidence() -> None:
    """Nor is there where a clock has failed."""
    times = [[10.0, 10.0], [10.0], [np.nan, np.nan], [0.0], [-1.0]]
    found = pace(of_times(times), np.concatenate(times))
    assert np.isnan(found.share[2:]).all()
    assert found.evidence[2:].tolist() == [0, 0, 0]
    nothing = pace(of_times([[np.nan]]), np.array([np.nan]))
    assert nothing.evidence.tolist() == [0.0]


def test_one_fast_judgment_says_less_than_many() -> None:
    """Times within a worker vary by a factor of three: one time may be chance."""
    often = [[5.0, 15.0] * 20] * 5
    few, many = ([[2.0] * n, *often] for n in (1, 40))
    say = [float(pace(of_times(times), np.concatenate(times)).evidence[0]) for times in (few, many)]
    assert 0 < say[0] < say[1]


@given(st.lists(st.lists(st.floats(0.5, 60), min_size=1, max_size=5), min_size=1, max_size=8), st.floats(1, 50))
def test_the_unit_means_nothing(times: list[list[float]], factor: float) -> None:
    """Twice as slow all of them: the same paces; and no evidence is beyond its limit."""
    ballots, taken = of_times(times), np.concatenate(times)
    found, again = pace(ballots, taken), pace(ballots, taken * factor)
    assert again.share == pytest.approx(found.share)
    assert again.evidence == pytest.approx(found.evidence, abs=1e-6)
    assert np.abs(found.evidence).max() <= MOST
