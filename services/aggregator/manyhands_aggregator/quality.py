"""How good each judge was: agreement with the answers, accuracy where the truth is known. Streams over the store."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from manyhands.spec import JobSpec
from manyhands_aggregator import judging, tables, values
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import About, unpack_answers
from manyhands_service.store import Store

_suites = tables.suites

#: Suites looked at in one go.
PAGE = 100


@dataclass(slots=True)
class Tally:
    """A judge's judgments, and how many of them agreed or were right, of those that could be compared."""

    judgments: int = 0
    errors: int = 0
    compared: int = 0
    agreed: int = 0
    gold: int = 0
    right: int = 0
    seconds: float = 0.0

    def said(self, judge: str) -> dict[str, Any]:
        """As a row of the report; shares are 0..1, None where nothing could be compared."""
        return {
            "judge": judge,
            "judgments": self.judgments,
            "errors": self.errors,
            "agreement": round(self.agreed / self.compared, 6) if self.compared else None,
            "accuracy": round(self.right / self.gold, 6) if self.gold else None,
            "seconds_per_task": round(self.seconds / self.judgments, 9) if self.judgments else None,
        }


def judges(store: Store, job: str) -> list[dict[str, Any]]:
    """The tally of every judge of a job, in the order of its plan."""
    spec = store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job)))
    if spec is None:
        return []
    plan = Plan.of(JobSpec.model_validate_json(spec))
    tallies: dict[str, Tally] = defaultdict(Tally)
    last = -1
    while True:
        last, more = store.read(lambda c, after=last: _page(c, job, plan, after, tallies))  # type: ignore[misc]  # no lambda defaults in mypy
        if not more:
            return [tallies[judge.judge].said(judge.judge) for judge in plan.spec.judges]


def _page(connection: sa.Connection, job: str, plan: Plan, after: int, tallies: dict[str, Tally]) -> tuple[int, bool]:
    rows = connection.execute(
        sa.select(_suites.c.suite, _suites.c.first, _suites.c.about, _suites.c.answers)
        .where(_suites.c.job == job, _suites.c.suite > after, _suites.c.answers.is_not(None))
        .order_by(_suites.c.suite)
        .limit(PAGE)
    ).all()
    settled = {row.suite: (row.first, About.unpack(row.about), unpack_answers(row.answers)) for row in rows}
    answer, check = plan.spec.answer, plan.check
    for message in judging.said_of(connection, job, list(settled)):
        first, about, decision = settled[message.suite]
        tally = tallies[message.judge]
        tally.seconds += message.finished - message.started
        tally.errors += len(message.errors)
        for position, value in zip(message.positions, message.values, strict=True):
            if position in message.errors:
                continue
            tally.judgments += 1
            index = position - first
            if index not in decision.errors:
                tally.compared += 1
                tally.agreed += bool(value == decision.values[index])
            truth = about.truths[index] if about.truths is not None else None
            if truth is not None:
                tally.gold += 1
                tally.right += values.same(answer, check, value, truth)
    return (rows[-1].suite if rows else after), len(rows) == PAGE
