"""Who does not look, repeats itself or copies, where judgments are numbers and texts: found, and nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from manyhands.spec.quality import Quality
from manyhands.testing.crowd import KINDS, Crowd, simulate
from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.idleness import idleness, repeats
from manyhands_aggregator.truth.likeness import Alike, near, same
from manyhands_aggregator.truth.quality import Assessment, compare

SPAM = {"random": 0.08, "constant": 0.06, "copying": 0.06}


def open_crowd(kind: str, seed: int, *, wholly: bool = False, **more: Any) -> tuple[Ballots, Alike, NDArray[np.int32]]:
    """A simulated crowd that says numbers or texts, and the kind of each worker.

    Right labels are the truth, but for an error; wrong ones anything. Who picks at random says anything, who always
    says the same one number or text, and a copier just what its victim said.
    """
    said = simulate(Crowd(classes=50, seed=seed, **{**SPAM, **more}))
    lot = np.random.default_rng(seed)
    n, worker, kinds = len(said.task), said.worker, said.kind[said.worker]
    truth = lot.normal(50.0, 15.0, said.tasks)[said.task]
    right = said.label == said.truth[said.task]
    if kind == "number":
        value = np.where(right, truth + lot.normal(0.0, 2.0, n), lot.normal(50.0, 15.0, n))
        value = np.where(kinds == 1, lot.normal(50.0, 15.0, n), np.where(kinds == 2, 50.0 + worker, value))
    else:
        value = np.where(right, truth, lot.random(n))
        value = np.where(kinds == 1, lot.random(n), np.where(kinds == 2, -1.0 - worker, value))
    first = {(t, w): v for t, w, v in zip(said.task.tolist(), worker.tolist(), value.tolist(), strict=True)}
    for row in np.flatnonzero(kinds == KINDS.index("copying")).tolist():
        if lot.random() > 0.05:
            value[row] = first[said.task[row], int(said.victim[worker[row]])]
    value = np.round(value) if wholly else value
    values, label = np.unique(value, return_inverse=True)
    ballots = Ballots.of(said.task, worker, label, tasks=said.tasks, workers=said.workers, classes=len(values))
    alike = near(ballots, np.asarray(value, np.float64)) if kind == "number" else same(ballots)
    return ballots, alike, said.kind


def measured(seed: int, kind: str, **more: Any) -> tuple[Assessment, NDArray[np.bool_], NDArray[np.int32]]:
    """What is measured, nobody's times being known; who is out by the default rules; and the kinds."""
    ballots, alike, kinds = open_crowd(kind, seed, **more)
    found = compare(ballots, alike)
    return found, np.array([v.action in ("pause", "retire") for v in found.verdicts(Quality())]), kinds


@pytest.mark.parametrize(
    ("kind", "more"), [("number", {}), ("number", {"wholly": True}), ("text", {}), ("text", {"redundancy": 3})]
)
def test_spammers_are_found_and_the_honest_are_not_accused(kind: str, more: dict[str, Any]) -> None:
    """At least 95 % found, at most 2 % accused, without anybody's times."""
    found, accused = [], []
    for seed in range(3):
        _, out, kinds = measured(seed, kind, **more)
        found.append(out[kinds > 0].mean())
        accused.append(out[kinds == 0].mean())
    assert np.mean(found) >= 0.95
    assert np.mean(accused) <= 0.02


def test_the_scale_of_numbers_is_no_idleness() -> None:
    """Who says everything in inches is never right, and looks."""
    ballots, _, _ = open_crowd("number", 1)
    lot = np.random.default_rng(2)
    truth = lot.normal(50.0, 15.0, ballots.tasks)[ballots.task]
    value = truth + lot.normal(0.0, 2.0, len(ballots))
    value[ballots.worker == 3] /= 2.54
    alike = near(ballots, value)
    assert alike.peers.agreed[ballots.worker == 3].mean() < 0.3
    assert idleness(ballots, alike)[3] < 0.1


def test_where_all_tasks_ask_for_the_same_nobody_is_idle() -> None:
    """Everybody says 7, or "none", of every task: there is nothing by which to tell who looks."""
    ballots = Ballots.of(np.tile(np.arange(100), 4), np.repeat(np.arange(4), 100), np.zeros(400, np.int32))
    for alike in (same(ballots), near(ballots, np.full(400, 7.0))):
        assert (idleness(ballots, alike) < 0.3).all()
    assert repeats(ballots).chance == pytest.approx(np.ones(4), abs=0.01)


def test_repeats_are_those_that_others_would_not_have_said() -> None:
    """The truth changes every ten tasks: a worker who never changes repeats itself more than the others."""
    truth = np.repeat(np.arange(20), 10)
    columns = [truth, truth, truth, np.zeros(200, np.int64)]
    ballots = Ballots.of(np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200), np.concatenate(columns))
    found = repeats(ballots)
    assert found.share == pytest.approx([180 / 199] * 3 + [1.0])
    assert found.chance[:3].min() > 0.1
    sorted_by_chance = np.tile([0, 1, 2, 3, 4], 40)
    columns = [sorted_by_chance, sorted_by_chance, sorted_by_chance, np.zeros(200, np.int64)]
    ballots = Ballots.of(ballots.task, ballots.worker, np.concatenate(columns), workers=4)
    assert repeats(ballots).chance[3] < 1e-6
    assert repeats(ballots).chance[:3].min() == 1.0


def test_nobody_has_judged_anything() -> None:
    """As anybody."""
    nobody = Ballots.of([], [], [], workers=2, classes=1)
    empty: Floats = np.zeros(0)
    for alike in (same(nobody), near(nobody, empty)):
        assert (compare(nobody, alike).spam < 0.3).all()
