"""How good each judge was: agreement with the answers, accuracy where the truth is known. Streams over the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.messages import Judgments
from manyhands.spec import received
from manyhands_aggregator import judging, tables, values
from manyhands_aggregator.decide import VOTES, Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import unpack_answers
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
    first_error: str | None = None

    def said(self, judge: str) -> dict[str, Any]:
        """As a row of the report; shares are 0..1, None where nothing could be compared (as with means)."""
        return {
            "judge": judge,
            "judgments": self.judgments,
            "errors": self.errors,
            "first_error": self.first_error,
            "agreement": round(self.agreed / self.compared, 6) if self.compared else None,
            "accuracy": round(self.right / self.gold, 6) if self.gold else None,
            "seconds_per_task": round(self.seconds / self.judgments, 9) if self.judgments else None,
        }


def judges(store: Store, job: str) -> list[dict[str, Any]]:
    """The tally of every judge of a job over all stages, in the order of its plan.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its plan.
    """
    spec = store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job)))
    if spec is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    plan = Plan.of(received(spec))
    tallies: dict[str, Tally] = defaultdict(Tally)
    last = -1
    while True:
        last, more = store.read(lambda c, after=last: _page(c, job, plan, after, tallies))  # type: ignore[misc]  # no lambda defaults in mypy
        if not more:
            return [tallies[judge].said(judge) for judge in plan.spec.judge_names]


def _page(connection: sa.Connection, job: str, plan: Plan, after: int, tallies: dict[str, Tally]) -> tuple[int, bool]:
    rows = connection.execute(
        sa.select(_suites.c.suite, _suites.c.first, _suites.c.truths, _suites.c.answers)
        .where(_suites.c.job == job, _suites.c.suite > after, _suites.c.answers.is_not(None))
        .order_by(_suites.c.suite)
        .limit(PAGE)
    ).all()
    settled = {row.suite: (row.first, row.truths, unpack_answers(row.answers)) for row in rows}
    for message in judging.said_of(connection, job, list(settled)):
        first, truths, decision = settled[message.suite]
        _tally(tallies[message.judge], plan, message, first, decision, truths and msgpack.unpackb(truths))
    return (rows[-1].suite if rows else after), len(rows) == PAGE


def _tally(
    tally: Tally, plan: Plan, message: Judgments, first: int, decision: Decision, truths: Sequence[Any] | None
) -> None:
    tally.seconds += max(0.0, message.finished - message.started)
    tally.errors += len(message.errors)
    if tally.first_error is None and message.errors:
        position, failure = next(iter(message.errors.items()))
        tally.first_error = f"position {position}: {failure.code}: {failure.message}"
    tally.judgments += len(message.positions) - len(message.errors)
    at = [(p - first, v) for p, v in zip(message.positions, message.values, strict=True) if p not in message.errors]
    compared = [(index, value) for index, value in at if index not in decision.errors]
    if plan.spec.decide_by in VOTES or (plan.fits and plan.spec.answer.type != "number"):
        tally.compared += len(compared)
        tally.agreed += sum(value == decision.values[index] for index, value in compared)
    if truths is not None:
        known = [(value, truths[index]) for index, value in at if truths[index] is not None]
        tally.gold += len(known)
        tally.right += sum(values.same(plan.spec, plan.check, value, truth) for value, truth in known)
