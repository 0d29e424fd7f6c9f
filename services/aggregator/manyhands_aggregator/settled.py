"""The settled suites of a job with all that was said of them, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from manyhands_aggregator import judging, tables
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.suite import SuiteState, unpack_answers, unpack_failures

_suites = tables.suites

#: Suites looked at in one go.
PAGE = 100

_PAGE = (
    sa.select(*(_suites.c[name] for name in ("suite", "first", "count", "sent", "truths", "refused", "answers")))
    .where(
        _suites.c.job == sa.bindparam("job"), _suites.c.suite > sa.bindparam("after"), _suites.c.answers.is_not(None)
    )
    .where(_suites.c.sent > 0)
    .order_by(_suites.c.suite)
    .limit(sa.bindparam("most"))
)

#: Suites and their answers, in their order.
Page = list[tuple[SuiteState, Decision]]


def page(connection: sa.Connection, job: str, after: int = -1) -> Page:
    """The next settled suites behind number ``after``, at most ``PAGE``; none is locked."""
    found: dict[int, tuple[SuiteState, Decision]] = {}
    for row in connection.execute(_PAGE, {"job": job, "after": after, "most": PAGE}):
        suite, first, count, sent, truths, refused, answers = row
        state = SuiteState(suite, first, count, sent, truths, unpack_failures(refused))
        found[suite] = state, unpack_answers(answers)
    for message in judging.said_of(connection, job, list(found)):
        slot = (message.stage, message.judge, message.slot)
        found[message.suite][0].said.setdefault(slot, []).append(message)
    return list(found.values())


def pages(connection: sa.Connection, job: str) -> Iterator[Page]:
    """All of them, in pages."""
    after = -1
    while some := page(connection, job, after):
        yield some
        after = some[-1][0].suite
