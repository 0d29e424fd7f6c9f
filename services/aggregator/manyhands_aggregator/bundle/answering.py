"""The answers of a bundle, computed once more from what it holds: the same functions that the aggregator runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from functools import partial

from manyhands.messages import GOLD_ID, Failure
from manyhands.spec import JobSpec
from manyhands_aggregator.answers import ROWS, Block
from manyhands_aggregator.bundle import whole
from manyhands_aggregator.bundle.fitted import fitted
from manyhands_aggregator.bundle.reading import Suite
from manyhands_aggregator.bundle.standing import stand, unrecorded
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.opinions import Compared
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import unjudged
from manyhands_aggregator.truth.types import Found


def answers(
    spec: JobSpec,
    state: str,
    suites: Callable[[], Iterator[Suite]],
    *,
    reason: str | None = None,
    accepted: bool = True,
    method: str | None = None,
    out: Set[str] = frozenset(),
    taken: list[str] | None = None,
    mixed: Callable[[Suite, Decision], None] | None = None,
) -> Iterator[Block]:
    """The answers of a job that has ended in this ``state`` for this ``reason``, in source order.

    By the method of the job file, or by a ``method`` of the truth package. What was ``accepted`` on the way through a
    plan that cascades stands where the job is not gone over as a whole, unless it is not to; the ids of answers of
    which nothing is on record but themselves are put into ``taken``. Memory is that of a block, and where a job is gone
    over as a whole some forty bytes for each judgment; voters who are ``out`` are none then. ``mixed`` is
    told what was decided of suites with gold that was mixed in.
    """
    plan = Plan.of(spec)
    otherwise = unjudged(state, reason)
    block = _block(plan)
    for suite, change in _changes(plan, state, suites, method, out):
        decision = None if suite.open else _decided(plan, suite, accepted, otherwise)
        if decision is not None and change is not None:
            decision = change(decision)
        if decision is not None and taken is not None:
            taken += [suite.ids[index] for index in unrecorded(decision) if suite.ids[index] != GOLD_ID]
        if decision is not None and mixed is not None and GOLD_ID in suite.ids:
            mixed(suite, decision)
        block.add(suite.first, suite.ids, decision, otherwise)
        if len(block.positions) >= ROWS:
            yield block
            block = _block(plan)
    if block.positions:
        yield block


def _changes(
    plan: Plan, state: str, suites: Callable[[], Iterator[Suite]], method: str | None, out: Set[str]
) -> Iterator[tuple[Suite, Callable[[Decision], Decision] | None]]:
    """Each suite, and what becomes of its answers when the job is gone over as a whole, if it is."""
    if method is not None:
        by_method = whole.found(plan.spec, method, suites)
        for suite in suites():
            yield suite, partial(_replaced, found=by_method, first=suite.first)
    elif plan.fits and state != "cancelled":
        for suite, found in fitted(plan, suites, out):
            yield suite, None if found is None else partial(found.applied, plan, suite.first)
    else:
        for suite in suites():
            yield suite, None


def _block(plan: Plan) -> Block:
    return Block(stages=[] if len(plan.steps) > 1 else None)


def _decided(plan: Plan, suite: Suite, accepted: bool, otherwise: Failure) -> Decision | None:
    """What becomes of a suite that nothing more is asked of."""
    state = suite.state()
    if not plan.cascades:
        return state.decide(plan, otherwise=otherwise)
    if accepted:
        stand(plan, suite, state)
    _, decision = state.proceed(plan, Compared(plan), None, otherwise)
    return decision


def _replaced(decision: Decision, found: Found, first: int) -> Decision:
    """The decision with the answers that were found; what failed has failed whatever the method."""
    count = len(decision.values)
    there = [index not in decision.errors for index in range(count)]
    said, stated = found.values[first : first + count], found.confidence[first : first + count].tolist()
    return Decision(
        [value if kept else None for value, kept in zip(said, there, strict=True)],
        [confidence if kept else None for confidence, kept in zip(stated, there, strict=True)],
        decision.counts,
        decision.errors,
        stages=decision.stages,
    )
