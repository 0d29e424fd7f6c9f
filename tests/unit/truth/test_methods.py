"""What holds of every method."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.methods import DEFAULT, METHODS, answers, infer
from tests.unit.truth.small import crowd

every = pytest.mark.parametrize("method", METHODS)


@every
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_names_mean_nothing(method: str, seed: int) -> None:
    """Other names of tasks, workers and classes, and another order of the rows, give the same under the other names."""
    ballots, _ = crowd(seed)
    lot = np.random.default_rng(seed)
    tasks, workers, classes, rows = (
        lot.permutation(count) for count in (ballots.tasks, ballots.workers, ballots.classes, len(ballots))
    )
    renamed = Ballots.of(
        tasks[ballots.task][rows], workers[ballots.worker][rows], classes[ballots.label][rows],
        tasks=ballots.tasks, workers=ballots.workers, classes=ballots.classes,
    )  # fmt: skip
    plain, other = infer(ballots, method), infer(renamed, method)
    assert other.posterior[np.ix_(tasks, classes)] == pytest.approx(plain.posterior, abs=1e-5)
    if plain.skill is not None and other.skill is not None:
        assert other.skill[workers] == pytest.approx(plain.skill, abs=1e-5)


@every
def test_probabilities_are_probabilities(method: str) -> None:
    """Of tasks, skills and confusions; also for a task, a worker and a class of which there is no judgment."""
    ballots, _ = crowd(7)
    ballots = Ballots(ballots.task, ballots.worker, ballots.label, 42, 11, 4)
    inferred = infer(ballots, method)
    assert inferred.posterior.shape == (42, 4)
    assert inferred.posterior.sum(axis=1) == pytest.approx(np.ones(42))
    assert inferred.posterior.min() >= 0
    if inferred.skill is not None:
        assert inferred.skill.shape == (11,)
        assert 0 <= inferred.skill.min() <= inferred.skill.max() <= 1
    if inferred.confusion is not None:
        assert inferred.confusion.shape == (11, 4, 4)
        assert inferred.confusion.sum(axis=2) == pytest.approx(np.ones((11, 4)))


@every
@pytest.mark.parametrize(("tasks", "classes"), [(0, 1), (3, 1), (3, 2)])
def test_nothing_tells_nothing(method: str, tasks: int, classes: int) -> None:
    """Without a judgment all classes are alike."""
    inferred = infer(Ballots.of([], [], [], tasks=tasks, classes=classes), method)
    assert inferred.posterior == pytest.approx(np.full((tasks, classes), 1 / classes))


@every
def test_a_single_class_is_certain(method: str) -> None:
    """There is nothing else to say."""
    assert infer(Ballots.of([0, 0, 1], [0, 1, 0], [0, 0, 0]), method).posterior == pytest.approx(np.ones((2, 1)))


@every
def test_what_is_known_is_not_voted_on(method: str) -> None:
    """Gold is certain whatever was said; the worker who was right on it is believed."""
    task = np.repeat(np.arange(40), 2)
    worker = np.tile([0, 1], 40)
    truth = np.arange(40) % 2
    label = np.where(worker == 0, truth[task], 1 - truth[task])
    label[76:] = [0, 1, 1, 0]  # of tasks 38 and 39 nobody knows the truth
    gold = truth.astype(np.int32)
    gold[38:] = -1
    posterior = infer(Ballots.of(task, worker, label), method, gold=gold).posterior
    assert posterior[np.arange(38), truth[:38]].tolist() == [1.0] * 38
    if method != "majority":
        assert posterior[38, 0] > 0.5
        assert posterior[39, 1] > 0.5


@every
def test_good_workers_are_told_from_bad(method: str) -> None:
    """Most answers are right, and the same judgments give the same result to the last bit."""
    ballots, truth = crowd(11, tasks=200, workers=20, redundancy=6, good=5.0)
    inferred = infer(ballots, method)
    assert (answers(inferred.posterior, ballots.votes()) == truth).mean() > 0.9
    assert (infer(ballots, method).posterior == inferred.posterior).all()


@every
def test_many_classes_take_no_table_of_theirs_by_theirs(method: str) -> None:
    """Three judgments that say two of 3,000 classes: one matrix of those would take 72 MB."""
    ballots = Ballots.of([0, 0, 1], [0, 1, 0], [0, 0, 1], classes=3000)
    tracemalloc.start()
    try:
        found = infer(ballots, method)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert found.posterior.argmax(axis=1).tolist() == [0, 1]


def test_what_memory_cannot_hold_is_refused() -> None:
    """A million free texts are no choice: that is said before the memory is gone."""
    ballots = Ballots.of(np.arange(50_000), np.zeros(50_000), np.arange(50_000))
    with pytest.raises(ValueError, match="50000 judgments of 50000 tasks are too many for 50000 labels"):
        infer(ballots, "majority")


@pytest.mark.parametrize("gold", [np.array([0, 5], dtype=np.int32), np.array([0], dtype=np.int32)])
def test_gold_that_cannot_be_is_refused(gold: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
    """One truth or none for each task, and of a class that there is."""
    with pytest.raises(ValueError, match="gold must be 2 numbers between -1 and 1"):
        infer(Ballots.of([0, 1], [0, 0], [0, 1]), DEFAULT, gold=gold)
