"""Dawid and Skene's models by hand."""

from __future__ import annotations

import numpy as np
import pytest

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.dawid_skene import dawid_skene, one_coin


def test_one_round_by_hand() -> None:
    """Two workers agree on task 0 and differ on task 1: half of the second's mass is on either class."""
    ballots = Ballots.of([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1])
    first = dawid_skene(ballots, iterations=1)
    # counts after the votes: worker 0 says 0 with truth 0 1.5 times, with truth 1 0.5; worker 1 says 1 half, half
    prior, zero, one = (0.75, 0.25), (1.0, 1.0), (2 / 3, 1e-10)
    both = np.array([prior[0] * zero[0] * one[0], prior[1] * zero[1] * one[1]])
    differ = np.array([prior[0] * 1 / 3, prior[1] * 1.0])
    assert first.posterior == pytest.approx(np.array([both / both.sum(), differ / differ.sum()]), abs=1e-9)


def test_one_coin_by_hand() -> None:
    """Worker 2 differs from two who agree: after a round their skills are 1, 1 and 0 of the shares of votes."""
    ballots = Ballots.of([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 0])
    first = one_coin(ballots, iterations=1)
    odds = (2 / 3) / (1 / 3) * (2 / 3) / (1 / 3) * (2 / 3) / (1 / 3)
    assert first.posterior[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    assert first.skill == pytest.approx(np.array([odds, odds, 1.0]) / (1 + odds))


def test_a_worker_who_mistakes_one_class_for_another_is_understood() -> None:
    """The matrix says so, and the class that he always says in its place counts for what it means."""
    truth = np.tile([0, 1, 2], 40)
    task = np.repeat(np.arange(120), 4)
    worker = np.tile(np.arange(4), 120)
    label = truth[task].copy()
    label[(worker == 3) & (label == 2)] = 1
    label[(worker == 3) & (truth[task] == 1)] = 2
    inferred = dawid_skene(Ballots.of(task, worker, label))
    assert inferred.confusion is not None
    assert inferred.confusion[3] == pytest.approx(np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]), abs=1e-6)
    assert (inferred.posterior.argmax(axis=1) == truth).all()


def test_prior_judgments_keep_a_worker_of_few_from_the_ends() -> None:
    """One who was right once is not known to be always right."""
    ballots = Ballots.of([0, 0, 0], [0, 1, 2], [1, 1, 1])
    skill = one_coin(ballots, prior=(2.8, 1.2)).skill
    assert skill is not None
    assert (skill < 0.81).all()
