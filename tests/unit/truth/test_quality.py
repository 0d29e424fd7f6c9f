"""Spammers among the honest: they are found, the others are left alone, and the answers are those without them."""

from __future__ import annotations

import numpy as np
import pytest

from manyhands.spec.quality import Quality
from manyhands.testing.crowd import KINDS, Crowd, Simulated, simulate
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.methods import infer
from manyhands_aggregator.truth.quality import assess
from tests.unit.truth.small import ballots_of

#: Two tenths of spammers, of all kinds.
SPAM = {"random": 0.08, "constant": 0.06, "copying": 0.06}


def right(ballots: Ballots, said: Simulated) -> float:
    """The share of right answers, by the default method."""
    return float((infer(ballots).posterior.argmax(axis=1) == said.truth).mean())


@pytest.mark.parametrize(
    "crowd",
    [
        {},
        {"difficulty": 0.6, "decoy": 0.5},
        {"skill": (6.0, 4.0)},
        {"fatigue": 0.3, "drift": -0.2, "difficulty": 0.3, "decoy": 0.3},
    ],
)
def test_spammers_are_found_and_the_honest_are_not_accused(crowd: dict[str, float]) -> None:
    """With 20 % spammers: at least 95 % found, at most 2 % accused, answers within a point of those without them."""
    found, accused, lost = [], [], []
    for seed in range(4):
        clean, said = (simulate(Crowd(classes=4, seed=seed, **more, **crowd)) for more in ({}, SPAM))  # type: ignore[arg-type]
        ballots = ballots_of(said)
        verdicts = assess(ballots, said.seconds.astype(np.float64)).verdicts(Quality())
        out = np.array([v.action in ("pause", "retire") for v in verdicts])
        found.append(out[said.spammer].mean())
        accused.append(out[~said.spammer].mean())
        lost.append(right(ballots_of(clean), clean) - right(ballots.among(~out[ballots.worker]), said))
    assert np.mean(found) >= 0.95
    assert np.mean(accused) <= 0.02
    assert max(lost) <= 0.01


def test_a_crowd_without_spammers_is_left_alone() -> None:
    """At most one in fifty accused over five crowds, with as little to go by as thirty judgments each."""
    accused = []
    for seed in range(5):
        said = simulate(Crowd(classes=4, workers=200, tasks=1200, seed=seed))
        verdicts = assess(ballots_of(said), said.seconds.astype(np.float64)).verdicts(Quality())
        accused.append(np.mean([v.action in ("pause", "retire") for v in verdicts]))
    assert np.mean(accused) <= 0.02


def test_gold_finds_what_a_majority_of_spammers_hides() -> None:
    """Three in four always say 0: the others say that the honest are wrong, and gold says who is."""
    said = simulate(Crowd(tasks=400, classes=3, workers=8, redundancy=3, constant=3.0, tail=0.0, prior=(1, 2, 2)))
    gold = np.where(np.arange(said.tasks) % 4 == 0, said.truth, -1).astype(np.int32)
    found = assess(ballots_of(said), gold=gold)
    honest = found.right[~said.spammer] / found.compared[~said.spammer]
    spammers = found.right[said.spammer] / found.compared[said.spammer]
    assert honest.min() > spammers.max()


def test_machines_are_as_fast_as_they_are_and_copy_nobody() -> None:
    """Two machines of one model make the same mistakes: that is said, and nothing is done about either."""
    said = simulate(Crowd(tasks=600, classes=4, workers=30, redundancy=5, copying=0.04, slip=0.0, seed=5))
    copier = int(np.flatnonzero(said.spammer)[0])
    machines = np.zeros(said.workers, bool)
    machines[[copier, said.victim[copier]]] = True
    found = assess(ballots_of(said), said.seconds.astype(np.float64), machines=machines)
    evidence = found.of(copier)
    assert np.isnan(evidence.pace)
    assert evidence.copies is None
    assert evidence.twin == said.victim[copier]
    assert found.verdicts(Quality())[copier].action == "warn"
    people = assess(ballots_of(said), said.seconds.astype(np.float64))
    assert people.of(copier).copies == said.victim[copier]
    assert KINDS[said.kind[copier]] == "copying"


def test_without_an_order_nobody_is_called_a_copier() -> None:
    """Of two who agree in their errors one does not know who came first; both are named to the requester."""
    said = simulate(Crowd(classes=4, copying=0.1, seed=3))
    found = assess(ballots_of(said), ordered=False)
    for copier in np.flatnonzero(said.spammer):
        assert found.of(int(copier)).copies is None
        assert found.of(int(copier)).twin == said.victim[copier]
    assert not any(v.action in ("pause", "retire") for v in found.verdicts(Quality()))
