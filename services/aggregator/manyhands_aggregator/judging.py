"""Judgments into the store, and suites settled by them; everything inside the transaction of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from manyhands.broker import Delivery
from manyhands.codec import decode, encode
from manyhands.messages import SUITE_ESCALATED, Event, Failure, Judgments
from manyhands_aggregator import jobs, tables
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import INVALID, About, Stranger, SuiteState, Taken, pack_answers

_suites, _judgments = tables.suites, tables.judgments


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the delivery it came in; no delivery for what the aggregator concludes itself."""

    message: Judgments
    delivery: Delivery | None


@dataclass(slots=True)
class Judged:
    """What a job's judgments led to.

    ``settled``: suites that have all their answers, newly or before. ``unknown``: messages for suites that were not
    announced yet. ``strangers`` and ``invalid``: messages that are set aside, with the reason. ``escalated``: what is
    to be judged again. The counts are for metrics.
    """

    settled: list[int] = field(default_factory=list)
    unknown: list[Said] = field(default_factory=list)
    strangers: list[tuple[Said, str]] = field(default_factory=list)
    invalid: list[tuple[Said, str]] = field(default_factory=list)
    escalated: list[Event] = field(default_factory=list)
    kept: int = 0
    repeats: int = 0
    answered: int = 0
    failed: int = 0
    ties: int = 0


def judge(connection: sa.Connection, job: str, plan: Plan, messages: Sequence[Said]) -> Judged:
    """Take in a job's judgments and settle the suites that are complete."""
    result = Judged()
    states = load(connection, job, {said.message.suite for said in messages})
    rows: list[dict[str, Any]] = []
    for said in messages:
        message = said.message
        state = states.get(message.suite)
        if state is None:
            result.unknown.append(said)
            continue
        parts = len(state.said.get((message.stage, message.judge, message.slot), ()))
        try:
            taken = state.take(plan, message)
        except Stranger as error:
            result.strangers.append((said, str(error)))
            continue
        _report(result, job, said, taken)
        if taken.new is None:
            result.repeats += not taken.wrong
            continue
        result.kept += len(taken.new.positions)
        rows.append(_row(said, taken.new, parts))
    if rows:
        connection.execute(sa.insert(_judgments), rows)
    touched = {said.message.suite for said in messages} & states.keys()
    changed = {row["suite"] for row in rows}
    settle(connection, job, plan, (states[s] for s in sorted(changed)), result)
    result.settled = [s for s in sorted(touched) if states[s].settled]
    jobs.add(connection, job, {"judgments": result.kept})
    return result


def settle(
    connection: sa.Connection,
    job: str,
    plan: Plan,
    states: Iterable[SuiteState],
    result: Judged,
    *,
    otherwise: Failure | None = None,
) -> None:
    """Write the answers of those suites that can be decided, and count them; see :meth:`SuiteState.decide`."""
    updates: list[dict[str, Any]] = []
    for state in states:
        decision = state.decide(plan, otherwise=otherwise)
        if decision is not None:
            state.settled = True
            result.ties += decision.ties
            updates.append(_answers(plan, state, decision))
    if not updates:
        return
    before = connection.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(_suites.c[n]), 0).label(n) for n in _COUNTED)).where(
            _suites.c.job == job, _suites.c.suite.in_([u["b_suite"] for u in updates])
        )
    ).one()
    connection.execute(
        sa.update(_suites)
        .where(_suites.c.job == job, _suites.c.suite == sa.bindparam("b_suite"))
        .values({name: sa.bindparam(f"b_{name}") for name in ("answers", *_COUNTED)}),
        updates,
    )
    deltas = {n: sum(u[f"b_{n}"] for u in updates) - int(getattr(before, n)) for n in _COUNTED}
    result.answered += deltas["answered"]
    result.failed += deltas["failed"]
    jobs.add(connection, job, deltas)


_COUNTED = ("answered", "failed", "gold", "gold_right")


def _answers(plan: Plan, state: SuiteState, decision: Decision) -> dict[str, Any]:
    gold, right = plan.gold(state.about.truths, decision)
    failed = len(decision.errors)
    return {
        "b_suite": state.suite, "b_answers": pack_answers(decision), "b_answered": state.count - failed,
        "b_failed": failed, "b_gold": gold, "b_gold_right": right,
    }  # fmt: skip


def load(connection: sa.Connection, job: str, numbers: Iterable[int]) -> dict[int, SuiteState]:
    """Suites with all that was said of them."""
    wanted = sorted(set(numbers))
    states: dict[int, SuiteState] = {}
    columns = (_suites.c.suite, _suites.c.first, _suites.c.count, _suites.c.about, _suites.c.answers.is_not(None))
    for row in connection.execute(sa.select(*columns).where(_suites.c.job == job, _suites.c.suite.in_(wanted))):
        suite, first, count, about, settled = row
        states[suite] = SuiteState(suite, first, count, About.unpack(about), bool(settled))
    for message in said_of(connection, job, wanted):
        if message.suite in states:
            slot = (message.stage, message.judge, message.slot)
            states[message.suite].said.setdefault(slot, []).append(message)
    return states


def said_of(connection: sa.Connection, job: str, numbers: Sequence[int]) -> Iterable[Judgments]:
    """Every kept part of these suites, in the order in which they came."""
    query = (
        sa.select(_judgments.c.body, _judgments.c.encoding)
        .where(_judgments.c.job == job, _judgments.c.suite.in_(numbers))
        .order_by(_judgments.c.suite, _judgments.c.stage, _judgments.c.judge, _judgments.c.slot, _judgments.c.part)
    )
    for body, encoding in connection.execute(query):
        message = decode(body, "judgments.v1", encoding)
        if isinstance(message, Judgments):
            yield message


def _report(result: Judged, job: str, said: Said, taken: Taken) -> None:
    if not taken.wrong:
        return
    message = said.message
    some = "; ".join(f"position {p}: {why}" for p, why in list(taken.wrong.items())[:5])
    result.invalid.append((said, some))
    if taken.again:
        data = {
            "suite": message.suite, "stage": message.stage, "judge": message.judge, "slot": message.slot,
            "positions": list(taken.again), "attempt": message.attempt + 1, "reason": INVALID,
        }  # fmt: skip
        result.escalated.append(Event(name=SUITE_ESCALATED, job=job, data=data))


def _row(said: Said, new: Judgments, part: int) -> dict[str, Any]:
    if new is said.message and said.delivery is not None:  # kept whole: its own bytes are its record
        body, encoding = said.delivery.body, said.delivery.content_encoding
    else:
        encoded = encode(new)
        body, encoding = encoded.body, encoded.content_encoding
    return {
        "job": new.job, "suite": new.suite, "stage": new.stage, "judge": new.judge, "slot": new.slot, "part": part,
        "count": len(new.positions), "body": body, "encoding": encoding,
    }  # fmt: skip


def open_suites(connection: sa.Connection, job: str, *, only_announced_refusals: bool = False) -> list[int]:
    """Suites without answers; with ``only_announced_refusals`` those of which something was announced."""
    query = sa.select(_suites.c.suite).where(_suites.c.job == job, _suites.c.answers.is_(None))
    if only_announced_refusals:
        query = query.where(_suites.c.about.is_not(None))
    return list(connection.scalars(query.order_by(_suites.c.suite)))


def fully_refused(states: Mapping[int, SuiteState]) -> list[SuiteState]:
    """Suites of which no task was ever sent out."""
    return [s for s in states.values() if not s.settled and len(s.about.refused) == s.count]
