"""Numbers: worked by hand, the equations that the fits must meet, and what no change of names or units may change."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth import numbers
from manyhands_aggregator.truth.numbers import METHODS, Numbers


def of(task: list[int], worker: list[int], value: list[float]) -> Numbers:
    """Numbers of three lists."""
    return Numbers(np.array(task), np.array(worker), np.array(value, dtype=float), max(task) + 1, max(worker) + 1)


def crowd(seed: int, tasks: int = 60, deviations: tuple[float, ...] = (0.3, 1, 1, 3, 5)) -> tuple[Numbers, np.ndarray]:
    """Every worker judges every task, with normal errors of its own deviation; and the truths (T,)."""
    lot = np.random.default_rng(seed)
    truth = lot.normal(0, 10, tasks)
    value = truth[:, None] + lot.normal(0, 1, (tasks, len(deviations))) * np.array(deviations)
    task, worker = np.indices(value.shape).reshape(2, -1)
    return Numbers(task, worker, value.ravel(), tasks, len(deviations)), truth


def test_mean_and_median_by_hand() -> None:
    """Of 1, 2, 9 and of 4, 6; squares about the means are 9 + 4 + 25 and 2, with three judgments to spare."""
    given_ = of([0, 0, 0, 1, 1, 3], [0, 1, 2, 0, 1, 0], [1, 2, 9, 4, 6, 7])
    found = numbers.mean(given_)
    assert found.value == pytest.approx([4, 5, math.nan, 7], nan_ok=True)
    variance = (9 + 4 + 25 + 1 + 1) / 3
    assert found.error == pytest.approx([(variance / m) ** 0.5 if m else math.nan for m in (3, 2, 0, 1)], nan_ok=True)
    middle = numbers.median(given_)
    assert middle.value == pytest.approx([2, 5, math.nan, 7], nan_ok=True)
    # distances from the medians: 1, 0, 7 by the root of 3/2, and 1, 1 by that of 2: the middle one is 1.4142
    deviation = 2**0.5 * numbers.MAD
    assert middle.error[0] == pytest.approx(deviation * (math.pi / 2 / 3) ** 0.5)
    assert middle.error[1] == pytest.approx(deviation / 2**0.5)


def test_weighted_by_hand() -> None:
    """One round: all weigh alike, so the values are the means; then a worker's variance is that about them."""
    given_ = of([0, 0, 1, 1], [0, 1, 0, 1], [0, 2, 10, 12])
    found = numbers.weighted(given_, iterations=1)
    known = (1 * 2**0.5 * numbers.MAD) ** 2  # every distance is 1
    assert found.value == pytest.approx([1, 11])
    assert found.error == pytest.approx([(known / 2) ** 0.5] * 2)
    assert found.deviation == pytest.approx([((2 * (1 + known / 2) + known) / 3) ** 0.5] * 2)
    unbiased = numbers.weighted(given_, bias=True)
    assert unbiased.bias is not None
    assert unbiased.bias == pytest.approx(-unbiased.bias[::-1])
    assert unbiased.bias[1] > 0.5


def test_robust_by_hand() -> None:
    """One round from the median 0: a judgment of distance r^2 in its worker's variances weighs (f + 1) / (f + r^2)."""
    given_ = of([0, 0, 0], [0, 1, 2], [-1, 0, 5])
    found = numbers.robust(given_, iterations=1, freedom=4)
    known = (1 * 1.5**0.5 * numbers.MAD) ** 2  # the middle one of the distances 0, 1, 5
    weights = [5 / (4 + (d**2 + known / 3) / known) for d in (1, 0, 5)]
    assert found.value[0] == pytest.approx((-weights[0] + 5 * weights[2]) / sum(weights))


@pytest.mark.parametrize("name", ["precision", "robust"])
def test_the_fit_meets_its_equations(name: str) -> None:
    """At the end each value is the mean by precision, and each variance that of its worker's errors with the prior."""
    given_, _ = crowd(3)
    found = METHODS[name](given_)
    assert found.deviation is not None
    squared = found.deviation**2
    spread = found.error**2
    far = (given_.value - found.value[given_.task]) ** 2 + spread[given_.task]
    trust = np.ones(len(far)) if name == "precision" else 5 / (4 + far / squared[given_.worker])
    weight = trust / squared[given_.worker]
    value = given_.over_tasks(weight * given_.value) / given_.over_tasks(weight)
    assert found.value == pytest.approx(value, abs=1e-4)
    known = numbers.typical(given_, numbers.medians(given_))
    variance = (given_.over_workers(trust * far) + known) / (60 + 1)
    assert squared == pytest.approx(variance, rel=1e-3)


def test_exact_workers_are_found() -> None:
    """With deviations of 0.3 to 5, weighing comes close to what one would do who knew them, and the mean does not."""
    for seed in range(5):
        given_, truth = crowd(seed, tasks=200)
        known = 1 / np.array([0.3, 1, 1, 3, 5]) ** 2
        ideal = given_.value.reshape(200, 5) @ known / known.sum()
        error = {name: float(np.sqrt(np.mean((METHODS[name](given_).value - truth) ** 2))) for name in METHODS}
        best = float(np.sqrt(np.mean((ideal - truth) ** 2)))
        assert error["precision"] < 1.3 * best < 0.35 * error["mean"]
        assert error["robust"] < 1.3 * best


def test_outliers_move_the_robust_little() -> None:
    """One judgment in ten is nonsense, by whoever: the weighted mean suffers, the robust hardly."""
    given_, truth = crowd(1, tasks=300, deviations=(1, 1, 1, 1, 1))
    wild = np.random.default_rng(2).random(len(given_.value)) < 0.1
    spoilt = Numbers(given_.task, given_.worker, np.where(wild, 500.0, given_.value), 300, 5)

    def error(name: str, of_: Numbers) -> float:
        return float(np.sqrt(np.mean((METHODS[name](of_).value - truth) ** 2)))

    kept = np.bincount(spoilt.task, weights=wild) < 3
    off = METHODS["robust"](spoilt).value - truth
    assert np.sqrt(np.mean(off[kept] ** 2)) < 1.3 * error("mean", given_)
    assert error("precision", spoilt) > 20


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([-3.0, 0.001, 1e6]), shift=st.sampled_from([0.0, 50.0, -1e4]))
def test_names_and_units_change_nothing(name: str, seed: int, scale: float, shift: float) -> None:
    """Workers and tasks renamed, rows in another order, degrees in another scale: the same values in that scale."""
    given_, _ = crowd(seed, tasks=12)
    lot = np.random.default_rng(seed)
    rows, tasks, workers = lot.permutation(60), lot.permutation(12), lot.permutation(5)
    other = Numbers(tasks[given_.task][rows], workers[given_.worker][rows], given_.value[rows] * scale + shift, 12, 5)
    before, after = METHODS[name](given_), METHODS[name](other)
    assert after.value[tasks] == pytest.approx(before.value * scale + shift, rel=1e-4, abs=1e-3 * abs(scale))
    assert after.error[tasks] == pytest.approx(before.error * abs(scale), rel=1e-3)
    if before.deviation is not None and after.deviation is not None:
        assert after.deviation[workers] == pytest.approx(before.deviation * abs(scale), rel=1e-3)


@pytest.mark.parametrize("name", METHODS)
@given(seed=st.integers(0, 999), more=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_more_judgments_that_say_the_same_make_surer(name: str, seed: int, more: int) -> None:
    """Judgments at the value itself, by workers not seen before, lower its error and raise its confidence."""
    given_, _ = crowd(seed, tasks=12)
    before = METHODS[name](given_)
    extra = np.arange(more)
    after = METHODS[name](
        Numbers(
            np.append(given_.task, np.zeros(more, dtype=int)), np.append(given_.worker, 5 + extra),
            np.append(given_.value, np.full(more, before.value[0])), 12, 5 + more,
        )
    )  # fmt: skip
    assert after.error[0] < before.error[0]
    assert numbers.confidence(after, 1.0)[0] >= numbers.confidence(before, 1.0)[0]


@pytest.mark.parametrize("name", METHODS)
def test_what_is_known_stays(name: str) -> None:
    """Known truths are the values, without an error; and workers are measured by them."""
    given_, truth = crowd(4, deviations=(1, 4, 4, 4))
    shared = Numbers(given_.task, given_.worker, given_.value + np.where(given_.worker > 0, 9.0, 0.0), 60, 4)
    gold = np.where(np.arange(60) < 30, truth, math.nan)
    found = METHODS[name](shared, gold=gold)
    assert found.value[:30].tolist() == truth[:30].tolist()
    assert not found.error[:30].any()
    if name in ("precision", "robust"):  # three of four err alike; only gold can tell
        assert np.abs(found.value - truth)[30:].mean() < 1.5
        assert np.abs(METHODS[name](shared).value - truth)[30:].mean() > 4


def test_confidence_by_hand() -> None:
    """One deviation holds 68.27 % of a normal distribution, 1.96 hold 95 %; what has no error is sure."""
    found = numbers.Estimated(np.zeros(4), np.array([1.0, 1 / 1.959964, 0.0, math.nan]))
    assert numbers.confidence(found, 1.0) == pytest.approx([0.682689, 0.95, 1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_where_nothing_differs(name: str) -> None:
    """Everybody says the same, or every task has one judgment, or none: the values are what was said."""
    same = METHODS[name](of([0, 0, 1], [0, 1, 0], [2, 2, 7]))
    assert (same.value.tolist(), same.error.tolist()) == ([2, 7], [0, 0])
    empty = Numbers(np.empty(0, dtype=int), np.empty(0, dtype=int), np.empty(0), 2, 1)
    assert np.isnan(METHODS[name](empty).value).all()


def test_what_is_no_number_is_refused() -> None:
    """A nan would spread to every worker of the job."""
    with pytest.raises(ValueError, match="finite"):
        of([0], [0], [math.nan])
    with pytest.raises(ValueError, match="one length"):
        Numbers(np.zeros(1, dtype=int), np.zeros(2, dtype=int), np.zeros(1), 1, 1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("power", [-700, 1000])
def test_numbers_whose_squares_no_float_holds(name: str, power: int) -> None:
    """Times 2 to such a power: the same to the last digit in that unit, and no warning."""
    given_, truth = crowd(5)
    gold = np.where(np.arange(60) < 3, truth, math.nan)
    unit = 2.0**power
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = METHODS[name](replace(given_, value=given_.value * unit), gold=gold * unit)
    # in the unit of its own: that of the greatest number
    reach = 2.0 ** (math.frexp(float(np.abs(given_.value).max()))[1] - 1)
    plain = METHODS[name](replace(given_, value=given_.value / reach), gold=gold / reach).times(reach)
    assert (found.value / unit).tolist() == plain.value.tolist()
    assert (found.error / unit).tolist() == plain.error.tolist()
    if found.deviation is not None and plain.deviation is not None:
        assert (found.deviation / unit).tolist() == plain.deviation.tolist()
