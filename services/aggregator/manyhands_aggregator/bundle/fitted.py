"""A bundle's answers gone over as a whole, in the parts in which the aggregator does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from itertools import islice

from manyhands_aggregator import fitting, settled
from manyhands_aggregator.bundle.reading import Suite
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.valued import Valued, columns
from manyhands_aggregator.wholly import Found


def fitted(
    plan: Plan, suites: Callable[[], Iterator[Suite]], out: Set[str] = frozenset()
) -> Iterator[tuple[Suite, Found | Valued | None]]:
    """Each suite with what was found of the part that it is in; None where nobody judged anything in it.

    Voters who are ``out`` do not count. Memory is that of the votes of a part, of which there are at most about
    ``fitting.VOTES``, and fewer where there are many options.
    """
    behind = suites()
    for count, found in _parts(plan, suites(), out):
        for suite in islice(behind, count):
            yield suite, found


def _parts(plan: Plan, suites: Iterator[Suite], out: Set[str]) -> Iterator[tuple[int, Found | Valued | None]]:
    """How many suites each part has, and what is found in it."""
    votes, count, paged, most = columns(plan, out), 0, 0, fitting.part(plan, fitting.VOTES)
    for suite in suites:
        count += 1
        state = suite.state()
        if suite.open or not state.sent:
            continue
        votes.add(state)
        paged += 1
        if paged % settled.PAGE == 0 and len(votes.task) >= most:
            yield count, votes.found()
            votes, count, paged = columns(plan, out), 0, 0
    if count:
        yield count, votes.found() if votes.positions else None
