"""What a job has asked of its judges and heard of them, and what of its budget is left; pure, in whole millionths."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manyhands_aggregator.plan import Plan

#: A judge of a stage.
Who = tuple[int, str]


@dataclass(slots=True)
class Traffic:
    """Judgments ``asked`` of each judge beyond the first ones of the first stage, those that were ``said`` (a value or
    a failure, once for each that was asked), and what one of them cost in the ``dearest`` message that says so.
    """

    asked: Counter[Who] = field(default_factory=Counter)
    said: Counter[Who] = field(default_factory=Counter)
    dearest: dict[Who, int] = field(default_factory=dict)

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        found = Traffic(self.asked + other.asked, self.said + other.said, dict(self.dearest))
        for who, cost in other.dearest.items():
            found.cost(who, cost)
        return found

    def cost(self, who: Who, millionths: int) -> None:
        """Note what a judgment cost."""
        self.dearest[who] = max(millionths, self.dearest.get(who, 0))

    def pack(self) -> str:
        """As text."""
        names = sorted({*self.asked, *self.said, *self.dearest})
        rows = [[*who, self.asked[who], self.said[who], self.dearest.get(who)] for who in names]
        return json.dumps(rows, separators=(",", ":"))

    @classmethod
    def unpack(cls, packed: str | None) -> Traffic:
        """The inverse of :meth:`pack`."""
        found = cls()
        for stage, judge, asked, said, dearest in json.loads(packed or "[]"):
            who = stage, judge
            found.asked[who], found.said[who] = asked, said
            if dearest is not None:
                found.dearest[who] = dearest
        return found


@dataclass(frozen=True, slots=True)
class Purse:
    """What may be asked of a job's tasks beyond what was asked already.

    Every judgment is ``reserved`` at its judge's price or, where a message of such has said more, at the dearest
    so far; what is under way as well as what is new. So many tasks were ``sent`` to
    the first stage, ``to_come`` are at most so many and ``announced_to_come`` at least so many, ``spent`` is what
    was asked beyond it; ``more`` says that there may be tasks that were not announced yet. What a version that did not
    count it has asked is not ``counted``: then there is no ``traffic``, every judgment is reckoned at its price, and
    nobody has a share. Judges that are ``out`` are reckoned at their price: they are sent nothing more.
    """

    plan: Plan
    sent: int = 0
    to_come: int = 0
    announced_to_come: int = 0
    spent: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    more: bool = False
    counted: bool = True
    out: frozenset[str] = frozenset()

    def left(self) -> int | None:
        """What is left, in millionths; None is without limit."""
        plan = self.plan
        if plan.budget is None:
            return None
        return plan.budget - plan.cost(self.sent, self.spent) - self._on_top() - self.to_come * self._first()

    def overspent(self) -> bool:
        """Whether more was spent than the budget, and what is to come of tasks will cost something, too."""
        plan = self.plan
        if plan.budget is None or not self.more or not self._first():
            return False
        return plan.cost(self.sent, self.spent) > plan.budget

    def _first(self) -> int:
        """What a task's first stage is reckoned at."""
        return sum(self.reserved(stage, judge) for stage, judge, _ in self.plan.slots)

    def after(self, spent: int, traffic: Traffic) -> Purse:
        """The purse when so much more was spent, and this was asked and heard."""
        if not self.plan.counts_traffic:
            return self
        heard = self.traffic.plus(traffic) if self.counted else self.traffic
        return replace(self, spent=self.spent + spent, traffic=heard)

    def reserved(self, stage: int, judge: str) -> int:
        """What one judgment is reckoned at."""
        dearest = 0 if judge in self.out else self.traffic.dearest.get((stage, judge), 0)
        return max(self.plan.steps[stage].prices[judge], dearest)

    def prices(self) -> Mapping[Who, int]:
        """The same for those that have proved dearer than their price."""
        prices = {who: self.reserved(*who) for who in self.traffic.dearest}
        return {who: cost for who, cost in prices.items() if cost > self.plan.steps[who[0]].prices[who[1]]}

    def _on_top(self) -> int:
        """What judgments under way may come to cost beyond their price, which is in what was spent."""
        return sum(
            max(0, self._under_way(who)) * (cost - self.plan.steps[who[0]].prices[who[1]])
            for who, cost in self.prices().items()
        )

    def _under_way(self, who: Who) -> int:
        at_first = self.sent * sum((stage, judge) == who for stage, judge, _ in self.plan.slots)
        return at_first + self.traffic.asked[who] - self.traffic.said[who]


#: Nobody has proved dearer than the plan says.
AS_PLANNED: Mapping[Who, int] = MappingProxyType({})


def asked_of(slots: Iterable[tuple[tuple[int, str, int], int]]) -> Counter[Who]:
    """How many judgments that are of each judge, from slots and how many tasks each is asked of."""
    found: Counter[Who] = Counter()
    for (stage, judge, _), tasks in slots:
        found[stage, judge] += tasks
    return found
