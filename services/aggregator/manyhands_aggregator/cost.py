"""What a job costs and how long it takes, from its parts; pure. docs/cost-model.md works it out by example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds of an hour, the unit that machines are paid by.
HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a judge has to do in a stage.

    ``tasks`` that come to it (the mean, where it depends on chance), ``judgments`` of each (the mean, too), the
    ``price`` of one, and the ``seconds`` of machine time that one takes; for people these are not paid by the hour: 0.
    """

    tasks: float
    judgments: float = 1.0
    price: float = 0.0
    seconds: float = 0.0

    @property
    def given(self) -> float:
        """Judgments in all."""
        return self.tasks * self.judgments

    @property
    def work(self) -> float:
        """Seconds of machine time in all."""
        return self.given * self.seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """A job's cost by its kinds, in the unit of the prices."""

    judgments: float
    machines: float
    fixed: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.judgments + self.machines + self.fixed


def cost(parts: Sequence[Part], *, hour: float = 0.0, fixed: float = 0.0) -> Cost:
    """Tasks x judgments x price, machine time at the price of an ``hour``, and what is ``fixed``, whatever the size.

    Machine time is that in which judges judge; a machine that stands idle until the job ends costs its price for the
    whole :func:`makespan` instead.
    """
    machines = sum(part.work for part in parts) / HOUR * hour
    return Cost(sum(part.given * part.price for part in parts), machines, fixed)


def passing(tasks: float, accepted: Sequence[float]) -> list[float]:
    """The tasks that come to each stage of a cascade, of which each accepts a share (0..1) of what comes to it."""
    found = []
    for share in accepted:
        found.append(tasks)
        tasks *= 1.0 - share
    return found


def makespan(longest: float, work: float, capacity: float) -> float:
    """The seconds that a job takes at least: those of its ``longest`` piece, and its work over its capacity.

    ``longest`` and ``work`` are seconds; a piece is what only one can work on: a task, or a suite. ``capacity`` counts
    those who work at once.

    Raises:
        ValueError: nobody works.
    """
    if capacity <= 0:
        raise ValueError("there must be somebody who works: capacity is above 0")
    return max(longest, work / capacity)


def makespan_at_most(longest: float, work: float, capacity: int) -> float:
    """The seconds that a job takes at most if nobody is idle while a piece waits: as pulling from a queue has it.

    It is less than twice :func:`makespan`. Source: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM
    Journal on Applied Mathematics 17 (1969) 416-429, theorem 1 for independent pieces.

    Raises:
        ValueError: nobody works.
    """
    if capacity <= 0:
        raise ValueError("there must be somebody who works: capacity is above 0")
    return work / capacity + (1.0 - 1.0 / capacity) * longest
