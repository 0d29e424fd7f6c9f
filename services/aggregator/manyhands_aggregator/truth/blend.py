"""The default: two methods that fail differently, averaged."""

from __future__ import annotations

from manyhands_aggregator.truth.ballots import Ballots, Ints
from manyhands_aggregator.truth.bwa import bwa
from manyhands_aggregator.truth.inferred import Inferred
from manyhands_aggregator.truth.pooled import pooled


def blend(ballots: Ballots, /, *, gold: Ints | None = None) -> Inferred:
    """The mean of the posteriors of ``pooled`` and ``bwa``; skills and confusion matrices are those of ``pooled``.

    Confusion matrices win where workers have habits or classes are uneven, and go astray together where the crowd is
    small or shares its mistakes; the weighted average never goes far from the votes. docs/truth.md has the figures.
    """
    first, second = pooled(ballots, gold=gold), bwa(ballots, gold=gold)
    posterior = 0.5 * (first.posterior + second.posterior)
    return Inferred(posterior, skill=first.skill, confusion=first.confusion, iterations=first.iterations)
