"""One number a task from the numbers that workers gave: mean, median, weighted by how exact each worker is, robust.

All but the median see a judgment as x = z + b + e: the truth z of its task, the bias b of its worker (0 unless asked
for), and an error e of mean 0 and the worker's variance v. Values have any unit; errors and biases have the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from manyhands_aggregator.truth.ballots import Floats, Indices

#: The standard deviation of normal errors whose absolute values have the median 1.
MAD = 1.482602218505602
#: Nothing is divided by less.
TINY = 1e-300
#: Numbers of which the greatest is within these are taken as they stand; of others the squares would be beyond floats.
REACH = 1e-100, 1e100
#: The variance of the median of many normal numbers, in that of their mean.
MEDIAN = math.pi / 2


@dataclass(frozen=True, slots=True)
class Numbers:
    """n numbers for T tasks by W workers: ``task``, ``worker`` (n,) count from 0, ``value`` (n,) is finite.

    Raises:
        ValueError: the columns differ in length, or a value is not finite.
    """

    task: Indices
    worker: Indices
    value: Floats
    tasks: int
    workers: int

    def __post_init__(self) -> None:
        if not self.task.shape == self.worker.shape == self.value.shape or self.task.ndim != 1:
            raise ValueError("task, worker and value must be columns of one length")
        if not np.isfinite(self.value).all():
            raise ValueError("every value must be a finite number")

    def judged(self) -> Floats:
        """How many numbers each task has, shape (T,)."""
        return np.bincount(self.task, minlength=self.tasks).astype(np.float64)

    def over_tasks(self, weights: Floats) -> Floats:
        """The sums (T,) of what each judgment (n,) has."""
        return np.bincount(self.task, weights=weights, minlength=self.tasks).astype(np.float64)

    def over_workers(self, weights: Floats) -> Floats:
        """The sums (W,) of what each judgment (n,) has."""
        return np.bincount(self.worker, weights=weights, minlength=self.workers).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Estimated:
    """What is believed of each task, and of each worker where the method says anything of workers.

    Attributes:
        value: (T,), nan where nobody judged.
        error: (T,), the standard error of the value, in its unit; nan where nobody judged.
        deviation: (W,), the standard deviation of the errors of a worker, in the unit of the values.
        bias: (W,), how much more than the truth a worker says in the mean.
        iterations: rounds until the method had settled; 0 if it needs none.
    """

    value: Floats
    error: Floats
    deviation: Floats | None = None
    bias: Floats | None = None
    iterations: int = 0

    def times(self, unit: float) -> Estimated:
        """The same in a unit so many times smaller; what is beyond floats is infinite."""
        if unit == 1.0:
            return self
        with np.errstate(over="ignore"):
            deviation, bias = (None if of is None else of * unit for of in (self.deviation, self.bias))
            return Estimated(self.value * unit, self.error * unit, deviation, bias, self.iterations)


class Method(Protocol):
    """Estimates the truths of T tasks from n numbers by W workers."""

    def __call__(self, numbers: Numbers, /, *, gold: Floats | None = None) -> Estimated:
        """What the judgments tell, in their unit.

        ``gold`` (T,) has the truths that are known, and nan for all others: those are the values, without an error, and
        workers are measured by them. Further judgments at a task's value, by workers not seen before, never make it
        less sure.

        Raises:
            ValueError: ``gold`` is not of one number for each task.
        """


def mean(numbers: Numbers, *, gold: Floats | None = None) -> Estimated:
    """The arithmetic mean; best where all workers are as exact as one another and nobody errs wildly.

    The error comes from the variance about the means of all tasks together, for a task alone has too few judgments; it
    is 0 where nobody ever differed, and where no task has two judgments. Shapes and errors: :class:`Method`.

    Source: C. F. Gauss, "Theoria motus corporum coelestium", 1809, section 177.
    """
    numbers, gold, unit = _in_reach(numbers, gold)
    value = _means(numbers)
    left = len(numbers.value) - np.count_nonzero(numbers.judged())
    squares = float(((numbers.value - value[numbers.task]) ** 2).sum())
    return _pinned(Estimated(value, _errors(numbers, squares / left if left else 0.0)), gold).times(unit)


def median(numbers: Numbers, *, gold: Floats | None = None) -> Estimated:
    """The middle number, or the mean of the two in the middle: up to half of the judgments may be any nonsense.

    The error is that of a median of normal numbers, with the variance of :func:`typical`; of two judgments or one, the
    median is the mean. Shapes and errors: :class:`Method`.

    Source: P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964).
    """
    numbers, gold, unit = _in_reach(numbers, gold)
    value = medians(numbers)
    error = _errors(numbers, typical(numbers, value))
    return _pinned(Estimated(value, np.where(numbers.judged() > 2, math.sqrt(MEDIAN), 1.0) * error), gold).times(unit)


def weighted(
    numbers: Numbers,
    *,
    gold: Floats | None = None,
    prior: float = 1.0,
    bias: bool = False,
    iterations: int = 200,
    tolerance: float = 1e-6,
) -> Estimated:
    """A mean in which each worker weighs the inverse of its variance, by expectation maximisation.

    Truths have a flat prior. A worker's variance counts ``prior`` judgments of the typical variance beforehand, so that
    one who has judged little weighs as the others do, and nobody's falls to 0. With ``bias`` each worker's is taken
    off, as far as its judgments bear it out against the prior; biases are 0 in the mean, for one that all share cannot
    be seen. It ends when no value moves by more than ``tolerance`` of the typical deviation. Time O(n) an iteration.
    Shapes and errors: :class:`Method`.

    Source: B. Zhao, J. Han, "A Probabilistic Model for Estimating Real-valued Truth from Conflicting Sources" (QDB
    2012); V. C. Raykar and others, "Learning From Crowds", JMLR 11 (2010), section 5.
    """
    return _fitted(numbers, gold, prior, bias, iterations, tolerance, math.inf)


def robust(
    numbers: Numbers,
    *,
    gold: Floats | None = None,
    freedom: float = 4.0,
    prior: float = 1.0,
    bias: bool = False,
    iterations: int = 200,
    tolerance: float = 1e-6,
) -> Estimated:
    """As :func:`weighted`, with errors that follow Student's t: a judgment far off counts for little, whoever gave it.

    With r its distance in its worker's deviations a judgment weighs (f + 1) / (f + r^2), f being the degrees of
    ``freedom``; without end they give :func:`weighted`. ``deviation`` is the scale of the t distribution.
    It begins at the medians. Shapes and errors: :class:`Method`.

    Source: K. L. Lange, R. J. A. Little, J. M. G. Taylor, "Robust Statistical Modeling Using the t Distribution",
    JASA 84 (1989) 881-896.
    """
    return _fitted(numbers, gold, prior, bias, iterations, tolerance, freedom)


METHODS: Mapping[str, Method] = {
    "mean": mean,
    "median": median,
    "precision": weighted,
    "robust": robust,
}
DEFAULT = "robust"


def confidence(estimated: Estimated, within: float) -> Floats:
    """Shape (T,), 0..1: the probability that the truth is no further than ``within`` from the value; errors are normal.

    It is 1 where the error is 0, and 0 where nobody judged.
    """
    return probability(np.nan_to_num(estimated.error, nan=math.inf), within)


def probability(deviation: Floats, within: float) -> Floats:
    """The probability that a normal error of this deviation, shape (any,), is no greater than ``within``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reach = np.where(deviation > 0, within / (math.sqrt(2.0) * deviation), math.inf)
    return np.array([math.erf(one) for one in reach.tolist()], dtype=np.float64)


def medians(numbers: Numbers) -> Floats:
    """The median of each task, shape (T,); nan where nobody judged."""
    order = np.lexsort((numbers.value, numbers.task))
    judged = numbers.judged().astype(np.intp)
    starts, some = np.cumsum(judged) - judged, judged > 0
    found = np.full(numbers.tasks, math.nan)
    low, high = (starts + (judged - 1) // 2)[some], (starts + judged // 2)[some]
    ordered = numbers.value[order]
    found[some] = ordered[low] / 2 + ordered[high] / 2
    return found


def typical(numbers: Numbers, value: Floats) -> float:
    """The variance of the middle judgment about the values (T,), from tasks of two or more.

    Distances are those of independent errors: they are enlarged by what a task's own value takes off them. Where more
    than half of them are 0 it is their mean square; where all are, it is 0.
    """
    judged = numbers.judged()[numbers.task]
    several = judged > 1
    if not several.any():
        return 0.0
    m = judged[several]
    off = (numbers.value - value[numbers.task])[several] * np.sqrt(m / (m - 1.0))
    middle = float(np.median(np.abs(off))) * MAD
    return middle**2 or float((off**2).mean())


def _in_reach(numbers: Numbers, gold: Floats | None) -> tuple[Numbers, Floats | None, float]:
    """The same in a unit in which squares are within floats, and that unit: a power of two, which costs no digit."""
    most = float(np.abs(numbers.value).max(initial=0.0))
    if gold is not None:
        most = max(most, float(np.abs(gold[~np.isnan(gold)]).max(initial=0.0)))
    if most == 0.0 or REACH[0] <= most <= REACH[1]:
        return numbers, gold, 1.0
    unit = math.ldexp(1.0, math.frexp(most)[1] - 1)
    return replace(numbers, value=numbers.value / unit), None if gold is None else gold / unit, unit


def _means(numbers: Numbers) -> Floats:
    judged = numbers.judged()
    return np.where(judged > 0, numbers.over_tasks(numbers.value) / np.maximum(judged, 1.0), math.nan)


def _errors(numbers: Numbers, variance: float) -> Floats:
    judged = numbers.judged()
    return np.where(judged > 0, np.sqrt(variance / np.maximum(judged, 1.0)), math.nan)


def _pinned(estimated: Estimated, gold: Floats | None) -> Estimated:
    """With the truths that are known, and no error there."""
    if gold is None:
        return estimated
    known = ~np.isnan(gold)
    return replace(estimated, value=np.where(known, gold, estimated.value), error=np.where(known, 0.0, estimated.error))


def _fitted(
    numbers: Numbers, gold: Floats | None, prior: float, bias: bool, iterations: int, tolerance: float, freedom: float
) -> Estimated:
    numbers, gold, unit = _in_reach(numbers, gold)
    x, task, worker = numbers.value, numbers.task, numbers.worker
    start = _pinned(Estimated(medians(numbers), np.ones(numbers.tasks)), gold)
    value, unsure = start.value, start.error  # 1 where the truth is not known
    known = typical(numbers, value)
    said = np.bincount(worker, minlength=numbers.workers)
    off = np.zeros(numbers.workers)
    if known == 0.0:  # nobody differs, or nothing was judged twice: there is nothing to weigh by
        return Estimated(value, np.where(np.isnan(value), math.nan, 0.0), off.copy(), off).times(unit)
    variance, precision = np.full(numbers.workers, known), np.full(len(x), 1.0 / known)
    spread, rounds = unsure / np.maximum(numbers.over_tasks(precision), TINY), 0
    while rounds < iterations:
        rounds += 1
        # what each judgment counts, given the values; then the values, given that; then what workers are like
        far = (x - off[worker] - value[task]) ** 2 + spread[task]
        trust = np.ones(len(x)) if math.isinf(freedom) else (freedom + 1.0) / (freedom + far / variance[worker])
        precision = trust / variance[worker]
        total = numbers.over_tasks(precision)
        moved = numbers.over_tasks(precision * (x - off[worker])) / np.maximum(total, TINY)
        moved = np.where((unsure > 0) & (total > 0), moved, value)
        spread = unsure / np.maximum(total, TINY)
        if bias:
            heard = numbers.over_workers(trust)
            off = numbers.over_workers(trust * (x - moved[task])) / (heard + prior)
            off -= np.average(off, weights=heard)
        far = (x - off[worker] - moved[task]) ** 2 + spread[task]
        variance = (numbers.over_workers(trust * far) + prior * known) / (said + prior)
        step = float(np.nanmax(np.abs(moved - value)))
        value = moved
        if step <= tolerance * math.sqrt(known):
            break
    error = np.where(np.isnan(value), math.nan, np.sqrt(spread))
    return Estimated(value, error, np.sqrt(variance), off, rounds).times(unit)
