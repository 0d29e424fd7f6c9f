"""Who looks at its tasks and who does not: by hand, and laws that hold for any worker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth.attention import SPAMMERS, attention
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import peers
from tests.unit.truth.small import ballots_of, crowd, names, renamed, shuffled

seeds = st.integers(0, 10_000)


def test_attention_without_judgments_is_that_of_anybody() -> None:
    """As many never look as a crowd has in the mean, beforehand."""
    nobody = Ballots.of([], [], [], workers=3, classes=2)
    likely = (1 - SPAMMERS) ** 6
    assert attention(nobody, peers(nobody)) == pytest.approx([(SPAMMERS * likely).sum() / likely.sum()] * 3)


def test_who_always_says_what_is_mostly_right_is_no_expert() -> None:
    """One names the rare ones, one never does: 100 % and 90 % right, and all and nothing of attention."""
    truth = np.array(([0] * 9 + [1]) * 20, np.int32)
    tasks = np.arange(len(truth))
    ballots = Ballots.of(np.tile(tasks, 3), np.repeat([0, 1, 2], len(tasks)), np.concatenate([truth, 0 * truth, truth]))
    spam = attention(ballots, peers(ballots, truth))
    assert spam[0] < 0.001
    assert spam[1] > 0.9


def test_who_is_often_wrong_may_be_looking() -> None:
    """Right in half of a hundred judgments among ten options is no guessing."""
    lot = np.random.default_rng(2)
    truth = lot.integers(0, 10, 100).astype(np.int32)
    said = np.where(np.arange(100) % 2, truth, lot.integers(0, 10, 100))
    ballots = Ballots.of(np.tile(np.arange(100), 2), np.repeat([0, 1], 100), np.concatenate([said, truth]))
    spam = attention(ballots, peers(ballots, truth))
    assert spam[0] < 0.001


def test_speed_counts_as_evidence() -> None:
    """The more it says, the likelier."""
    ballots, _ = crowd(3)
    known = peers(ballots)
    spam = [attention(ballots, known, np.full(ballots.workers, e)) for e in (-3.0, 0.0, 3.0)]
    assert (spam[0] <= spam[1]).all()
    assert (spam[1] <= spam[2]).all()


def test_the_weak_of_a_crowd_are_not_accused() -> None:
    """Two options and nobody's times: who is right in little more than half cannot be told from who tosses a coin."""
    accused = []
    for seed in range(5):
        said = simulate(Crowd(skill=(6.0, 4.0), random=0.1, constant=0.1, seed=seed))
        ballots = ballots_of(said)
        spam = attention(ballots, peers(ballots))
        accused.append((spam[said.kind == 0] >= 0.6).mean())
        assert (spam[said.kind == 2] >= 0.6).all()  # those who always say the same are found all the same
    assert np.mean(accused) <= 0.02


def test_who_errs_more_often_than_chance_does_look() -> None:
    """Right in a fifth of two hundred judgments of two options: no coin is like that."""
    lot = np.random.default_rng(4)
    truth = lot.integers(0, 2, 200).astype(np.int32)
    said = np.where(lot.random(200) < 0.2, truth, 1 - truth)
    ballots = Ballots.of(np.tile(np.arange(200), 2), np.repeat([0, 1], 200), np.concatenate([said, truth]))
    assert attention(ballots, peers(ballots, truth))[0] < 0.01


def test_who_chooses_what_is_mostly_there_does_not_look() -> None:
    """Three labels, a row each: one nearly always there, one hardly ever; one worker says just that each time."""
    lot = np.random.default_rng(6)
    truth = (lot.random((80, 3)) < (0.95, 0.05, 0.5)).astype(np.int32)
    errs = [np.where(lot.random((80, 3)) < 0.1, 1 - truth, truth) for _ in range(4)]
    said = np.concatenate([*(one.ravel() for one in errs), np.tile([1, 0, 1], 80)])
    ballots = Ballots.of(np.tile(np.arange(240), 5), np.repeat(np.arange(5), 240), said)
    spam = attention(ballots, peers(ballots), rows=3)
    assert spam[4] > 0.5
    assert spam[:4].max() < 0.01


@settings(max_examples=30, deadline=None)
@given(seeds, seeds)
def test_names_and_order_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels, another order of rows: the same probabilities."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    again = shuffled(other, renamed(ballots, workers, labels))
    moved = attention(again, peers(again))
    assert moved[workers] == pytest.approx(attention(ballots, peers(ballots)), abs=1e-6)
