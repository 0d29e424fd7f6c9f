"""The models with priors: what they are for. Cases by hand are in test_by_hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import digamma as scipys  # type: ignore[import-untyped]  # it ships no types

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth import glad as glads
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.blend import blend
from manyhands_aggregator.truth.bwa import bwa
from manyhands_aggregator.truth.glad import glad
from manyhands_aggregator.truth.ibcc import ibcc
from manyhands_aggregator.truth.mace import mace
from manyhands_aggregator.truth.pooled import pooled
from manyhands_aggregator.truth.special import digamma
from manyhands_aggregator.truth.voting import majority
from tests.unit.truth.small import crowd

#: One worker says the first of two classes of one task.
ONE = Ballots.of([0], [0], [0], classes=2)


def odds(x: float) -> float:
    """The probability of these odds' logarithm."""
    return 1.0 / (1.0 + math.exp(-x))


def test_digamma_is_scipys() -> None:
    """From the smallest counts to the largest."""
    x = np.logspace(-6, 8, 500)
    assert digamma(x) == pytest.approx(scipys(x), rel=1e-12, abs=1e-12)


def test_glad_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first step ability is 1 and ease e; a step of Newton's for each raises both."""
    monkeypatch.setattr(glads, "STEPS", 0)
    assert glad(ONE, iterations=1).posterior[0, 0] == pytest.approx(odds(math.e))
    three = glad(Ballots.of([0], [0], [0], classes=3), iterations=1).posterior
    assert three[0, 0] == pytest.approx(math.exp(math.e) / (math.exp(math.e) + 1))
    monkeypatch.setattr(glads, "STEPS", 1)
    chance = odds(math.e)
    ability = 1 + (1 - chance) * math.e / (chance * (1 - chance) * math.e**2 + 1)
    product = ability * math.e
    chance = odds(product)
    ease = 1 + (1 - chance) * product / (chance * (1 - chance) * product**2 + 1)
    assert glad(ONE, iterations=1).posterior[0, 0] == pytest.approx(odds(ability * math.exp(ease)))


def test_blend_is_the_mean_stated_more_surely() -> None:
    """A power keeps every order; the confidence is three quarters of the way to the pooled model's, of 96 % of it."""
    ballots, _ = crowd(5)
    first = pooled(ballots).posterior
    mean = (first + bwa(ballots).posterior) / 2
    found = (blend(ballots).posterior - 0.04 / 3) / 0.96
    assert (found.argsort(axis=1) == mean.argsort(axis=1)).all()
    wanted = 0.75 * first.max(axis=1).mean() + 0.25 * mean.max(axis=1).mean()
    assert found.max(axis=1).mean() == pytest.approx(wanted, abs=1e-5)
    power = np.log(found[:, 0] / found[:, 1]) / np.log(mean[:, 0] / mean[:, 1])
    assert power == pytest.approx(np.full(len(power), power[0]), rel=1e-6)


def test_hard_tasks_are_not_stated_as_easy_ones() -> None:
    """Where a third of the tasks is a lottery, the pooled model states little more than it reaches."""
    lot = np.random.default_rng(3)
    truth = lot.integers(0, 2, 600)
    skill = np.where(lot.random(600) < 1 / 3, 0.5, 0.9)
    task = np.repeat(np.arange(600), 12)
    label = np.where(lot.random(7200) < skill[task], truth[task], 1 - truth[task])
    ballots = Ballots.of(task, np.tile(np.arange(12), 600), label)
    careful, sure = pooled(ballots).posterior, pooled(ballots, correlation=0.0).posterior
    right = (careful.argmax(axis=1) == truth).mean()
    assert abs(careful.max(axis=1).mean() - right) < 0.07
    assert sure.max(axis=1).mean() > careful.max(axis=1).mean() + 0.05


def test_one_busy_worker_does_not_decide_alone() -> None:
    """It judges every task, and worse than the others, of whom no two have much in common: the votes know better."""
    lot = np.random.default_rng(0)
    truth = lot.integers(0, 2, 800)
    others = 1 + lot.permuted(np.tile(np.arange(60), (800, 1)), axis=1)[:, :2]
    worker = np.hstack([np.zeros((800, 1), int), others])
    right = lot.random((800, 3)) < np.where(worker == 0, 0.72, 0.8)
    label = np.where(right, truth[:, None], 1 - truth[:, None])
    ballots = Ballots.of(np.repeat(np.arange(800), 3), worker, label)
    votes, plain, doubted, default = (
        float((method(ballots).posterior.argmax(axis=1) == truth).mean())
        for method in (majority, bwa, partial(bwa, doubted=True), blend)
    )
    assert plain < votes - 0.1
    assert min(doubted, default) > votes - 0.01


@pytest.mark.parametrize("rare", [0.12, 0.05])
def test_mistakes_are_no_tasks_of_the_class_that_they_name(rare: float) -> None:
    """Few tasks are of the second class and one judgment in three is wrong, so votes say 34 to 38 in 100 are."""
    gained = []
    for seed in range(4):
        crowd_ = Crowd(
            tasks=600, workers=30, redundancy=5, skill=(4, 2), prior=(1 - rare, rare), difficulty=0.3, seed=seed
        )
        said = simulate(crowd_)
        ballots = Ballots.of(said.task, said.worker, said.label)
        votes, default = (
            float((method(ballots).posterior.argmax(axis=1) == said.truth).mean()) for method in (majority, blend)
        )
        gained.append(default - votes)
    assert min(gained) > 0.05
    assert np.mean(gained) > 0.08


def two_kinds_of_tasks(seed: int) -> tuple[Ballots, NDArray[np.int64]]:
    """Three in ten tasks of either class are of another kind, in which every worker is good or bad anew."""
    lot = np.random.default_rng(seed)
    truth, kind = (lot.random(800) < 0.25).astype(int), (lot.random(800) < 0.3).astype(int)
    skill = lot.beta(2, 1, (20, 2, 2))
    worker = lot.permuted(np.tile(np.arange(20), (800, 1)), axis=1)[:, :5]
    right = lot.random((800, 5)) < skill[worker, truth[:, None], kind[:, None]]
    label = np.where(right, truth[:, None], 1 - truth[:, None])
    return Ballots.of(np.repeat(np.arange(800), 5), worker, label), truth


def test_workers_who_err_on_the_same_tasks_do_not_make_a_class_of_them() -> None:
    """Two kinds of tasks in each class are told apart, and that keeps the default clear of the votes."""
    for seed in (0, 2):
        ballots, truth = two_kinds_of_tasks(seed)
        votes, one, two, default = (
            float((method(ballots).posterior.argmax(axis=1) == truth).mean())
            for method in (majority, ibcc, partial(ibcc, two_kinds=True), blend)
        )
        assert two > one + 0.02
        assert default > votes + 0.05


def test_known_truths_hold_for_both_kinds() -> None:
    """They are certain, whatever the votes say, and workers are measured by them."""
    ballots, truth = two_kinds_of_tasks(0)
    gold = np.where(np.arange(800) % 4 == 0, truth, -1).astype(np.int32)
    without, found = ibcc(ballots, two_kinds=True), ibcc(ballots, two_kinds=True, gold=gold)
    known = gold >= 0
    assert (found.posterior[known, truth[known]] == 1.0).all()
    assert found.posterior.sum(axis=1) == pytest.approx(1.0)
    assert found.confusion is not None
    assert found.confusion.sum(axis=2) == pytest.approx(1.0)
    right = [float((each.posterior.argmax(axis=1) == truth)[~known].mean()) for each in (without, found)]
    assert right[1] >= right[0]


def test_habits_are_seen_through() -> None:
    """Two of five always say the same; the others are right in four of five."""
    lot = np.random.default_rng(1)
    truth = lot.integers(0, 3, 200)
    label = np.where(lot.random((200, 5)) < 0.8, truth[:, None], lot.integers(0, 3, (200, 5)))
    label[:, 3:] = 2
    ballots = Ballots.of(np.repeat(np.arange(200), 5), np.tile(np.arange(5), 200), label)
    for method in (ibcc, mace, pooled):
        inferred = method(ballots)
        assert (inferred.posterior.argmax(axis=1) == truth).mean() > 0.9
        assert inferred.skill is not None
        assert inferred.skill[:3].min() > inferred.skill[3:].max() + 0.2
