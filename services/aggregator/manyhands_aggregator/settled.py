"""The suites of a job, settled or under way, with all that was said of them, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands_aggregator import judging, tables
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.suite import SuiteState, unpack_answers, unpack_failures

_suites = tables.suites

#: Suites looked at in one go.
PAGE = 100

_COLUMNS = [_suites.c[name] for name in ("suite", "first", "count", "sent", "truths", "refused", "answers")]
_SOME = (
    sa.select(*_COLUMNS)
    .where(_suites.c.job == sa.bindparam("job"), _suites.c.suite > sa.bindparam("after"), _suites.c.sent > 0)
    .order_by(_suites.c.suite)
    .limit(sa.bindparam("most"))
)
_SETTLED = _SOME.where(_suites.c.answers.is_not(None))
_UNDER_WAY = _SOME.where(_suites.c.answers.is_(None))

#: Suites and their answers, in their order.
Page = list[tuple[SuiteState, Decision]]


def page(connection: sa.Connection, job: str, after: int = -1) -> Page:
    """The next settled suites behind number ``after``, at most ``PAGE``; none is locked."""
    found: dict[int, tuple[SuiteState, Decision]] = {}
    for row in connection.execute(_SETTLED, {"job": job, "after": after, "most": PAGE}):
        *state, answers = row
        found[row.suite] = _state(state), unpack_answers(answers)
    _heard(connection, job, {suite: state for suite, (state, _) in found.items()})
    return list(found.values())


def pages(connection: sa.Connection, job: str) -> Iterator[Page]:
    """All of them, in pages."""
    after = -1
    while some := page(connection, job, after):
        yield some
        after = some[-1][0].suite


def under_way(connection: sa.Connection, job: str) -> Iterator[SuiteState]:
    """The suites that are not settled yet; none is locked, and of their course nothing is read."""
    after = -1
    while rows := connection.execute(_UNDER_WAY, {"job": job, "after": after, "most": PAGE}).all():
        found = {row.suite: _state(row[:-1]) for row in rows}
        _heard(connection, job, found)
        yield from found.values()
        after = rows[-1].suite


def _state(columns: Sequence[Any]) -> SuiteState:
    suite, first, count, sent, truths, refused = columns
    return SuiteState(suite, first, count, sent, truths, unpack_failures(refused))


def _heard(connection: sa.Connection, job: str, states: Mapping[int, SuiteState]) -> None:
    for message in judging.said_of(connection, job, list(states)):
        slot = (message.stage, message.judge, message.slot)
        states[message.suite].said.setdefault(slot, []).append(message)
