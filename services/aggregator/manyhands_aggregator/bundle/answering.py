"""The answers of a bundle, computed once more from what it holds: the same functions that the aggregator runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from manyhands.spec import JobSpec
from manyhands_aggregator.answers import CANCELLED, ROWS, Block
from manyhands_aggregator.bundle.reading import Suite
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import OVERDUE


def answers(spec: JobSpec, state: str, suites: Iterable[Suite]) -> Iterator[Block]:
    """The answers of a job that has ended in this ``state``, in source order; memory is that of a block."""
    plan = Plan.of(spec)
    otherwise = CANCELLED if state == "cancelled" else OVERDUE
    block = Block()
    for suite in suites:
        decision = None if suite.open else suite.state().decide(plan, otherwise=OVERDUE)
        block.add(suite.first, suite.ids, decision, otherwise)
        if len(block.positions) >= ROWS:
            yield block
            block = Block()
    if block.positions:
        yield block
