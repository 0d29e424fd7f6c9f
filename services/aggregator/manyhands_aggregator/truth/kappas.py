"""Cohen's kappa of every two workers who judged enough of the same tasks, and Light's: the mean of them.

Light, "Measures of response agreement for qualitative data" (Psychological Bulletin 76, 1971).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.agreement import Floats, Ints

#: Fewer tasks in common say next to nothing of two workers.
LEAST = 10
#: Pairs of workers for which a table is quicker than a sort.
DENSE = 1 << 24


@dataclass(frozen=True, slots=True)
class Kappas:
    """Pairs of workers ``left`` < ``right`` (P,), their ``overlap`` in tasks (P,), and ``kappa`` (P,).

    A kappa is nan where both gave one and the same value to all they have in common.
    """

    left: Ints
    right: Ints
    overlap: Ints
    kappa: Floats

    @property
    def mean(self) -> float:
        """Light's kappa: the mean over the pairs where it is defined; nan without any."""
        defined = self.kappa[~np.isnan(self.kappa)]
        return float(defined.mean()) if len(defined) else math.nan


def kappas(
    task: NDArray[np.integer], worker: NDArray[np.integer], label: NDArray[np.integer], *, least: int = LEAST
) -> Kappas:
    """Cohen's kappa of every pair of workers with at least ``least`` tasks in common, in the order of their numbers.

    ``task``, ``worker`` and ``label`` have shape (n,), a row a judgment; a worker judges a task at most once. It takes
    some 40 bytes for every two judgments of one task.
    """
    order = np.lexsort((worker, task))
    task, worker, label = task[order], worker[order].astype(np.int64), label[order].astype(np.int64)
    workers, classes = int(worker.max(initial=-1)) + 1, int(label.max(initial=-1)) + 1
    met = list(_meetings(task))
    first = np.concatenate([f for f, _ in met]) if met else np.empty(0, dtype=np.int64)
    second = np.concatenate([s for _, s in met]) if met else first
    keys = worker[first] * workers + worker[second]
    pairs, overlap = _frequent(keys, workers, least)
    at = np.minimum(np.searchsorted(pairs, keys), max(len(pairs) - 1, 0))
    kept = pairs[at] == keys if len(pairs) else np.zeros(len(keys), dtype=bool)
    at, one, other = at[kept], label[first[kept]], label[second[kept]]
    agreed = np.bincount(at, weights=one == other, minlength=len(pairs)) / overlap
    said = [np.bincount(at * classes + one_of, minlength=len(pairs) * max(classes, 1)) for one_of in (one, other)]
    chance = (said[0] * said[1]).reshape(len(pairs), max(classes, 1)).sum(axis=1) / overlap.astype(np.float64) ** 2
    left = 1.0 - chance
    kappa = np.divide(agreed - chance, left, out=np.full(len(pairs), np.nan), where=left > 1e-12)
    return Kappas(pairs // max(workers, 1), pairs % max(workers, 1), overlap, kappa)


def _meetings(task: NDArray[np.integer]) -> Iterator[tuple[Ints, Ints]]:
    """Rows of every two judgments of a task, where rows are sorted by task."""
    starts = np.flatnonzero(np.r_[True, task[1:] != task[:-1]]) if len(task) else np.empty(0, dtype=np.int64)
    judged = np.diff(np.r_[starts, len(task)])
    left = np.repeat(starts + judged, judged) - np.arange(len(task))  # rows of the task from this one to its last
    rows, apart = np.arange(len(task)), 1
    while len(rows := rows[left[rows] > apart]):
        yield rows, rows + apart
        apart += 1


def _frequent(keys: Ints, workers: int, least: int) -> tuple[Ints, Ints]:
    if workers**2 <= DENSE:
        counts = np.bincount(keys, minlength=1)
        found = np.flatnonzero(counts >= max(least, 1))
        return found, counts[found]
    found, counts = np.unique(keys, return_counts=True)
    kept = counts >= least
    return found[kept], counts[kept]
