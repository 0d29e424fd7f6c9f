"""What judgments lead to, as values: what comes in, and what is to be told, counted and learned of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from manyhands.broker import Delivery
from manyhands.messages import Event, Judgments
from manyhands_aggregator.budget import Purse, Traffic
from manyhands_aggregator.cascade import Opinion
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.suite import Counts

if TYPE_CHECKING:
    from manyhands_aggregator.opinions import Lesson


class Means(NamedTuple):
    """What a plan that cascades is decided with: an opinion, and what may still be spent.

    ``out`` are the workers whose judgments do not count.
    """

    opinion: Opinion
    purse: Purse
    out: frozenset[str] = frozenset()


@dataclass(slots=True)
class Said:
    """A message and the delivery it came in; no delivery for what the aggregator concludes itself.

    ``spoiled`` says why it is no valid message, of which only that is known for which tasks it speaks. ``seen`` says
    that it may have been taken in before by somebody who died before what it led to was published.
    """

    message: Judgments
    delivery: Delivery | None
    spoiled: str = ""
    seen: bool = False


class Aside(NamedTuple):
    """A message that is set aside; ``told`` when its tasks are judged again or have failed already."""

    said: Said
    code: str
    why: str
    told: bool


class Escalation(NamedTuple):
    """What is to be judged again, and the trace of the message that led to it."""

    event: Event
    headers: Mapping[str, str]


class Taught(NamedTuple):
    """What suites teach of the voters: those that were settled just now, and those under way, which will teach more."""

    settled: dict[int, list[Lesson]]
    under_way: dict[int, list[Lesson]]


@dataclass(slots=True)
class Judged:
    """What a job's judgments led to.

    ``settled``: suites that have all their answers, newly or before. ``unknown``: messages for suites that were not
    announced yet. ``aside``: messages that are set aside. ``escalated``: what is to be judged again. ``kept`` judgments
    and ``change`` are for the job's account, the rest for metrics: ``decided`` suites that had no answers before, and
    when their judges had ``finished`` with messages that said something new, with exemplars where they are ``traced``.
    ``spent`` is what was newly asked, in millionths, ``dearer`` by how much what was judged cost more than was reckoned
    when it was asked, ``traffic`` how many judgments were newly asked of whom, and came; ``short`` says that the budget
    did not allow more, ``taught`` what its suites teach by now.
    """

    #: Suites of which something new is known.
    touched: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    unknown: list[Said] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)
    escalated: list[Escalation] = field(default_factory=list)
    kept: int = 0
    change: Counts = field(default_factory=Counts)
    repeats: int = 0
    ties: int = 0
    decided: list[Decision] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    traced: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    spent: int = 0
    dearer: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    short: bool = False
    taught: Taught = field(default_factory=lambda: Taught({}, {}))

    def left(self, purse: Purse) -> Purse:
        """What is left of a purse behind all that."""
        return purse.after(self.spent + self.dearer, self.traffic)
