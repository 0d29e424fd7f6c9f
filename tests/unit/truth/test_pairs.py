"""Comparisons: worked by hand, crowd-kit where it is the same, and what no change of names may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import BradleyTerry, NoisyBradleyTerry
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.pairs import METHODS, Pairs, bradley_terry, noisy


def crowd(seed: int, items: int = 8, workers: int = 6, each: int = 60, lazy: int = 0) -> tuple[Pairs, np.ndarray]:
    """Comparisons by workers who look, but the last ``lazy``, who say left nine times in ten; and the scores (I,)."""
    lot = np.random.default_rng(seed)
    score = np.exp(lot.normal(0, 1.5, items))
    left = lot.integers(0, items, workers * each)
    right = (left + lot.integers(1, items, workers * each)) % items
    worker = np.repeat(np.arange(workers), each)
    looks = worker < workers - lazy
    chance = np.where(looks, score[left] / (score[left] + score[right]), 0.9)
    return Pairs(left, right, lot.random(len(left)) < chance, worker, items, workers), score


def test_by_hand() -> None:
    """Three wins of four: without a prior scores of 3 to 1; of a middling item and two prior ones, see the equation."""
    pairs = Pairs.of([0, 0, 0, 1], [1, 1, 1, 0], [True, True, True, True])
    assert bradley_terry(pairs, prior=0).score == pytest.approx([0.75, 0.25])
    assert bradley_terry(pairs, prior=0).confidence == pytest.approx([3**0.5 / (3**0.5 + 1), 1 / (3**0.5 + 1)])
    # by symmetry p and 1/p: with two prior comparisons, 4 p^2 / (p^2 + 1) + 2 p / (p + 1) = 3 + 1
    found = bradley_terry(pairs, prior=2)
    p = (found.score[0] / found.score[1]) ** 0.5
    assert 4 * p**2 / (p**2 + 1) + 2 * p / (p + 1) == pytest.approx(4)


@pytest.mark.parametrize("method", METHODS.values())
def test_what_is_not_connected_stays_finite(method: Any) -> None:
    """Two islands, one item that always wins, one that nobody has compared: the prior has a score for each."""
    left, right = np.array([0, 0, 2]), np.array([1, 1, 3])
    found = method(Pairs(left, right, left < right, np.array([0, 1, 0]), 5, 2))
    assert np.isfinite(found.score).all()
    assert found.score.sum() == pytest.approx(1)
    assert found.score[0] > found.score[2] > found.score[4] > found.score[3] > found.score[1] > 0
    assert found.confidence[4] == pytest.approx(0.5, abs=0.05)
    nothing = method(Pairs.of([], [], []))
    assert len(nothing.score) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_scores_are_crowd_kits(seed: int) -> None:
    """To 1e-6, where all are connected and there is no prior. (Its own tolerance ends it after two rounds.)"""
    pairs, _ = crowd(seed)
    frame = pd.DataFrame({"left": pairs.left, "right": pairs.right, "label": pairs.won, "worker": pairs.worker})
    theirs = BradleyTerry(n_iter=3000, tol=0).fit_predict(frame).sort_index()
    assert bradley_terry(pairs, prior=0).score == pytest.approx(theirs.to_numpy(), abs=1e-6)


def test_the_noisy_model_fits_better_than_crowd_kits() -> None:
    """The same likelihood, all but without priors: ours is as high as the one that crowd-kit climbs to, or higher."""
    pairs, _ = crowd(3, lazy=2)

    def likelihood(score: Any, skill: Any, bias: Any) -> float:
        looked = score[pairs.won] / (score[pairs.won] + score[pairs.lost])
        habit = np.where(pairs.first, bias[pairs.worker], 1 - bias[pairs.worker])
        return float(np.log(skill[pairs.worker] * looked + (1 - skill[pairs.worker]) * habit).sum())

    frame = pd.DataFrame({"left": pairs.left, "right": pairs.right, "label": pairs.won, "worker": pairs.worker})
    model = NoisyBradleyTerry(n_iter=100).fit(frame)
    odds = (model.scores_ / (1 - model.scores_)).sort_index().to_numpy()
    theirs = likelihood(odds, model.skills_.to_numpy(), model.biases_.to_numpy())
    ours = noisy(pairs, prior=1e-3, skill=(1e-3, 1e-3))
    assert ours.skill is not None
    assert ours.bias is not None
    assert likelihood(ours.score, ours.skill, ours.bias) >= theirs - 1e-3


def test_who_does_not_look_is_found() -> None:
    """Two of six say left nine times in ten: their skill and bias tell, and the scores come closer to the true ones."""
    better = 0
    for seed in range(6):
        pairs, truth = crowd(seed, each=120, lazy=2)
        found = noisy(pairs)
        assert found.skill is not None
        assert found.bias is not None
        assert found.skill[:4].min() > 0.6 > 0.45 > found.skill[4:].max()
        assert found.bias[4:].min() > 0.75

        def off(score: Any, truth: Any = truth) -> float:
            said, true = (s[:, None] / (s[:, None] + s[None, :]) for s in (score, truth))
            return float(np.abs(said - true).mean())

        better += off(found.score) < off(bradley_terry(pairs).score)
    assert better >= 5


@pytest.mark.parametrize("method", METHODS.values())
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_names_and_sides_change_nothing(method: Any, seed: int) -> None:
    """Items and workers renamed, rows in another order; and for who has no side, left for right."""
    pairs, _ = crowd(seed, each=20)
    lot = np.random.default_rng(seed)
    items, workers, rows = lot.permutation(8), lot.permutation(6), lot.permutation(120)
    other = Pairs(
        items[pairs.right][rows], items[pairs.left][rows], ~pairs.first[rows], workers[pairs.worker][rows], 8, 6
    )
    before, after = method(pairs), method(other)
    assert after.score[items] == pytest.approx(before.score, rel=1e-3, abs=1e-6)
    if before.skill is not None:
        assert after.skill[workers] == pytest.approx(before.skill, abs=1e-3)
        assert after.bias[workers] == pytest.approx(1 - before.bias, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), one=st.integers(0, 7), other=st.integers(1, 7))
def test_a_further_win_raises_the_winner(seed: int, one: int, other: int) -> None:
    """And lowers the loser: this is what Bradley and Terry's model promises."""
    pairs, _ = crowd(seed, each=10)
    loser = (one + other) % 8
    more = Pairs(
        np.append(pairs.left, one), np.append(pairs.right, loser), np.append(pairs.first, True),
        np.append(pairs.worker, 0), 8, 6,
    )  # fmt: skip
    before, after = bradley_terry(pairs), bradley_terry(more)
    assert after.score[one] / after.score[loser] > before.score[one] / before.score[loser]


@pytest.mark.parametrize(
    ("columns", "said"),
    [(([0], [0], [True]), "itself"), (([0], [1, 2], [True]), "one length"), (([-1], [1], [True]), "every left")],
)
def test_what_is_no_comparison_is_refused(columns: Any, said: str) -> None:
    """With a sentence."""
    with pytest.raises(ValueError, match=said):
        Pairs.of(*columns)
