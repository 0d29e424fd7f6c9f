"""How far judges agree beyond chance: Krippendorff's alpha, Fleiss' and Cohen's kappa, what is confused, what is hard.

Everything but Cohen's kappa rests on votes, an array of shape (T, K): how many of its judges gave task t the value k.
What is made of votes adds up over blocks of tasks (:class:`Tally`), so a job of any length is measured in K x K
numbers. A coefficient is 1 where all agree, 0 where they agree as often as chance would have it, less where they
agree less than that, and nan where it is not defined: nobody judged what another judged, or all gave one value.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011); Fleiss, "Measuring nominal scale agreement among
many raters" (Psychological Bulletin 76, 1971); Cohen, "A coefficient of agreement for nominal scales" (Educational
and Psychological Measurement 20, 1960).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What the distance between two values is: none or all; by the ranks between them; the squared difference.
Level = Literal["nominal", "ordinal", "interval"]


def votes_of(codes: NDArray[np.integer], classes: int) -> Ints:
    """Votes of shape (T, K) from codes of shape (T, judges): 0..K-1, and -1 where a judge gave none.

    Raises:
        ValueError: a code is K or more.
    """
    if codes.size and int(codes.max()) >= classes:
        raise ValueError(f"there is a code {int(codes.max())}, and {classes} classes")
    rows, columns = np.nonzero(codes >= 0)
    keys = rows * classes + codes[rows, columns]
    return np.bincount(keys, minlength=len(codes) * classes).reshape(len(codes), classes)


def coincidences(votes: NDArray[np.integer]) -> Floats:
    """The coincidence matrix (K, K): how often value c met value k on a task, each task weighing as many as judged it.

    A task of m judgments adds n_c (n_k - [c = k]) / (m - 1); one of a single judgment adds nothing. The sum over all is
    the number of judgments that met another.
    """
    judged = votes.sum(axis=1)
    kept = votes[judged > 1].astype(np.float64)
    weighed = kept / (judged[judged > 1, None] - 1.0)
    met = weighed.T @ kept
    met[np.diag_indices_from(met)] -= weighed.sum(axis=0)
    return np.asarray((met + met.T) / 2)  # the same up to rounding


def distances(totals: Floats, level: Level, values: Floats | None = None) -> Floats:
    """Krippendorff's squared distances (K, K) between values that were given ``totals`` times, in their order.

    ``values`` are the numbers that the K classes stand for, for ``interval``; 0..K-1 without.
    """
    if level == "nominal":
        return 1.0 - np.eye(len(totals))
    if level == "interval":
        numbers = np.arange(len(totals), dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
        return np.asarray((numbers[:, None] - numbers[None, :]) ** 2)
    # the judgments from the middle of one value's to the middle of the other's
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle[None, :]) ** 2)


def alpha(met: Floats, level: Level = "nominal", values: Floats | None = None) -> float:
    """Krippendorff's alpha of a coincidence matrix: 1 - observed / expected disagreement."""
    totals = met.sum(axis=1)
    n = float(totals.sum())
    apart = distances(totals, level, values)
    expected = float(totals @ apart @ totals)
    if n <= 1 or expected <= 0:
        return math.nan
    return 1.0 - (n - 1.0) * float((met * apart).sum()) / expected


@dataclass(slots=True)
class Tally:
    """What agreement over K classes needs to know, for votes that come in blocks of tasks in any order.

    ``met``: the coincidences (K, K); ``said``: how often each value was given on tasks of two judgments or more (K,);
    ``tasks``: how many such tasks; ``agreeing``: the sum over them of the share of pairs of judgments that agree.
    """

    classes: int
    met: Floats = field(init=False)
    said: Ints = field(init=False)
    tasks: int = 0
    agreeing: float = 0.0

    def __post_init__(self) -> None:
        self.met = np.zeros((self.classes, self.classes))
        self.said = np.zeros(self.classes, dtype=np.int64)

    def add(self, votes: NDArray[np.integer]) -> None:
        """Count a block of votes, shape (any, K)."""
        judged = votes.sum(axis=1)
        kept, m = votes[judged > 1], judged[judged > 1]
        self.met += coincidences(kept)
        self.said += kept.sum(axis=0)
        self.tasks += len(kept)
        pairs = np.einsum("tk,tk->t", kept, kept) - m
        self.agreeing += float((pairs / (m * (m - 1.0))).sum())

    @property
    def observed(self) -> float:
        """The mean share of pairs of judgments of a task that agree; nan without any."""
        return self.agreeing / self.tasks if self.tasks else math.nan

    def alpha(self, level: Level = "nominal", values: Floats | None = None) -> float:
        """Krippendorff's alpha."""
        return alpha(self.met, level, values)

    def kappa(self) -> float:
        """Fleiss' kappa; where tasks have different numbers of judgments, each task counts the same."""
        if not self.tasks:
            return math.nan
        shares = self.said / self.said.sum()
        return _beyond_chance(self.observed, float((shares**2).sum()))

    def confused(self) -> Floats:
        """Shape (K, K): of the other judgments of a task to which a judge gave c, the share that is k; rows sum to 1.

        The diagonal is how far c can be relied on; a row is nan where c never met another judgment.
        """
        return _shares(self.met)


def fleiss(votes: NDArray[np.integer]) -> float:
    """Fleiss' kappa of votes (T, K); tasks of fewer than two judgments do not count."""
    tally = Tally(votes.shape[1])
    tally.add(votes)
    return tally.kappa()


def cohen(table: NDArray[np.integer] | Floats) -> float:
    """Cohen's kappa of two judges; ``table`` (K, K) counts the tasks to which they gave the row's and the column's."""
    n = float(table.sum())
    if not n:
        return math.nan
    expected = float(table.sum(axis=1) @ table.sum(axis=0)) / n**2
    return _beyond_chance(float(np.trace(table)) / n, expected)


def confusion(answers: NDArray[np.integer], task: NDArray[np.integer], label: NDArray[np.integer], k: int) -> Ints:
    """Shape (K, K): how many judgments of tasks whose answer (T,) is the row's said the column's; -1 is no answer."""
    told = answers[task]
    known = told >= 0
    return np.bincount(told[known].astype(np.int64) * k + label[known], minlength=k * k).reshape(k, k)


def entropies(task: NDArray[np.integer], label: NDArray[np.integer], tasks: int) -> Floats:
    """Shape (T,): the entropy in bits of each task's judgments; 0 where all agree and where nobody judged.

    ``task`` and ``label`` (n,) are the judgments; labels may be any numbers that are not negative.
    """
    k = int(label.max(initial=0)) + 1
    cells, votes = np.unique(task.astype(np.int64) * k + label, return_counts=True)
    at = cells // k
    shares = votes / np.bincount(at, weights=votes, minlength=tasks)[at]
    return np.asarray(np.maximum(np.bincount(at, weights=-shares * np.log2(shares), minlength=tasks), 0.0))


def hardest(divided: Floats, judged: NDArray[np.integer], count: int) -> Ints:
    """The tasks on which judges were most divided: by that, then by the more judgments, then in their order.

    ``divided`` (T,) is the entropy of the task, or another measure that is 0 where all agree; ``judged`` (T,) counts
    judgments. At most ``count`` tasks, and none on which all agree.
    """
    by = np.round(divided, 12)  # equal shares have equal entropies, whatever the rounding
    order = np.lexsort((np.arange(len(by)), -judged, -by))[:count]
    return np.asarray(order[by[order] > 0])


def _beyond_chance(observed: float, expected: float) -> float:
    return math.nan if math.isclose(expected, 1.0) else (observed - expected) / (1.0 - expected)


def _shares(counts: Floats) -> Floats:
    totals = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return shares
