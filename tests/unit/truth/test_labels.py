"""Sets of labels: worked by hand, the same as a choice of two, and blind to names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.labels import Labelled, labels
from manyhands_aggregator.truth.methods import METHODS, infer


def crowd(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Judgments of 15 tasks by 5 workers who get 4 of 5 labels right: task, worker and the labels (75, 3)."""
    lot = np.random.default_rng(seed)
    truth = lot.random((15, 3)) < 0.4
    task, worker = np.indices((15, 5), dtype=np.int32).reshape(2, -1)
    return task, worker, truth[task] ^ (lot.random((75, 3)) < 0.2)


def test_by_hand() -> None:
    """Of three, two say the first label, one the second and all the third; of the other task nobody has said a word."""
    chosen = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 1]], dtype=bool)
    found = labels(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), chosen, tasks=2, workers=3, method="majority")
    assert found.posterior == pytest.approx(np.array([[2 / 3, 1 / 3, 1], [0.5, 0.5, 0.5]]))
    assert found.chosen.tolist() == [[True, False, True], [False, False, False]]
    assert found.confidence == pytest.approx([2 / 3 * 2 / 3 * 1, 1 / 8])
    assert found.skill is not None
    assert found.skill[:, 0] == pytest.approx([1, 1, 0])
    gold = np.array([[0, -1, -1], [1, 1, 0]], dtype=np.int32)
    pinned = labels(
        np.zeros(3, np.int32), np.arange(3, dtype=np.int32), chosen, tasks=2, workers=3, method="majority", gold=gold
    )
    assert pinned.chosen.tolist() == [[False, False, True], [True, True, False]]


@pytest.mark.parametrize("method", METHODS)
def test_each_label_is_a_choice_of_two(method: str) -> None:
    """By any method for choices."""
    task, worker, chosen = crowd(1)
    found = labels(task, worker, chosen, tasks=15, workers=5, method=method)
    for label in range(3):
        alone = infer(Ballots.of(task, worker, chosen[:, label], classes=2), method)
        assert found.posterior[:, label] == pytest.approx(alone.posterior[:, 1])
    assert found.posterior.shape == (15, 3)
    assert ((found.confidence >= 1 / 8 - 1e-9) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 999))
def test_names_change_nothing(method: str, seed: int) -> None:
    """Tasks, workers and labels in another order, by every method."""
    task, worker, chosen = crowd(seed)
    lot = np.random.default_rng(seed)
    tasks, workers, order = lot.permutation(15).astype(np.int32), lot.permutation(5).astype(np.int32), [2, 0, 1]
    before = labels(task, worker, chosen, tasks=15, workers=5, method=method)
    after = labels(tasks[task], workers[worker], chosen[:, order], tasks=15, workers=5, method=method)
    assert after.posterior[tasks] == pytest.approx(before.posterior[:, order], abs=1e-5)


@given(st.integers(0, 999), st.integers(0, 14))
@settings(max_examples=20, deadline=None)
def test_a_further_vote_for_a_set_never_lowers_its_labels(seed: int, task: int) -> None:
    """This is what the majority promises."""
    tasks, workers, chosen = crowd(seed)
    more = (np.append(tasks, np.int32(task)), np.append(workers, np.int32(5)), np.vstack([chosen, chosen[:1]]))
    before = labels(tasks, workers, chosen, tasks=15, workers=6, method="majority").posterior[task]
    after = labels(*more, tasks=15, workers=6, method="majority").posterior[task]
    assert ((after - before) * np.where(chosen[0], 1, -1) >= 0).all()


def test_what_does_not_fit_is_refused() -> None:
    """Columns of one length; and without any label there is nothing to doubt."""
    with pytest.raises(ValueError, match="one length"):
        labels(
            np.zeros(2, np.int32), np.zeros(2, np.int32), np.ones((1, 1), bool), tasks=1, workers=1, method="majority"
        )
    assert Labelled(np.empty((2, 0)), None).confidence.tolist() == [1, 1]
