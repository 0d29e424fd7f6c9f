"""What a worker's jobs tell of it together: how many of its judgments were right, newer ones counting more; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

#: A judgment counts half when so many of the worker's were compared after it. What counts is then at most 1443
#: judgments (``HALF / ln 2``), of which the bounds of an accuracy of 90 % lie 2.6 points apart: enough to tell workers
#: apart, and few enough for some hundred judgments to show that somebody has become worse.
HALF = 1000.0


class Job(NamedTuple):
    """What a worker has shown in a job that ended at that time: so many right, of so many that were compared.

    Both as :func:`manyhands_aggregator.truth.reputation.tally` counts them; 0 <= right <= compared.
    """

    ended: float
    right: float
    compared: float


def together(jobs: Iterable[Job]) -> tuple[float, float]:
    """What is right and what was compared in all jobs of a worker, of which newer ones count more.

    The age of a judgment is how many were compared after it, not how long ago it was: who did not judge for a year has
    shown nothing new, and who judges much is soon known anew. A judgment with x after it counts 2^(-x / HALF), and
    those of a job lie evenly mixed: it counts the integral over its own. So jobs fade and none is cut off; jobs that
    ended at the same time are as one, in whatever order; and a right judgment more, in whichever job, never makes the
    share of right ones less.
    """
    right = compared = after = 0.0
    for _, some in groupby(sorted(jobs, reverse=True), key=lambda job: job.ended):
        _, rights, counts = zip(*some, strict=True)
        count = math.fsum(counts)
        if count > 0:
            weight = _counts(after, after + count)
            compared += weight
            right += weight * math.fsum(rights) / count
            after += count
    return right, compared


def _counts(start: float, end: float) -> float:
    """What the judgments with ``start`` to ``end`` others after them count together."""
    return HALF / math.log(2) * -math.exp(-start * math.log(2) / HALF) * math.expm1((start - end) * math.log(2) / HALF)
