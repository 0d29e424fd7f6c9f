"""Agreement on numbers and on open values, where classes are too many to count in a K x K table."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.agreement import Floats, Ints

#: Open values are counted in so many bins; two share one by chance, one time in as many.
BINS = 1 << 18


@dataclass(slots=True)
class Spread:
    """Krippendorff's alpha at the interval level over numbers, in constant memory.

    The coincidence matrix is not needed: with s_t^2 the sample variance of the m_t numbers of a task, and s^2 that of
    all n numbers of tasks with two or more, alpha = 1 - sum(m_t s_t^2) / (n s^2). Means and sums of squares are merged
    as blocks come, so that large numbers close together keep their digits (Chan, Golub and LeVeque, "Updating formulae
    and a pairwise algorithm for computing sample variances", 1979).
    """

    n: int = 0
    tasks: int = 0
    mean: float = 0.0
    squares: float = 0.0
    within: float = 0.0

    def add(self, task: NDArray[np.integer], value: Floats) -> None:
        """Count a block: the task (n,) and the number (n,) of each judgment; all judgments of a task in one block."""
        _, at, judged = np.unique(task, return_inverse=True, return_counts=True)
        paired = judged[at] > 1
        if not paired.any():
            return
        at, x = at[paired], np.asarray(value, dtype=np.float64)[paired]
        with np.errstate(over="ignore", invalid="ignore"):
            self._add(at, x, judged)

    def _add(self, at: NDArray[np.integer], x: Floats, judged: NDArray[np.integer]) -> None:
        means = np.bincount(at, weights=x, minlength=len(judged)) / np.maximum(judged, 1)
        m = judged[at].astype(np.float64)
        self.within += float(((x - means[at]) ** 2 * m / (m - 1.0)).sum())
        self.tasks += int((judged > 1).sum())
        n, mean = len(x), float(x.mean())
        off = mean - self.mean
        self.squares += float(((x - mean) ** 2).sum()) + off * off * self.n * n / (self.n + n)
        self.mean += off * n / (self.n + n)
        self.n += n

    def alpha(self) -> float:
        """Krippendorff's alpha, interval; nan where nothing was judged twice or all numbers are the same.

        So it is where numbers are so large that their squares are beyond floats.
        """
        if self.n < 2 or not 0 < self.squares < math.inf or not self.within < math.inf:
            return math.nan
        return 1.0 - (self.n - 1.0) * self.within / (self.n * self.squares)


def bins(values: list[str]) -> Ints:
    """The bin of each text, the same in every process."""
    return np.array([zlib.crc32(value.encode("utf-8", "surrogatepass")) % BINS for value in values], dtype=np.int64)


@dataclass(slots=True)
class Open:
    """Krippendorff's alpha at the nominal level over values of an open set, such as texts, in ``BINS`` counters."""

    agreeing: float = 0.0
    tasks: int = 0
    said: Ints = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))

    def add(self, task: NDArray[np.integer], bin_: Ints) -> None:
        """Count a block: the task (n,) and the bin (n,) of each judgment; all judgments of a task in one block."""
        _, at, judged = np.unique(task, return_inverse=True, return_counts=True)
        paired = judged[at] > 1
        at, bin_ = at[paired], bin_[paired]
        cells, votes = np.unique(at * BINS + bin_, return_counts=True)
        m = judged[cells // BINS]
        self.agreeing += float((votes * (votes - 1.0) / (m - 1.0)).sum())
        self.said += np.bincount(bin_, minlength=BINS)
        self.tasks += int((judged > 1).sum())

    def alpha(self) -> float:
        """Krippendorff's alpha, nominal; nan where nothing was judged twice or all values are the same."""
        n = int(self.said.sum())
        expected = float(n) ** 2 - float((self.said.astype(np.float64) ** 2).sum())
        if n < 2 or expected <= 0:
            return math.nan
        return 1.0 - (n - 1.0) * (n - self.agreeing) / expected
