"""Simulated crowds are what they say: by statistics over many judgments, and by laws for any crowd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.testing.crowd import KINDS, Crowd, Simulated, simulate


def right(crowd: Simulated, rows: Any = slice(None)) -> float:
    """The share of right judgments among some rows."""
    return float((crowd.label == crowd.truth[crowd.task])[rows].mean())


crowds = st.builds(
    Crowd,
    tasks=st.integers(1, 60),
    classes=st.integers(2, 5),
    workers=st.integers(4, 40),
    redundancy=st.floats(0.5, 4),
    seed=st.integers(0, 2**32),
    difficulty=st.floats(0, 1),
    decoy=st.floats(0, 1),
    fatigue=st.floats(0, 1),
    drift=st.floats(-1, 1),
    random=st.floats(0, 0.5),
    constant=st.floats(0, 0.5),
    copying=st.floats(0, 0.5),
    tail=st.floats(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(crowds)
def test_any_crowd_keeps_its_form(crowd: Crowd) -> None:
    """Labels are classes, nobody judges a task twice, spammers add to the honest and change nothing of them."""
    said = simulate(crowd)
    pairs = said.task.astype(np.int64) * said.workers + said.worker
    assert len(np.unique(pairs)) == len(pairs)
    assert ((said.label >= 0) & (said.label < crowd.classes)).all()
    assert ((said.task >= 0) & (said.task < crowd.tasks)).all()
    assert (said.seconds > 0).all()
    alone = simulate(
        Crowd(**{**{n: getattr(crowd, n) for n in Crowd.__slots__}, "random": 0, "constant": 0, "copying": 0})
    )
    honest = ~said.spammer[said.worker]
    for column in ("task", "worker", "label"):
        assert np.array_equal(getattr(said, column)[honest], getattr(alone, column))
    again = simulate(crowd)
    assert np.array_equal(said.label, again.label)
    assert np.array_equal(said.seconds, again.seconds)


def test_another_seed_is_another_crowd() -> None:
    """Seeds are not decoration."""
    assert not np.array_equal(simulate(Crowd(seed=1)).label, simulate(Crowd(seed=2)).label)


def test_every_task_gets_its_redundancy() -> None:
    """Three judgments each; with two and a half, as many tasks get two as three."""
    assert (np.bincount(simulate(Crowd(redundancy=3)).task) == 3).all()
    counts = np.bincount(simulate(Crowd(tasks=4000, redundancy=2.5)).task)
    assert set(counts.tolist()) == {2, 3}
    assert counts.mean() == pytest.approx(2.5, abs=0.03)
    assert (np.bincount(simulate(Crowd(workers=3, redundancy=3)).task) == 3).all()


def test_workers_are_as_good_as_their_skill() -> None:
    """Beta(8, 2): four fifths right over all, and each worker about its own skill."""
    said = simulate(Crowd(tasks=20_000, workers=40, classes=4, tail=0))
    assert right(said) == pytest.approx(0.8, abs=0.05)
    each = np.array([right(said, said.worker == w) for w in range(40)])
    assert np.abs(each - said.skill).max() < 0.03


def test_confusion_matrices_are_drawn_from() -> None:
    """One matrix for all: the table of truth and label is the matrix."""
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]])
    said = simulate(Crowd(tasks=20_000, classes=3, skill=matrix))
    table = np.zeros((3, 3))
    np.add.at(table, (said.truth[said.task], said.label), 1)
    assert np.abs(table / table.sum(axis=1, keepdims=True) - matrix).max() < 0.02
    assert said.skill == pytest.approx(2 / 3)


def test_classes_come_by_their_prior() -> None:
    """Nine in ten tasks are of the first class."""
    assert (simulate(Crowd(tasks=10_000, prior=[9, 1])).truth == 0).mean() == pytest.approx(0.9, abs=0.02)


def test_hard_tasks_are_judged_worse() -> None:
    """At full difficulty the hardest are guessed, and the easiest are judged as ever."""
    said = simulate(Crowd(tasks=20_000, workers=40, difficulty=1.0))
    hard = said.difficulty[said.task]
    assert right(said, hard > 0.95) == pytest.approx(0.5, abs=0.05)
    assert right(said, hard < 0.05) == pytest.approx(0.8, abs=0.06)


def test_decoys_make_errors_agree() -> None:
    """With a decoy for every wrong judgment, all wrong judgments of a task are the same."""
    said = simulate(Crowd(classes=5, decoy=1.0))
    wrong = said.label != said.truth[said.task]
    for task in range(50):
        assert len(set(said.label[wrong & (said.task == task)].tolist())) <= 1


def test_the_tired_are_worse_until_their_break() -> None:
    """Within sessions of 20 the first judgments are better than the last, and the 21st is like the first."""
    said = simulate(Crowd(tasks=20_000, workers=20, fatigue=1.0, session=20, tail=0))
    place = np.zeros(len(said.task), int)
    for worker in range(20):
        rows = np.flatnonzero(said.worker == worker)
        place[rows] = np.arange(len(rows)) % 20
    assert right(said, place == 0) == pytest.approx(0.8, abs=0.06)
    assert right(said, place == 19) == pytest.approx(0.5, abs=0.04)


def test_the_drifting_change_from_first_to_last() -> None:
    """Half of the skill is gone at the end, and nothing at the beginning."""
    said = simulate(Crowd(tasks=20_000, workers=20, classes=10, skill=(900, 100), drift=-0.5, tail=0))
    for worker in range(20):
        rows = np.flatnonzero(said.worker == worker)
        assert right(said, rows[:500]) == pytest.approx(0.88, abs=0.06)
        assert right(said, rows[-500:]) == pytest.approx(0.42, abs=0.08)


def test_spammers_do_as_their_kind() -> None:
    """Random ones guess, constant ones have one option, copiers say later what their victim said; all are fast."""
    said = simulate(Crowd(tasks=3000, workers=40, classes=4, random=0.1, constant=0.1, copying=0.1, slip=0.0, tail=0))
    assert [(said.kind == code).sum() for code in range(len(KINDS))] == [40, 4, 4, 4]
    assert len(said.task) == pytest.approx(15_000 * 1.3, rel=0.01)
    for worker in np.flatnonzero(said.spammer):
        rows = said.worker == worker
        assert np.median(said.seconds[rows]) < 4.5
        if said.victim[worker] < 0:
            assert right(said, rows) == pytest.approx(0.25, abs=0.1)
            assert len(np.unique(said.label[rows])) == (4 if KINDS[said.kind[worker]] == "random" else 1)
        else:
            first = {int(said.task[i]): (i, said.label[i]) for i in np.flatnonzero(said.worker == said.victim[worker])}
            for i in np.flatnonzero(rows):
                at, label = first[int(said.task[i])]
                assert at < i
                assert label == said.label[i]


def test_few_do_most() -> None:
    """With a tail of 1 the busiest tenth of a hundred workers does about half of the work; with 0 nobody stands out."""
    busiest = np.sort(np.bincount(simulate(Crowd(tasks=5000, workers=100, tail=1)).worker))[::-1]
    assert 0.4 < busiest[:10].sum() / busiest.sum() < 0.6
    even = np.bincount(simulate(Crowd(tasks=5000, workers=100, tail=0)).worker)
    assert even.max() < 1.4 * even.min()


def test_rows_are_those_of_a_file() -> None:
    """Names for tasks and workers, the label as text."""
    said = simulate(Crowd(tasks=1, workers=1, redundancy=1))
    assert list(said.rows()) == [("t0", "w0", str(said.label[0]))]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"classes": 1}, "two classes"),
        ({"redundancy": 51}, "redundancy is 51"),
        ({"fatigue": 1.5}, "fatigue is 1.5"),
        ({"random": -0.1}, "not negative"),
        ({"prior": [1.0]}, "2 shares"),
        ({"skill": (0, 1)}, "above 0"),
        ({"skill": np.eye(3)}, "shape"),
        ({"skill": np.ones((2, 2))}, "sum to 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], why: str) -> None:
    """With a message that names the value."""
    with pytest.raises(ValueError, match=why):
        Crowd(**wrong)
