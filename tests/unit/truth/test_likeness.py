"""Numbers that are near and texts that are alike: by hand, and whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.likeness import near, same

#: Judgments: task, code, number.
JUDGED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.floats(-9, 9)), min_size=1, max_size=20)


def of(rows: list[tuple[int, int, float]]) -> Ballots:
    """Each row by a worker of its own."""
    return Ballots.of([t for t, _, _ in rows], range(len(rows)), [c for _, c, _ in rows], tasks=5, classes=3)


def test_same_by_hand() -> None:
    """Of three others two agree; of a known truth it is all or nothing, and one that nobody said has no friends."""
    ballots = Ballots.of([0, 0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 0, 1, 0], [0, 0, 0, 1, 0, 1, 0], tasks=3)
    found = same(ballots, np.array([-1, 1, -2], np.int32))
    assert found.peers.agreed == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0, 0, 1, 0])
    assert found.peers.compared.all()
    assert same(ballots).peers.compared.tolist() == [True] * 6 + [False]


def test_near_by_hand() -> None:
    """The medians of the others are 3, 2.5, 2 and 2 of 1, 2, 3, 9; the errors 2, 0.5, 1, 7; their median is 1.5."""
    value = np.array([1.0, 2.0, 3.0, 9.0])
    ballots = Ballots.of([0] * 4, range(4), [0] * 4)
    assert near(ballots, value).peers.agreed.tolist() == [1, 1, 1, 0]
    known = near(ballots, value, np.array([9.0]))  # errors 8, 7, 6, 0
    assert known.peers.agreed.tolist() == [1, 1, 1, 1]
    exact = near(Ballots.of([0] * 5, range(5), [0] * 5), np.array([4.0, 4.0, 4.0, 4.0, 4.1]))
    assert exact.peers.agreed.tolist() == [1, 1, 1, 1, 0]


@given(JUDGED, st.randoms())
def test_order_means_nothing(rows: list[tuple[int, int, float]], lot: object) -> None:
    """Rows in another order: the same, row by row; and a lone judgment is compared with nothing."""
    order = list(range(len(rows)))
    lot.shuffle(order)  # type: ignore[attr-defined]
    ballots = of(rows)
    moved = ballots.among(np.array(order))
    value = np.array([v for _, _, v in rows])
    for found, again in ((near(ballots, value), near(moved, value[order])), (same(ballots), same(moved))):
        assert again.peers.agreed == pytest.approx(found.peers.agreed[order])
        assert again.peers.compared.tolist() == found.peers.compared[order].tolist()
        assert found.peers.compared.tolist() == [sum(t == task for t, _, _ in rows) > 1 for task, _, _ in rows]


@given(JUDGED)
def test_near_is_near_the_median_of_the_others(rows: list[tuple[int, int, float]]) -> None:
    """As numpy has it, one by one."""
    ballots, value = of(rows), np.array([v for _, _, v in rows])
    found = near(ballots, value)
    errors = {}
    for at, (task, _, own) in enumerate(rows):
        others = [v for i, (t, _, v) in enumerate(rows) if t == task and i != at]
        if others:
            errors[at] = abs(own - float(np.median(others)))
    usual = 1.4826 * float(np.median(list(errors.values()))) if errors else 0.0
    for at, error in errors.items():
        if abs(error - 2.5 * usual) > 1e-6:
            assert found.peers.agreed[at] == float(error <= 2.5 * usual or error < 1e-9)


def test_numbers_with_a_known_truth_are_right_within_its_reach() -> None:
    """However far off the others are: gold counts as in the accuracy of answers."""
    ballots, value = Ballots.of([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [0] * 5), np.array([4.9, 5.1, 50.0, 1.0, 1.0])
    truth, within = np.array([0.0, np.nan]), np.array([5.0, np.nan])
    assert near(ballots, value, truth, within).peers.agreed.tolist() == [1, 0, 0, 1, 1]
    assert near(ballots, value, truth, 5.0).peers.agreed.tolist() == [1, 0, 0, 1, 1]
