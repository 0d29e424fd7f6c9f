"""What jobs tell of a worker together: by hand, and laws that hold for any worker."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth.reputation import bounds, expected
from manyhands_aggregator.truth.standing import HALF, Job, together

counts = st.floats(0, 5000)


@st.composite
def histories(draw: st.DrawFn) -> list[Job]:
    """Some jobs, several of which may have ended at the same time."""
    found = draw(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1), counts), max_size=8))
    return [Job(float(ended), share * compared, compared) for ended, share, compared in found]


def accuracy(jobs: list[Job]) -> float:
    """The share of right judgments that is to be expected."""
    return expected(*together(jobs))


def test_by_hand() -> None:
    """A half-life of judgments all right, and after them as many all wrong: the older count half of the newer."""
    assert together([]) == (0, 0)
    whole = HALF / math.log(2)
    right, compared = together([Job(1, HALF, HALF), Job(2, 0, HALF)])
    assert (right, compared) == pytest.approx((whole / 4, whole * 3 / 4))
    few = together([Job(1, 8, 10), Job(2, 1, 2)])
    assert few == pytest.approx((9, 12), abs=0.1)  # of few judgments each counts nearly whole


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_told_is_irrelevant(jobs: list[Job], chance: object) -> None:
    """To the last bit, those that ended together included; and where a job is cut in two at its end does not matter."""
    shuffled = list(jobs)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert together(shuffled) == together(jobs)
    halves = [Job(ended, right / 2, compared / 2) for ended, right, compared in jobs for _ in range(2)]
    assert together(halves) == pytest.approx(together(jobs))


@given(histories(), st.data(), st.floats(0, 500))
def test_more_right_judgments_never_lower_it(jobs: list[Job], data: st.DataObject, more: float) -> None:
    """Whether they come in a job of their own, of whatever age, or one judgment turns out right that was not."""
    before = accuracy(jobs)
    ended = data.draw(st.integers(0, 6))
    assert accuracy([*jobs, Job(ended, more, more)]) >= before - 1e-12
    assert accuracy([*jobs, Job(ended, 0, more)]) <= before + 1e-12
    for place, job in enumerate(jobs):
        right = min(job.compared, job.right + more)
        assert accuracy([*jobs[:place], job._replace(right=right), *jobs[place + 1 :]]) >= before - 1e-12


@given(histories(), st.floats(0, 1))
def test_there_is_no_cliff(jobs: list[Job], share: float) -> None:
    """A judgment more moves nothing by leaps, however many there are; and never more is known than of 1443."""
    right, compared = together(jobs)
    assert 0 <= right <= compared * (1 + 1e-12) <= HALF / math.log(2) * (1 + 1e-9)
    after = together([*jobs, Job(9, share, 1)])
    step = 2 / (min(compared, after[1]) + 4)
    assert abs(expected(*after) - expected(right, compared)) < step
    assert all(abs(a - b) < 2 * step for a, b in zip(bounds(*after), bounds(right, compared), strict=True))


def test_who_becomes_worse_is_soon_known() -> None:
    """Ten thousand right judgments do not hide five hundred that are no better than a coin's."""
    good = Job(1, 9_500, 10_000)
    shares = [accuracy([good, Job(2, n / 2, n)]) for n in (0, 100, 200, 500, 1000, 5000)]
    assert all(later < earlier for earlier, later in pairwise(shares))
    assert shares[3] < 0.85
    assert shares[-1] == pytest.approx(0.5, abs=0.03)
