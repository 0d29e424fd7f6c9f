"""Judgments as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from manyhands_aggregator.truth.ballots import Ballots, in_order, number
from manyhands_aggregator.truth.inferred import answers


def test_votes_are_counted_by_task_and_class() -> None:
    """A task that nobody has judged has none."""
    ballots = Ballots.of([0, 0, 2, 0], [0, 1, 0, 2], [1, 1, 0, 0], tasks=4)
    assert ballots.votes().tolist() == [[1, 2], [0, 0], [1, 0], [0, 0]]
    assert (ballots.workers, ballots.classes, len(ballots)) == (3, 2, 4)


def test_rows_are_found_by_task_and_by_worker() -> None:
    """Rows keep their order within a group."""
    ballots = Ballots.of([2, 0, 2], [1, 1, 0], [0, 0, 0])
    order, begin = ballots.by_task()
    assert (order.tolist(), begin.tolist()) == ([1, 0, 2], [0, 1, 1, 3])
    order, begin = ballots.by_worker()
    assert (order.tolist(), begin.tolist()) == ([2, 0, 1], [0, 1, 3])


def test_names_are_numbered_as_they_appear() -> None:
    """Whatever can be a key is a name."""
    numbers, names = number(["b", "a", "b", ("c", 1)])
    assert (numbers.tolist(), names) == ([0, 1, 0, 2], ["b", "a", ("c", 1)])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([0], [0], [2]), "label must be between 0 and 1"),
        (([0], [-1], [1]), "worker must be between 0 and 0"),
        (([0, 0], [0], [1]), "columns of one length"),
    ],
)
def test_numbers_out_of_range_are_refused(columns: tuple[list[int], list[int], list[int]], said: str) -> None:
    """A sum over them would be wrong, or end somewhere else."""
    task, worker, label = (np.array(column, dtype=np.int32) for column in columns)
    with pytest.raises(ValueError, match=said):
        Ballots(task, worker, label, 1, 1, 2)


def test_a_tie_goes_to_the_votes_and_then_to_the_first() -> None:
    """A difference of rounding is none."""
    posterior = np.array([[0.5, 0.5], [0.5, 0.5], [0.3, 0.7], [0.5 + 1e-13, 0.5 - 1e-13]])
    assert answers(posterior, np.array([[1, 2], [1, 1], [5, 0], [0, 1]])).tolist() == [1, 0, 1, 1]


def test_keys_in_order_beyond_16_bits() -> None:
    """Equal ones stay as they stand."""
    keys = np.random.default_rng(1).integers(0, 1 << 18, 1000).astype(np.int32)
    keys[500:] = keys[:500]
    assert in_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()
    assert in_order(keys[:0]).tolist() == []
