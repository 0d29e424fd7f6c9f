"""Majority and what weighs votes, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.voting import majority, wawa, zero_based_skill
from tests.unit.truth.small import crowd

#: Three workers, three tasks, two classes: worker 2 is always in the minority.
TASK, WORKER = [0, 0, 0, 1, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2, 0, 2]
LABEL = [0, 0, 1, 1, 1, 0, 0, 1]


def test_majority_by_hand() -> None:
    """The posterior is the share of votes; where two are level each counts half for the skill."""
    inferred = majority(Ballots.of(TASK, WORKER, LABEL))
    assert inferred.posterior == pytest.approx(np.array([[2 / 3, 1 / 3], [1 / 3, 2 / 3], [0.5, 0.5]]))
    assert inferred.skill == pytest.approx(np.array([2.5 / 3, 1.0, 0.5 / 3]))


def test_wawa_by_hand() -> None:
    """Task 2 is level, and worker 0 has agreed with the majority more often than worker 2."""
    inferred = wawa(Ballots.of(TASK, WORKER, LABEL))
    assert inferred.posterior[2] == pytest.approx([2.5 / 3, 0.5 / 3])
    assert inferred.posterior[0, 0] == pytest.approx((2.5 / 3 + 1) / (2.5 / 3 + 1 + 0.5 / 3))


def test_zero_based_skill_by_hand() -> None:
    """The first step goes to the agreement; with task 2 decided, worker 0 is always right and worker 2 never."""
    inferred = zero_based_skill(Ballots.of(TASK, WORKER, LABEL))
    assert inferred.skill == pytest.approx(np.array([1.0, 1.0, 0.0]))
    assert inferred.posterior == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))


def test_where_nobody_weighs_anything_the_votes_count() -> None:
    """A worker who has always been alone in his opinion is better than none."""
    ballots = Ballots.of([0, 0, 0, 1], [0, 1, 2, 2], [0, 0, 1, 1])
    gold = np.array([0, 0], dtype=np.int32)
    assert wawa(ballots, gold=gold).skill == pytest.approx(np.array([1.0, 1.0, 0.0]))
    unsure = Ballots.of([0, 0, 0, 1], [0, 1, 2, 2], [0, 0, 1, 1], tasks=2)
    assert wawa(unsure, gold=np.array([0, -1], dtype=np.int32)).posterior[1] == pytest.approx([0.0, 1.0])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 39), st.integers(0, 2))
def test_a_further_vote_never_lowers_its_class(seed: int, task: int, label: int) -> None:
    """This is what the majority promises."""
    before, _ = crowd(seed)
    after = Ballots.of(
        np.append(before.task, task), np.append(before.worker, before.workers), np.append(before.label, label),
        tasks=before.tasks,
    )  # fmt: skip
    assert majority(after).posterior[task, label] >= majority(before).posterior[task, label]
