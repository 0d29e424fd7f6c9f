"""Agreement: published examples, hand-worked ones, another implementation, and what no renaming may change."""

from __future__ import annotations

import math
import time

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth import agreement, kappas, spread
from manyhands_aggregator.truth.agreement import Level, Tally

N = -1
#: Krippendorff (2011), example C: four observers, twelve units, values 1 to 5 as 0 to 4, some missing.
OBSERVERS = np.array(
    [
        [0, 1, 2, 2, 1, 0, 3, 0, 1, N, N, N],
        [0, 1, 2, 2, 1, 1, 3, 0, 1, 4, N, 2],
        [N, 2, 2, 2, 1, 2, 3, 1, 1, 4, 0, N],
        [0, 1, 2, 2, 1, 3, 3, 0, 1, 4, 0, N],
    ]
).T
#: Fleiss (1971), table 1: how many of six psychiatrists gave each of thirty patients which of five diagnoses.
PATIENTS = np.array(
    [
        [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0],
        [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0],
        [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0],
        [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
        [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
    ]
)  # fmt: skip

codes = st.integers(2, 4).flatmap(
    lambda judges: st.lists(st.lists(st.integers(-1, 3), min_size=judges, max_size=judges), min_size=1, max_size=12)
)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs(level: Level, published: float) -> None:
    """The coefficients that the paper works out by hand; judgments that met no other do not count."""
    met = agreement.coincidences(agreement.votes_of(OBSERVERS, 5))
    assert met.sum() == pytest.approx(40)
    assert met.sum(axis=1) == pytest.approx([9, 13, 10, 5, 3])
    assert agreement.alpha(met, level) == pytest.approx(published, abs=5e-4)


def test_kappa_is_fleiss() -> None:
    """The paper's observed agreement, 0.5556, and kappa, 0.430."""
    tally = Tally(5)
    tally.add(PATIENTS)
    assert tally.observed == pytest.approx(0.5556, abs=5e-5)
    assert agreement.fleiss(PATIENTS) == tally.kappa() == pytest.approx(0.430, abs=5e-4)


def test_cohen_worked_by_hand() -> None:
    """Of 50 both say yes to 20 and no to 15: 0.7 agree, chance has 0.5 (25/50 x 30/50 twice), kappa is 0.4."""
    assert agreement.cohen(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    task = np.repeat(np.arange(50), 2)
    label = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], [20, 5, 10, 15], axis=0).ravel()
    found = kappas.kappas(task, np.tile([7, 3], 50), label)
    assert (found.left[0], found.right[0], found.overlap[0]) == (3, 7, 50)
    assert found.mean == pytest.approx(0.4)
    assert math.isnan(kappas.kappas(task, np.tile([7, 3], 50), label, least=51).mean)


def test_pairs_are_found_by_table_and_by_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair's kappa is that of its own table, however many workers there are."""
    random = np.random.default_rng(5)
    said = random.integers(-1, 3, (60, 5))
    task, worker = np.nonzero(said >= 0)
    both = [kappas.kappas(task, worker, said[task, worker])]
    monkeypatch.setattr(kappas, "DENSE", 0)
    both.append(kappas.kappas(task, worker, said[task, worker]))
    for found in both:
        assert list(zip(found.left, found.right, strict=True)) == [(a, b) for a in range(5) for b in range(a + 1, 5)]
        for a, b, overlap, kappa in zip(found.left, found.right, found.overlap, found.kappa, strict=True):
            met = (said[:, a] >= 0) & (said[:, b] >= 0)
            assert overlap == met.sum()
            table = np.zeros((3, 3))
            np.add.at(table, (said[met, a], said[met, b]), 1)
            assert kappa == pytest.approx(agreement.cohen(table))


def test_confusion_and_what_is_hard() -> None:
    """Two judgments of the first task differ, one in three of the second; all agree on the third."""
    votes = np.array([[1, 1, 0], [0, 1, 2], [3, 0, 0], [0, 0, 1]])
    task, label = np.repeat(np.argwhere(votes), votes[votes > 0], axis=0).T
    bits, judged = agreement.entropies(task, label, 4), votes.sum(axis=1)
    assert bits == pytest.approx([1, math.log2(3) - 2 / 3, 0, 0])
    assert list(agreement.hardest(bits, judged, 9)) == [0, 1]
    assert list(agreement.hardest(bits, judged, 1)) == [0]
    assert list(agreement.hardest(np.ones(3), np.array([2, 3, 2]), 9)) == [1, 0, 2]
    tally = Tally(3)
    tally.add(votes)
    assert tally.met == pytest.approx(np.array([[3, 1, 0], [1, 0, 1], [0, 1, 1]]))
    assert tally.confused()[0] == pytest.approx([0.75, 0.25, 0])
    said = agreement.confusion(np.array([0, -1]), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert said.tolist() == [[2, 1], [0, 0]]


@pytest.mark.parametrize("votes", [[[1, 0], [0, 1]], [[2, 0], [3, 0]], [[0, 0]]])
def test_what_chance_explains_wholly_has_no_coefficient(votes: list[list[int]]) -> None:
    """Nobody judged twice, or all said the same: nan, never a number that looks like one."""
    tally = Tally(2)
    tally.add(np.array(votes))
    assert math.isnan(tally.alpha())
    assert math.isnan(tally.kappa())
    assert math.isnan(agreement.cohen(np.zeros((2, 2))))


def test_a_code_out_of_range_is_refused() -> None:
    """It would count for another task."""
    with pytest.raises(ValueError, match="code 2, and 2 classes"):
        agreement.votes_of(np.array([[2, 0]]), 2)


@given(codes, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_what_another_implementation_has(said: list[list[int]], level: Level) -> None:
    """The same as the package krippendorff for any values, in one block or many; blind to the order of all."""
    table = np.array(said)
    votes = agreement.votes_of(table, 4)
    tally = Tally(4)
    for row in votes:
        tally.add(row[None, :])
    if math.isnan(tally.alpha(level)):
        return
    reference = krippendorff.alpha(value_counts=votes, value_domain=[0, 1, 2, 3], level_of_measurement=level)
    assert tally.alpha(level) == pytest.approx(reference, abs=1e-9)
    assert agreement.alpha(agreement.coincidences(votes[::-1]), level) == pytest.approx(reference, abs=1e-9)


@given(codes, st.permutations(range(4)))
def test_renaming_changes_nothing(said: list[list[int]], names: list[int]) -> None:
    """Values, judges and tasks under other names agree as much: nominal alpha, and both kappas."""
    table = np.array(said)
    renamed = np.where(table >= 0, np.array(names)[table], -1)[::-1, ::-1]
    one, other = Tally(4), Tally(4)
    one.add(agreement.votes_of(table, 4))
    other.add(agreement.votes_of(renamed, 4))
    assert one.alpha() == pytest.approx(other.alpha(), nan_ok=True)
    assert one.kappa() == pytest.approx(other.kappa(), nan_ok=True)


@given(codes, st.integers(1, 5))
def test_numbers_and_open_values_need_no_table(said: list[list[int]], block: int) -> None:
    """In constant memory and any blocks they come to what the coincidence matrix gives."""
    table = np.array(said)
    tally, spreading, opened = Tally(4), spread.Spread(), spread.Open()
    tally.add(agreement.votes_of(table, 4))
    names = spread.bins(["a", "b", "", "\ud800"])
    for at in range(0, len(table), block):
        task, judge = np.nonzero(table[at : at + block] >= 0)
        values = table[at : at + block][task, judge]
        spreading.add(task, values + 1e6)
        opened.add(task, names[values])
    assert spreading.alpha() == pytest.approx(tally.alpha("interval"), nan_ok=True, abs=1e-6)
    assert opened.alpha() == pytest.approx(tally.alpha(), nan_ok=True, abs=1e-9)
    assert spreading.tasks == opened.tasks == tally.tasks


def test_a_million_judgments_take_seconds() -> None:
    """The aim is about a second for all of it; the limit here leaves room for a busy machine."""
    random = np.random.default_rng(1)
    task = np.repeat(np.arange(200_000), 5)
    worker = (random.integers(0, 1000, 200_000)[:, None] + np.arange(5) * 7).ravel() % 1000
    label = np.where(random.random(1_000_000) < 0.7, task % 10, random.integers(0, 10, 1_000_000))
    began = time.process_time()
    votes = np.bincount(task * 10 + label, minlength=2_000_000).reshape(-1, 10)
    tally = Tally(10)
    tally.add(votes)
    found = kappas.kappas(task, worker, label)
    bits = agreement.entropies(task, label, 200_000)
    assert len(agreement.hardest(bits, votes.sum(axis=1), 20)) == 20
    took = time.process_time() - began
    assert took < 8
    # all err alike: two judgments agree by 0.73 ** 2 + 9 x 0.03 ** 2 = 0.541, by chance 0.1
    assert [tally.alpha(), tally.kappa(), found.mean] == pytest.approx([0.49, 0.49, 0.49], abs=0.01)
