"""Who copies: by hand, and how seldom the honest are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth import copying as module
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.copying import copying, evidence_of
from manyhands_aggregator.truth.peers import peers
from tests.unit.truth.small import ballots_of, names, renamed


def test_evidence_by_hand() -> None:
    """Where others agree in a quarter of all cases, agreeing is worth 3.25, and not agreeing a quarter."""
    one = evidence_of(np.array([0, 1]), np.array([0.25, 0.25]), np.array([True, False]))
    assert np.exp(one) == pytest.approx([3.25, 0.25])


@given(st.floats(0.001, 0.999))
def test_evidence_is_fair(chance: float) -> None:
    """Its mean is 1 for who does not copy: nobody gets rich by betting against the honest."""
    agree, differ = np.exp(evidence_of(np.array([0, 1]), np.full(2, chance), np.array([True, False])))
    assert chance * agree + (1 - chance) * differ == pytest.approx(1.0)


def test_a_copier_and_its_victim_are_told_apart() -> None:
    """Named is who comes later, and whom it copies; without an order each is the other's."""
    said = simulate(Crowd(classes=4, copying=0.1, seed=3))
    ballots = ballots_of(said)
    found = copying(ballots, peers(ballots))
    assert np.array_equal(found.victim, said.victim)
    assert (found.evidence[said.spammer] > found.evidence[~said.spammer].max()).all()
    either = copying(ballots, peers(ballots), ordered=False)
    for copier in np.flatnonzero(said.spammer):
        assert either.victim[copier] == said.victim[copier]
        assert either.victim[said.victim[copier]] >= 0


def test_honest_workers_who_fall_for_the_same_options_do_not_copy() -> None:
    """Hard tasks and tempting options make errors agree; over ten crowds of fifty, hardly anybody is named."""
    named = 0
    for seed in range(10):
        ballots = ballots_of(simulate(Crowd(classes=4, difficulty=0.8, decoy=0.8, seed=seed)))
        named += int((copying(ballots, peers(ballots)).victim >= 0).sum())
    assert named <= 5


def test_of_many_pairs_whole_tasks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the pairs is enough to find who copies."""
    said = simulate(Crowd(tasks=3000, classes=4, copying=0.1, seed=3))
    ballots = ballots_of(said)
    monkeypatch.setattr(module, "PAIRS", 18_000)
    first, second = module._met(ballots)
    assert 10_000 < len(first) <= 18_000
    assert (ballots.task[first] == ballots.task[second]).all()
    assert np.array_equal(copying(ballots, peers(ballots)).victim, said.victim)


def test_classes_too_many_for_matrices_are_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all workers are taken to err alike."""
    said = simulate(Crowd(classes=4, copying=0.1, seed=3))
    ballots = ballots_of(said)
    monkeypatch.setattr(module, "CELLS", 0)
    assert np.array_equal(copying(ballots, peers(ballots)).victim, said.victim)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_names_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels: the same evidence against the same ones."""
    ballots = ballots_of(simulate(Crowd(tasks=200, classes=3, workers=20, copying=0.1, seed=seed)))
    workers, labels = names(other, ballots)
    again = renamed(ballots, workers, labels)
    found, moved = copying(ballots, peers(ballots)), copying(again, peers(again))
    assert moved.evidence[workers] == pytest.approx(found.evidence, abs=1e-4)
    assert np.array_equal(moved.victim[workers] >= 0, found.victim >= 0)


def test_nobody_meets_nobody() -> None:
    """One judgment a task: nothing to find."""
    ballots = Ballots.of([0, 1, 2], [0, 1, 2], [0, 0, 0])
    assert copying(ballots, peers(ballots)).victim.tolist() == [-1, -1, -1]
