"""Answers that become gold: by hand, and never by a worker's own vote."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.peers import Peers, peers
from manyhands_aggregator.truth.promotion import promoted
from tests.unit.truth.small import crowd, names, renamed

seeds = st.integers(0, 10_000)


def seen(ballots: Ballots, gain: float) -> Peers:
    """Peers of whom each vote adds so much, and no class is likelier beforehand."""
    scores = np.zeros((ballots.tasks, ballots.classes))
    np.add.at(scores, (ballots.task, ballots.label), gain)
    n, unknown = len(ballots), np.full(ballots.tasks, -1, np.int32)
    return Peers(
        ballots, np.zeros(n), np.ones(n, bool), scores, np.full(ballots.workers, gain), unknown, np.zeros(n), np.ones(n)
    )


def test_beyond_doubt_by_hand() -> None:
    """A vote is worth ln 20: two others make 400 to 1, one other 20 to 1, and two against one 20 to 1 again."""
    ballots = Ballots.of([0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 2, 0, 1, 0, 1, 2, 3], [1, 1, 1, 1, 1, 0, 0, 0, 1])
    assert promoted(ballots, seen(ballots, np.log(20))).tolist() == [1, -1, -1]
    # of the third task three are for it and one against: without one of them it is 20 to 1, which 0.95 allows
    assert promoted(ballots, seen(ballots, np.log(20)), probability=0.95).tolist() == [1, -1, 0]
    assert promoted(ballots, seen(ballots, np.log(20)), probability=0.95, bearers=2).tolist() == [1, 1, 0]


def test_what_is_known_stays() -> None:
    """Gold says otherwise than all."""
    ballots = Ballots.of([0] * 5, range(5), [0] * 5, classes=2)
    assert promoted(ballots, peers(ballots, np.array([1], np.int32))).tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_it_is_nearly_always_right(seed: int) -> None:
    """Of a crowd of good workers: hardly a wrong one among what is promoted."""
    ballots, truth = crowd(seed, tasks=200, workers=20, redundancy=6)
    found = promoted(ballots, peers(ballots))
    known = found >= 0
    assert (found[known] != truth[known]).sum() <= max(2, 0.02 * known.sum())


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 199))
def test_no_judgment_decides_against_whom_it_is_measured(seed: int, row: int) -> None:
    """Another label in one row: its task is not promoted to another answer."""
    ballots, _ = crowd(seed)
    found = promoted(ballots, seen(ballots, 2.0))
    labels = ballots.label.copy()
    labels[row] = (labels[row] + 1) % ballots.classes
    other = Ballots(ballots.task, ballots.worker, labels, ballots.tasks, ballots.workers, ballots.classes)
    again = promoted(other, seen(other, 2.0))
    task = ballots.task[row]
    assert -1 in (found[task], again[task]) or found[task] == again[task]


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_names_mean_nothing(seed: int, other: int) -> None:
    """Other numbers for workers and labels: the same tasks, and the same truths by their new numbers."""
    ballots, _ = crowd(seed)
    workers, labels = names(other, ballots)
    again = renamed(ballots, workers, labels)
    found, moved = promoted(ballots, peers(ballots)), promoted(again, peers(again))
    assert moved.tolist() == [-1 if truth < 0 else labels[truth] for truth in found.tolist()]
